"""Agreement between the reductions of HIS: Kendall's tau between their rankings, and the heads that all of them prune.

The same tau compares two scoring runs with different settings, for example different precisions.
"""

from itertools import combinations

import numpy as np
from scipy import stats

from headprune_core.scores.head_scores import HeadScores
from headprune_core.scores.importance import REDUCTIONS

from .prune_mask import prune_mask

AGREE, PARTLY_AGREE = 0.8, 0.5  # the smallest tau above which reductions agree, or agree in part


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Kendall's tau-b between two score matrices over all heads.

    Args:
        first: (R, H) scores.
        second: (R, H) scores.

    Returns:
        Tau-b, or nan if one of the matrices is constant.
    """
    first, second = np.ravel(first), np.ravel(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.kendalltau(first, second).statistic)


def reduction_agreement(scores: HeadScores) -> dict[tuple[str, str], float]:
    """Compute Kendall's tau of HIS between every two reductions, without running the model."""
    his = {name: scores.reduced_by(name).his for name in REDUCTIONS}
    return {pair: rank_agreement(his[pair[0]], his[pair[1]]) for pair in combinations(REDUCTIONS, 2)}


def removed_by_all(scores: HeadScores, sparsity: float) -> tuple[int, int]:
    """Count the heads that all reductions of HIS prune.

    Args:
        scores: Scores with HIS.
        sparsity: Fraction of heads to prune.

    Returns:
        The number of heads that every reduction prunes, and the number that each reduction prunes.
    """
    removed = [~prune_mask(scores.reduced_by(name).his, sparsity) for name in REDUCTIONS]
    return int(np.logical_and.reduce(removed).sum()), int(removed[0].sum())


def describe_reductions(agreement: dict[tuple[str, str], float]) -> str:
    """Describe the result of `reduction_agreement` in one sentence."""
    values = [value for value in agreement.values() if np.isfinite(value)]
    if not values:
        return "HIS is the same for every head, so there is no ranking to compare."
    smallest = min(values)
    if smallest > AGREE:
        return "The reductions rank the heads similarly, so the choice has little effect on this calibration set."
    if smallest > PARTLY_AGREE:
        return "The reductions agree broadly but differ in detail: the pruning order depends on the choice."
    return "The reductions disagree: results with one do not carry over to another."


def precision_agreement(first: HeadScores, second: HeadScores) -> dict[str, float]:
    """Compute Kendall's tau between two scoring runs, for each metric that both contain."""
    return {m: rank_agreement(getattr(first, m), getattr(second, m)) for m in first.per_example if m in second.per_example}
