"""Text summaries of a recommended alpha with its evidence, and of a quick search with its cost."""

import numpy as np

from headprune_core.data.measures import SHARES, format_value, sentence_name
from headprune_core.measure.paired_tests import SIGNIFICANCE_LEVEL, McNemar, format_p, significance_text

from .alpha_recommendation import AlphaRecommendation, describe_difference, format_inside
from .successive_halving import HalvingResult


def describe_recommendation(chosen: AlphaRecommendation) -> list[str]:
    """Describe a recommendation: the verdict, then its evidence.

    Args:
        chosen: result of `recommend_alpha`.

    Returns:
        A list of sentences, the verdict first.
    """
    lines = [chosen.verdict]
    if chosen.by == "agreement" and np.isfinite(chosen.accuracy):
        lines.append(
            f"Accuracy of the mask with the highest agreement (labels not used for selection): {chosen.accuracy:.1%}."
        )
    if chosen.cochran is not None and chosen.masks > 1:
        p = chosen.cochran.p_corrected
        significant = "significant" if p < SIGNIFICANCE_LEVEL else "not significant"
        lines.append(
            f"Effect of alpha: {significant} at the 5% level (Cochran's Q, corrected for correlated masks: {format_p(p)}, "
            f"{chosen.masks} masks, n = {chosen.examples})."
        )
    held = chosen.cross_validated
    if held is None:
        return [*lines, "Per-example agreement is not available for token prediction, so no significance test is possible."]
    value, low, high, biased = (format_value(chosen.by, one) for one in (held.value, held.low, held.high, chosen.value))
    name = sentence_name(chosen.by)
    if chosen.masks > 1:
        lines.append(
            f"Cross-validated {name}: {value} (95% CI {low} to {high}); on the examples used for selection: {biased} "
            "(optimistically biased)."
        )
        lines.append(f"Cross-validated selection vs. HIS only: {_comparison_text(held.against_his, chosen.by)}.")
        near = "1 pp" if chosen.by in SHARES else "0.01"
        lines.append(f"{name[0].upper()}{name[1:]} is within {near} of the best for {chosen.near:.0%} of the alpha range.")
        if np.isfinite(chosen.p_corrected):
            lines.append(
                f"Alpha = {chosen.alpha_text} vs. HIS only on the examples used for selection: "
                f"{chosen.against_his.test.removesuffix(' test')} {format_p(chosen.p_corrected)} (Holm-corrected for "
                f"{chosen.masks - 1} masks)."
            )
    return lines


def describe_halving(search: HalvingResult, gap: float | None = None) -> str:
    """Describe the result and the cost of a quick search.

    Args:
        search: result of `successive_halving`.
        gap: how far it is below the best of the full search (`HalvingResult.gap`), as a share; None if unknown.

    Returns:
        One or two sentences.
    """
    rounds = ", ".join(f"{len(r.masks)} masks on {r.texts} examples" for r in search.rounds)
    alpha = format_inside(search.alpha, search.low, search.high)
    text = f"Quick search found alpha = {alpha} at {search.share:.0%} of the cost of the full search (rounds: {rounds})."
    if gap is None:
        return text
    compared = "equals that of" if gap < 1e-9 else f"is {100 * gap:.1f} pp below that of"
    return f"{text} Its {search.by} {compared} the full search on these examples."


def _comparison_text(test, by: str) -> str:
    """Return a paired difference with its interval, test and discordant counts."""
    text = describe_difference(test, by)
    if not isinstance(test, McNemar):
        return f"{text}, {significance_text(test)}"
    return f"{text}; {test.b} examples gained, {test.c} lost"
