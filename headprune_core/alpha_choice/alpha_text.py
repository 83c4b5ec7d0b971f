"""What is to be made of a choice of alpha, in words: the verdict with what it rests on, and what a quick search cost."""

import numpy as np

from headprune_core.measure.paired_tests import McNemar

from .recommendation import SURE, AlphaRecommendation, format_inside, sure
from .successive_halving import HalvingResult


def describe_recommendation(chosen: AlphaRecommendation) -> list[str]:
    """The verdict, and what it rests on, a sentence each."""
    told = [chosen.verdict]
    if chosen.by == "agreement" and np.isfinite(chosen.accuracy):
        told.append(f"The labels, which had no part in it, give this choice an accuracy of {chosen.accuracy:.1%}.")
    if chosen.cochran is not None and chosen.masks > 1:
        p = chosen.cochran.p_corrected
        told.append(
            f"If no mask were better than another, differences as large as these would come about {_chance(p)} (Cochran's "
            f"Q, corrected for masks that answer nearly alike): alpha {'matters' if p < SURE else 'need not matter'}."
        )
    held = chosen.cross_validated
    if held is None:
        return [*told, "Where tokens are predicted agreement is not known text by text, so it is not tested."]
    if chosen.masks > 1:
        told.append(
            f"On texts that had no part in the choice, {chosen.by} is {held.value:.1%} ({held.low:.1%} to {held.high:.1%}); "
            f"on the texts that chose it, {chosen.value:.1%}."
        )
        told.append(f"Choosing so, against HIS alone: {_against(held.against_his)}.")
        told.append(f"Over {chosen.near:.0%} of alpha, {chosen.by} is within one point of the best.")
        if np.isfinite(chosen.p_corrected):
            told.append(
                f"If HIS alone were as good as the mask of alpha {chosen.alpha_text}, chance would set them as far apart "
                f"{_chance(chosen.p_corrected)} (McNemar's exact test, corrected for {chosen.masks - 1} masks tried)."
            )
    return told


def describe_halving(search: HalvingResult, gap: float | None = None) -> str:
    """What a `HalvingResult` cost and found; gap: how far it stays behind the full search (`HalvingResult.gap`)."""
    rounds = ", ".join(f"{len(r.masks)} on {r.texts} texts" for r in search.rounds)
    where = format_inside(search.alpha, search.low, search.high)
    told = f"The quick search found alpha {where} for {search.share:.0%} of the work of the full search: masks {rounds}."
    if gap is None:
        return told
    behind = (
        "as good as the full search's choice" if gap < 1e-9 else f"{100 * gap:.1f} points behind the full search's choice"
    )
    return f"{told} It is {behind}."


def _against(test) -> str:
    points = f"{100 * test.difference:+.1f} points (95 % interval {100 * test.low:+.1f} to {100 * test.high:+.1f})"
    if not isinstance(test, McNemar):
        return f"{points}, {'more than' if sure(test) else 'no more than'} chance"
    return f"{points}, {test.b} texts won and {test.c} lost"


def _chance(p: float) -> str:
    """A p value as how often chance does as much."""
    if p > 0.995:
        return "nearly every time"
    return (
        "less than once in 1,000 times"
        if p < 0.001
        else f"{1000 * p:.0f} times in 1,000"
        if p < 0.0995
        else f"{p:.0%} of the time"
    )
