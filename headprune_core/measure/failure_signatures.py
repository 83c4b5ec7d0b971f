"""Signs in the curves that a method fails, with possible causes: no gain over HIS, early losses, and catastrophic drops.

"Clearly" means that 95% CIs do not overlap. The comparison over the whole range of sparsities is in `curve_verdicts`.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from headprune_core.data.measures import SHARES, sentence_name
from headprune_core.masks.criteria import WITH_ALPHA, method_label

from .curve_metrics import method_curve, unpruned
from .curve_verdicts import compare_with_random
from .curves import main_measure

EARLY_SPARSITY = 0.1  # end of the regime "redundancy"
HALF_SPARSITY = 0.5  # end of the regime "specialization"; beyond it, every method may collapse
CATASTROPHIC_LOSS = 0.1  # decrease of the main measure (10 pp)
_TINY = 1e-9  # smaller differences of sparsities are rounding errors
_CAUSES = {
    "no gain over HIS": (
        "Possible causes: importance and entropy are redundant (see Orthogonality), alpha is poorly chosen, or entropy "
        "carries no information about the importance of heads in this model."
    ),
    "worse at <= 10%": (
        "A possible cause: the entropy term adds noise to the ranking of the first pruned heads; an alpha closer to 1 gives "
        "it less weight."
    ),
    "catastrophic drop": (
        "Possible causes: the criterion is uninformative for this model, or the calibration and evaluation sets differ in "
        "distribution."
    ),
}


@dataclass(frozen=True)
class Signature:
    """A sign of failure in the curve of one method.

    Attributes:
        method: name of the method.
        kind: "no gain over HIS", "worse at <= 10%" or "catastrophic drop".
        sentence: what was found and possible causes.
    """

    method: str
    kind: str
    sentence: str


def failure_signatures(curves: pd.DataFrame) -> list[Signature]:
    """Find signs of failure that exceed noise in curves of accuracy against sparsity.

    - "no gain over HIS": HIES, at any alpha, is not clearly above HIS at any sparsity, although HIS clearly loses accuracy.
    - "worse at <= 10%": HIES is clearly below HIS, or below all random rankings while HIS is not, at 10% sparsity or less.
    - "catastrophic drop": a method has clearly lost 10 pp or more at 50% sparsity or less, is not above the best random
    ranking
      there, and is not better than random over the whole range. Inverse controls are left out.

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        The signs by method; empty if there are none or too little was measured.
    """
    verdicts = compare_with_random(curves)
    not_better = set(verdicts.method[verdicts.verdict != "better than random"])
    signatures = []
    for method in curves.method[curves.method != "random"].unique():
        if method.partition("@")[0] in WITH_ALPHA:
            signatures += _against_his(curves, method)
        if method in not_better and not method.startswith("inverse_"):
            signatures += _catastrophe(curves, method)
    return signatures


def _against_his(curves: pd.DataFrame, method: str) -> list[Signature]:
    hies, his = method_curve(curves, method), method_curve(curves, "his")
    shared = [sparsity for sparsity in hies.index.intersection(his.index) if sparsity > 0]
    if not shared:
        return []
    unpruned_low = his.low.iloc[0]
    hies, his, name = hies.loc[shared], his.loc[shared], method_label(method)
    signatures = []
    his_loses = bool((his.high < unpruned_low).any())
    if his_loses and not (hies.low > his.high).any():
        below = _spans(shared, (hies.high < his.low).tolist())
        text = (
            f"{name} is nowhere clearly above HIS and clearly below it at {below} sparsity (95% CIs do not overlap)"
            if below
            else f"{name} is not clearly above HIS at any of {len(shared)} sparsities (95% CIs overlap)"
        )
        signatures.append(_signature(method, "no gain over HIS", text))
    lowest_random = _random_range(curves)["min"].reindex(shared)
    early = hies.index <= EARLY_SPARSITY + _TINY
    clearly_below = early & (hies.high < his.low)
    below_random = early & (hies.value < lowest_random) & (his.value >= lowest_random)
    if clearly_below.any():
        text = f"{name} is already clearly below HIS at {hies.index[clearly_below][0]:.0%} sparsity (95% CIs do not overlap)"
        signatures.append(_signature(method, "worse at <= 10%", text))
    elif below_random.any():
        text = f"{name} is below every random ranking at {hies.index[below_random][0]:.0%} sparsity, and HIS is not"
        signatures.append(_signature(method, "worse at <= 10%", text))
    return signatures


def _spans(sparsities: list[float], selected: list[bool]) -> str:
    """Return the selected sparsities with adjacent ones joined, for example "10%, 30% to 50%"."""
    spans = []
    for is_selected, run in groupby(zip(sparsities, selected, strict=True), key=lambda pair: pair[1]):
        ends = [sparsity for sparsity, _ in run]
        if is_selected:
            spans.append(f"{ends[0]:.0%}" + (f" to {ends[-1]:.0%}" if len(ends) > 1 else ""))
    return ", ".join(spans)


def _catastrophe(curves: pd.DataFrame, method: str) -> list[Signature]:
    curve, baseline, measure = method_curve(curves, method), unpruned(curves), main_measure(curves)
    start = curve.iloc[0] if len(curve) else None
    if start is None or not np.isfinite(baseline) or curve.index[0] > 0:
        return []
    highest_random = _random_range(curves)["max"].reindex(curve.index)
    lost = (curve.high < start.low) & (curve.value <= baseline - CATASTROPHIC_LOSS) & (curve.value <= highest_random)
    at = curve.index[lost & (curve.index <= HALF_SPARSITY + _TINY)]
    if not len(at):
        return []
    decrease = baseline - curve.value[at[0]]
    loss_text = f"{100 * decrease:.0f} pp" if measure in SHARES else f"{decrease:.2f}"
    text = (
        f"at {at[0]:.0%} sparsity, {method_label(method)} has lost {loss_text} of {sentence_name(measure)} and is not above "
        "the best random ranking"
    )
    return [_signature(method, "catastrophic drop", text)]


def _signature(method: str, kind: str, text: str) -> Signature:
    return Signature(method, kind, f"{text[0].upper()}{text[1:]}. {_CAUSES[kind]}")


def _random_range(curves: pd.DataFrame) -> pd.DataFrame:
    """Return min and max of the main measure over random rankings, by sparsity."""
    random = curves[curves.method == "random"]
    return random.groupby("sparsity")[main_measure(curves)].agg(["min", "max"])
