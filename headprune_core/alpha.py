"""The exact alpha path. HIES of every head is a straight line in alpha, so at a given sparsity the mask changes only
where two lines cross: the masks along alpha in [0, 1] are a finite list of intervals, and no grid is needed."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .masks import prune_mask
from .scores.hies import terms


@dataclass(frozen=True, eq=False)
class AlphaInterval:
    """All alpha strictly between low and high give this mask (R, H); at an end itself ties go by (row, head)."""

    low: float
    high: float
    mask: np.ndarray


def alpha_path(
    his, ae, sparsity: float, *, normalize="layer", entropy_direction="low", min_heads_per_layer=0, protect=None
) -> list[AlphaInterval]:
    """The intervals of alpha in [0, 1], in order and without gaps, neighbours having different masks."""
    importance, focus = terms(his, ae, normalize=normalize, entropy_direction=entropy_direction)
    ends = np.concatenate([[0.0], _crossings(importance.ravel(), focus.ravel()), [1.0]])
    path: list[AlphaInterval] = []
    for low, high in pairwise(ends):
        middle = (low + high) / 2.0
        score = middle * importance + (1.0 - middle) * focus
        mask = prune_mask(score, sparsity, min_heads_per_layer=min_heads_per_layer, protect=protect)
        if path and (path[-1].mask == mask).all():
            path[-1] = AlphaInterval(path[-1].low, float(high), mask)
        else:
            path.append(AlphaInterval(float(low), float(high), mask))
    return path


def _crossings(importance: np.ndarray, focus: np.ndarray) -> np.ndarray:
    """Every alpha strictly inside (0, 1) at which the lines of two heads meet, in order, once each."""
    i, j = np.triu_indices(len(importance), 1)
    gap_at_0, gap_at_1 = focus[i] - focus[j], importance[i] - importance[j]
    crosses = gap_at_0 * gap_at_1 < 0
    return np.unique(gap_at_0[crosses] / (gap_at_0[crosses] - gap_at_1[crosses]))
