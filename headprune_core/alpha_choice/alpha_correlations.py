"""The choice of alpha for regression: correlations of all masks, and paired tests of the selected one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headprune_core.data.measures import Measured, correlation_interval, correlations
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.permutation_tests import correlation_test

from .alpha_recommendation import CrossValidated
from .cross_validation import chosen_by_fold


@dataclass(frozen=True, eq=False)
class MaskCorrelations:
    """Correlations of the outputs of M masks with the labels or with the unpruned model's outputs.

    Attributes:
        measured: the correlations of the M masks with bootstrap intervals.
        random: (S,), correlations of the random masks.
        outputs: (M, N, C), outputs of the masks.
        expected: (N, C), labels or outputs of the unpruned model.
        unpruned: (N, C), outputs of the unpruned model.
    """

    measured: Measured
    random: np.ndarray
    outputs: np.ndarray
    expected: np.ndarray
    unpruned: np.ndarray


def mask_correlations(result: MaskEvaluation, masks: int) -> dict[str, MaskCorrelations]:
    """Return the correlations of a regression model.

    Args:
        result: evaluation of the masks, of the random masks and, last, of the unpruned model.
        masks: number of masks M.

    Returns:
        The correlations by measure, the main one first; empty for other tasks.
    """
    if result.task.has_decisions:
        return {}
    names = (*((result.task.measure,) if result.measure == result.task.measure else ()), result.task.without_labels)
    found = {}
    for name in names:
        all_masks = result.measured(name)
        part = Measured(name, *(values[:masks] for values in (all_masks.value, all_masks.low, all_masks.high)))
        expected = result.labels if name == result.task.measure else result.unpruned
        found[name] = MaskCorrelations(part, all_masks.value[masks:-1], result.logits[:masks], expected, result.unpruned)
    return found


def tested_correlations(
    found: MaskCorrelations, mask: int, his: int, in_fold: np.ndarray, choose: Callable[[np.ndarray], int]
) -> dict:
    """Test a selection by a correlation with paired bootstraps and permutation tests over examples.

    Args:
        found: the correlations of the masks.
        mask: index of the best mask.
        his: index of the mask of HIS only.
        in_fold: int (N,), the fold of each example.
        choose: selects the index of a mask from the correlations (M,).

    Returns:
        against_his and cross_validated, see `AlphaRecommendation`.
    """

    def evaluate(some: np.ndarray) -> np.ndarray:
        # Equal labels in a fold's complement leave the correlation undefined; then no mask is better than another.
        return np.nan_to_num(correlations(found.outputs[:, some], found.expected[some], found.unpruned[some]))

    chosen, labels = chosen_by_fold(evaluate, in_fold, choose), (found.expected, found.unpruned)
    pooled, of_his = found.outputs[chosen, np.arange(len(chosen))], found.outputs[his]
    low, high = (float(end[0]) for end in correlation_interval(pooled[None], *labels))
    value = float(correlations(pooled[None], *labels)[0])
    against = correlation_test(pooled, of_his, *labels)
    best = correlation_test(found.outputs[mask], of_his, *labels)
    counts = len(np.unique(in_fold)), len(np.unique(chosen))
    return {"against_his": best, "cross_validated": CrossValidated(value, low, high, np.nan, against, *counts)}
