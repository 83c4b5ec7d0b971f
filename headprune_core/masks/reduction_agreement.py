"""Do the reductions of HIS rank the heads alike? Kendall's tau between them, and the heads that all of them would remove.

The same tau says how far two runs of other settings (of other precisions, say) agree.
"""

from itertools import combinations

import numpy as np
from scipy import stats

from headprune_core.scores.head_scores import HeadScores
from headprune_core.scores.importance import REDUCTIONS

from .prune_mask import prune_mask

ALIKE, PARTLY = 0.8, 0.5  # of the least of the three: above, the choice hardly matters; below, it decides


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of two score matrices (R, H) over all heads; nan where one of them is the same for every head."""
    first, second = np.ravel(first), np.ravel(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.kendalltau(first, second).statistic)


def reduction_agreement(scores: HeadScores) -> dict[tuple[str, str], float]:
    """Kendall's tau of HIS by every two reductions. No model run."""
    his = {name: scores.reduced_by(name).his for name in REDUCTIONS}
    return {pair: rank_agreement(his[pair[0]], his[pair[1]]) for pair in combinations(REDUCTIONS, 2)}


def removed_by_all(scores: HeadScores, sparsity: float) -> tuple[int, int]:
    """(how many heads every reduction removes at `sparsity`, how many each of them removes)."""
    removed = [~prune_mask(scores.reduced_by(name).his, sparsity) for name in REDUCTIONS]
    return int(np.logical_and.reduce(removed).sum()), int(removed[0].sum())


def describe_reductions(agreement: dict[tuple[str, str], float]) -> str:
    """The finding in one sentence."""
    values = [value for value in agreement.values() if np.isfinite(value)]
    if not values:
        return "HIS is the same for every head, so there is no order to compare."
    least = min(values)
    if least > ALIKE:
        return "All three rank the heads much alike here, so the choice hardly matters."
    if least > PARTLY:
        return "They agree in the large and differ in the detail: which heads go first depends on the choice."
    return "They disagree: scores by one reduction do not stand for those by another."


def precision_agreement(first: HeadScores, second: HeadScores) -> dict[str, float]:
    """Kendall's tau of each metric that both scores hold."""
    return {m: rank_agreement(getattr(first, m), getattr(second, m)) for m in first.per_example if m in second.per_example}
