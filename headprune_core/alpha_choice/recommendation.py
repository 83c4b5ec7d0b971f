"""Selection of the best alpha from the accuracy of every mask along the alpha path, with significance tests.

The best mask is the one with the highest accuracy or, without labels, the highest agreement with the unpruned model; of
ties, the one that covers the largest share of the alpha range, at the midpoint of its widest interval. Three tests accompany
it: Cochran's Q over all distinct masks, the cross-validated value of the selection, and exact McNemar tests against HIS only
(cross-validated, and with Holm's correction for the number of masks). Token prediction and regression use permutation tests
and bootstrap intervals over examples instead of McNemar's test, and regression has no test over all masks.
`AlphaRecommendation` states what follows from the tests.
"""

from functools import partial

import numpy as np

from headprune_core.data.measures import sentence_name, wilson
from headprune_core.errors import HeadPruneError
from headprune_core.measure.paired_tests import compare, holm
from headprune_core.measure.permutation_tests import Outcomes, token_test

from .alpha_accuracy import AlphaAccuracy
from .alpha_correlations import tested_correlations
from .alpha_recommendation import AlphaRecommendation, CrossValidated
from .cochran import cochran_q
from .cross_validation import chosen_without, stratified_folds

FOLDS = 10
NEAR_BEST = 0.01  # share of the measure (1 pp)
_TINY = 1e-12  # smaller differences of shares are rounding errors


def recommend_alpha(
    found: AlphaAccuracy, *, by: str | None = None, folds: int = FOLDS, seed: int = 0
) -> AlphaRecommendation:
    """Select the best alpha and test it against HIS only.

    The cross-validated test alone is too liberal, because folds share the examples used for selection: with equally good
    masks it rejects in 6 to 7% of simulations instead of 2.5%. Together with the Holm-corrected test it rejects in 1 to 2%.

    Args:
        found: accuracy of every mask along the alpha path, from `alpha_accuracy`.
        by: "accuracy" or "agreement" (which needs no labels); for regression "pearson" or "correlation" (which needs no
            labels). None selects the one with labels if they are available.
        folds: number of folds, stratified by the unpruned model's predictions; at most the number of examples.
        seed: of the assignment to folds.

    Returns:
        The best alpha with its tests; its `advised_alpha` is the one that the tests support.

    Raises:
        HeadPruneError: for another `by`, for accuracy without labels, and for fewer than 2 folds or examples.
    """
    by = by or found.measure
    known = ("pearson", "correlation") if found.correlations else ("accuracy", "agreement")
    if by not in known:
        raise HeadPruneError(f"by must be {known[0]!r} or {known[1]!r}, got {by!r}")
    if by not in found.choices:
        raise HeadPruneError(f"{by} is unavailable because the examples have no labels; use by={known[1]!r}")
    measured, accuracy = found.measured(by), found.accuracy
    measure = measured.value
    if np.isnan(measure).any():
        raise HeadPruneError(f"{sentence_name(by)} is undefined, because it is constant on these {found.examples} examples")
    mask = best_mask(measure[found.first], found.widths)
    interval = widest_interval(found, mask)
    low, high = found.path[interval].low, found.path[interval].high
    random = found.random(by)
    answers = found.agrees if by == "agreement" else found.right
    tested = {"against_his": None, "p_corrected": np.nan, "cochran": None, "cross_validated": None}
    if by in found.correlations:
        in_fold = stratified_folds(found.answers, min(folds, found.examples), seed=seed)
        choose = partial(best_mask, widths=found.widths)
        tested |= tested_correlations(found.correlations[by], mask, int(found.which[-1]), in_fold, choose)
    elif answers is not None:
        tested = _tested(found, answers[found.first], mask, folds, seed)
    parts = {
        "by": by,
        "alpha": (low + high) / 2.0,
        "low": low,
        "high": high,
        "interval": interval,
        "mask": mask,
        "masks": len(found.masks),
        "width": float(found.widths[mask]),
        "ties": int((measure[found.first] >= measure.max() - _TINY).sum()),
        "near": float(found.widths[measure[found.first] >= measure.max() - NEAR_BEST - _TINY].sum()),
        "value": float(measure[interval]),
        "value_low": float(measured.low[interval]),
        "value_high": float(measured.high[interval]),
        "accuracy": float(accuracy[interval]),
        "accuracy_low": float(found.accuracy_low[interval]),
        "accuracy_high": float(found.accuracy_high[interval]),
        "his": float(measure[-1]),
        "ae": float(measure[0]),
        "random": float(random.mean()) if len(random) else np.nan,
        "examples": found.examples,
        "is_his": bool(mask == found.which[-1]),
    }
    return AlphaRecommendation(**parts, **tested)


