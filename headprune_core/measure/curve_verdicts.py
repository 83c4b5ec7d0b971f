"""What curves of accuracy against sparsity say, in words: better than random or not, how far a method goes, what went wrong.

Every judgement here is one that chance does not make by itself: a method is called better (worse) than random where it lies
outside the range of all random orders, and better or worse than another where their 95 % intervals lie apart. Numbers are in
`curve_shape`, tests on the same texts in `paired_tests`; both can be had from here.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from headprune_core.masks.criteria import WITH_ALPHA, method_label

from .curve_metrics import (
    PUBLISHED_STABILITY_RATIO,
    SteepestDrop,
    area,
    inflection,
    method_curve,
    steepest_drop,
    summary,
    unpruned,
)
from .curves import main_measure
from .paired_tests import McNemar, mcnemar, paired

__all__ = [
    "SteepestDrop",
    "McNemar",
    "Signature",
    "failure_signatures",
    "inflection",
    "mcnemar",
    "paired",
    "steepest_drop",
    "describe_stability",
    "summary",
    "describe_verdict",
    "compare_with_random",
]

VERDICTS = ["method", "area", "random_low", "random_high", "verdict"]
LITTLE, HALF = 0.1, 0.5  # of the heads: the end of redundancy, and of specialization
CATASTROPHE = 0.1  # of the main measure: a smaller loss is no catastrophe
_REACH = 2  # points
_CAUSES = {
    "no gain over HIS": "Either importance and entropy say the same (see their correlation) or alpha is off.",
    "worse at <= 10 %": "Among the first heads to go, the entropy term is noise here; an alpha nearer to 1 trusts it less.",
    "catastrophic drop": "Either it says nothing about these heads or its texts are unlike those of the test.",
}


@dataclass(frozen=True)
class Signature:
    """A way of failing that a method's curve shows: its kind, and a sentence that says it and what may be behind it."""

    method: str
    kind: str
    sentence: str


def compare_with_random(curves: pd.DataFrame) -> pd.DataFrame:
    """How each method compares with random removal, by the area under its main measure against sparsity.

    Columns: method, area, random_low, random_high (over seeds), verdict ("better than random", "no better than random",
    "worse than random"), one row a method; empty without random curves of two points or more.
    """
    measure = main_measure(curves)
    random = curves[curves.method == "random"]
    areas = [its for _, part in random.groupby("seed") if np.isfinite(its := area(part, measure))]
    if not areas:
        return pd.DataFrame(columns=VERDICTS)
    low, high = min(areas), max(areas)
    lines = []
    for method, part in curves[curves.method != "random"].groupby("method", sort=False):
        its = area(part, measure)
        if np.isnan(its):
            continue
        verdict = "better than" if its > high else "worse than" if its < low else "no better than"
        lines.append((method, its, low, high, f"{verdict} random"))
    return pd.DataFrame(lines, columns=VERDICTS)


def describe_verdict(curves: pd.DataFrame) -> dict[str, str]:
    """For each method but random, in plain sentences: against random removal, where it falls most, and how far it can go."""
    found = compare_with_random(curves).set_index("method")
    n_random = curves.loc[curves.method == "random", "seed"].nunique()
    reach = summary(curves).set_index("method")[f"within_{_REACH}"]
    told = {}
    for method in curves.method[curves.method != "random"].unique():
        first = (
            _against_random(found.loc[method], n_random, curves) if method in found.index else "Not compared with random."
        )
        told[method] = " ".join([first, *_control(method, found), _how_far(curves, method, reach[method])])
    return told


def describe_stability(curves: pd.DataFrame) -> str:
    """Every method's stability as a ratio to HIS's, beside the published one; empty where that cannot be said."""
    table = summary(curves).set_index("method").stability_ratio.drop(["his", "random"], errors="ignore").dropna()
    if table.empty:
        return ""
    ratios = ", ".join(f"{method_label(method)} {ratio:.2f}" for method, ratio in table.items())
    return (
        f"Stability (mean correlation with the unpruned model's logits) as a ratio to HIS's: {ratios}. The HIES paper "
        f"reports up to {PUBLISHED_STABILITY_RATIO}."
    )


def failure_signatures(curves: pd.DataFrame) -> list[Signature]:
    """The ways of failing that the curves show beyond chance; empty where there are none, or where too little was measured.

    "no gain over HIS": HIES, at whatever alpha, lies clearly above HIS at no sparsity, though HIS loses something to gain
    back. "worse at <= 10 %": HIES lies clearly below HIS, or below all random orders where HIS does not, with at most a
    tenth of the heads gone. "catastrophic drop": with at most half of the heads gone, a method has clearly lost ten points
    or more and does no better there than the best random order, nor over the whole range; controls are left out. Clearly:
    95 % intervals lie apart.
    """
    found = compare_with_random(curves)
    no_better = set(found.method[found.verdict != "better than random"])
    signatures = []
    for method in curves.method[curves.method != "random"].unique():
        if method.partition("@")[0] in WITH_ALPHA:
            signatures += _against_his(curves, method)
        if method in no_better and not method.startswith("inverse_"):
            signatures += _catastrophe(curves, method)
    return signatures