def best_mask(values: np.ndarray, widths: np.ndarray) -> int:
    """Return the best of M masks.

    Args:
        values: (M,), the selection measure of each mask.
        widths: (M,), share of the alpha range in which each mask applies.

    Returns:
        Index of the highest value; ties are broken by the largest width, then by the first.
    """
    best = np.flatnonzero(values >= values.max() - _TINY)
    return int(best[widths[best].argmax()])


def widest_interval(found: AlphaAccuracy, mask: int) -> int:
    """Return the widest alpha interval of a mask.

    Args:
        found: accuracy of every mask along the alpha path.
        mask: index of a distinct mask.

    Returns:
        Index of the interval in the path; the first of ties.
    """
    intervals = np.flatnonzero(found.which == mask)
    return int(intervals[np.argmax([found.path[i].high - found.path[i].low for i in intervals])])


def _tested(found: AlphaAccuracy, answers: np.ndarray, mask: int, folds: int, seed: int) -> dict:
    """Return the tests, which need per-example values (M, N)."""
    his, counts = int(found.which[-1]), found.counts
    examples = np.arange(answers.shape[1])
    in_fold = stratified_folds(found.answers, min(folds, len(examples)), seed=seed)
    # An example with more predictions has more weight, so that means over examples are accuracies.
    weights = None if counts is None else counts / counts.mean()
    values = answers if weights is None else np.nan_to_num(answers) * weights
    chosen = chosen_without(values, in_fold, lambda means: best_mask(means, found.widths))
    pooled, *outcomes = (_outcomes(row, counts) for row in (answers[chosen, examples], *answers))
    right = found.right[found.first][chosen, examples]
    accuracy = np.average(np.nan_to_num(right), weights=weights) if found.measure == "accuracy" else np.nan
    value = values[chosen, examples].mean()
    low, high = _interval(pooled)
    return {
        "against_his": compare(outcomes[mask], outcomes[his]),
        "p_corrected": _corrected(outcomes, mask, his),
        "cochran": cochran_q(values),
        "cross_validated": CrossValidated(
            float(value),
            low,
            high,
            float(accuracy),
            compare(pooled, outcomes[his]),
            len(np.unique(in_fold)),
            len(np.unique(chosen)),
        ),
    }


def _outcomes(answers: np.ndarray, counts: np.ndarray | None) -> Outcomes:
    """Correct decisions, or shares of correct predictions, as outcomes."""
    return Outcomes(answers) if counts is None else Outcomes(np.nan_to_num(answers) * counts, counts)


def _interval(pooled: Outcomes) -> tuple[float, float]:
    if pooled.counts is None:
        low, high = wilson(pooled.values.sum(), len(pooled.values))
        return float(low), float(high)
    around = token_test(pooled.values, np.zeros(len(pooled.values)), pooled.counts)
    return around.low, around.high


def _corrected(outcomes: list[Outcomes], mask: int, his: int) -> float:
    """Return the Holm-corrected p-value of a mask against HIS only, among the tests of all masks; nan for HIS only."""
    if mask == his:
        return np.nan
    others = [m for m in range(len(outcomes)) if m != his]
    return float(holm([compare(outcomes[m], outcomes[his]).p_value for m in others])[others.index(mask)])