def _against_random(line: pd.Series, n_random: int, curves: pd.DataFrame) -> str:
    where = {"better": "above", "worse": "below"}.get(line.verdict.split()[0], "among")
    orders = (
        "the random orders"
        if where == "among"
        else f"all {n_random} random orders"
        if n_random > 1
        else "the one random order"
    )
    by_chance = "" if where == "among" else f"; one more random order would lie there 1 time in {n_random + 1}"
    return (
        f"{line.verdict.capitalize()}: its mean {main_measure(curves)} over the range, {line.area:.3f}, lies {where} "
        f"{orders} ({line.random_low:.3f} to {line.random_high:.3f}{by_chance})."
    )


def _control(method: str, found: pd.DataFrame) -> list[str]:
    """What a method that turns another one round should be, and whether it is."""
    if not method.startswith("inverse_") or method not in found.index:
        return []
    if "worse" in found.verdict[method]:
        return ["That is what a control should be."]
    if "no better" in found.verdict[method]:
        return ["A control should be worse than random; it is not."]
    return ["A control should be worse than random: here the order that it turns round points the wrong way."]


def _how_far(curves: pd.DataFrame, method: str, reach: float) -> str:
    measure, drop = main_measure(curves), steepest_drop(curves, method)
    parts = []
    if np.isfinite(reach):
        far = f"with up to {reach:.0%} of the heads gone" if reach > 0 else "at no measured sparsity"
        parts.append(f"it stays within {_REACH} points of the unpruned model's {measure} {far}")
    if drop is None:
        parts.append(f"its {measure} never falls")
    else:
        unsure = "" if drop.clear else ", which may be chance"
        parts.append(
            f"it falls most for each head between {drop.start:.0%} and {drop.end:.0%} ({drop.regime}), by "
            f"{100 * drop.fall:.1f} points{unsure}"
        )
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}."


def _against_his(curves: pd.DataFrame, method: str) -> list[Signature]:
    mine, his = method_curve(curves, method), method_curve(curves, "his")
    shared = [sparsity for sparsity in mine.index.intersection(his.index) if sparsity > 0]
    if not shared:
        return []
    mine, his, name = mine.loc[shared], his.loc[shared], method_label(method)
    whole, found = method_curve(curves, "his"), []
    something_to_gain = bool((his.high < whole.low.iloc[0]).any())
    if something_to_gain and not (mine.low > his.high).any():
        below = _spans(shared, (mine.high < his.low).tolist())
        found.append(
            ("no gain over HIS", f"at none of {len(shared)} sparsities does {name} lie clearly above HIS")
            if not below
            else ("no gain over HIS", f"{name} lies clearly above HIS nowhere and clearly below it at {below}")
        )
    random = _random_range(curves)
    early = (mine.index <= LITTLE + 1e-9) & (mine.high < his.low)
    floor = random["min"].reindex(shared)
    under = (mine.index <= LITTLE + 1e-9) & (mine.value < floor) & (his.value >= floor)
    if early.any():
        at = mine.index[early][0]
        found.append(("worse at <= 10 %", f"with {at:.0%} of the heads gone {name} is already clearly below HIS"))
    elif under.any():
        at = mine.index[under][0]
        found.append(("worse at <= 10 %", f"with {at:.0%} of the heads gone {name} is below every random order, HIS is not"))
    return [_signature(method, kind, what) for kind, what in found]


def _spans(sparsities: list[float], chosen: list[bool]) -> str:
    """Those chosen, neighbours drawn together: "10%, 30% to 50%"."""
    told = []
    for is_chosen, run in groupby(zip(sparsities, chosen, strict=True), key=lambda one: one[1]):
        ends = [sparsity for sparsity, _ in run]
        if is_chosen:
            told.append(f"{ends[0]:.0%}" + (f" to {ends[-1]:.0%}" if len(ends) > 1 else ""))
    return ", ".join(told)


def _catastrophe(curves: pd.DataFrame, method: str) -> list[Signature]:
    curve, whole, measure = method_curve(curves, method), unpruned(curves), main_measure(curves)
    start = curve.iloc[0] if len(curve) else None
    if start is None or not np.isfinite(whole) or curve.index[0] > 0:
        return []
    best = _random_range(curves)["max"].reindex(curve.index)
    lost = (curve.high < start.low) & (curve.value <= whole - CATASTROPHE) & (curve.value <= best)
    at = curve.index[lost & (curve.index <= HALF + 1e-9)]
    if not len(at):
        return []
    points = 100 * (whole - curve.value[at[0]])
    what = (
        f"with {at[0]:.0%} of the heads gone {method_label(method)} has lost {points:.0f} points of {measure} and does no "
        "better than random orders"
    )
    return [_signature(method, "catastrophic drop", what)]


def _signature(method: str, kind: str, what: str) -> Signature:
    return Signature(method, kind, f"{what[0].upper()}{what[1:]}. {_CAUSES[kind]}")


def _random_range(curves: pd.DataFrame) -> pd.DataFrame:
    """min and max of the main measure over random orders, by sparsity."""
    random = curves[curves.method == "random"]
    return random.groupby("sparsity")[main_measure(curves)].agg(["min", "max"])
