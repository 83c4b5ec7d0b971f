"""Exact pruning masks for every alpha.

HIES is linear in alpha, so at a fixed sparsity the mask can change only where the scores of two units are equal.
`alpha_path` computes these crossings and returns the resulting intervals; no grid search is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.scores.hies import terms

from .constraints import Constraints, constrain
from .prune_mask import Selection, budget, select_units

SAME = 1e-12  # crossings closer than this count as one, because rounding shifts them by about this much
BLOCK = 256  # initial number of crossings examined at a time


@dataclass(frozen=True, eq=False)
class AlphaInterval:
    """An interval of alpha with one mask.

    Attributes:
        low: Lower end, exclusive: heads tie there, and ties are broken by (row, head).
        high: Upper end, exclusive for the same reason.
        mask: bool (R, H), True = kept, for every alpha strictly between the ends.
    """

    low: float
    high: float
    mask: np.ndarray


def alpha_path(
    his, ae, sparsity: float, *, normalize: str = "layer", entropy_direction: str = "low", **constraints
) -> list[AlphaInterval]:
    """Compute all intervals of alpha in [0, 1] with their masks.

    Args:
        his: (R, H) head importance scores.
        ae: (R, H) attention entropies.
        sparsity: Fraction to prune, as in `prune_mask`.
        normalize: "layer" or "global", as in `hies`.
        entropy_direction: "low" or "high", as in `hies`.
        **constraints: Constraints of `prune_mask`.

    Returns:
        The intervals in order and without gaps; adjacent intervals have different masks. Intervals shorter than 1e-12 are
        omitted.

    Raises:
        HeadPruneError: If the scores have an invalid shape, or as in `prune_mask`.
    """
    importance, focus = terms(his, ae, normalize=normalize, entropy_direction=entropy_direction)
    if importance.ndim != 2:
        raise HeadPruneError(f"his must have shape (R, H), got {importance.shape}")
    units = constrain(importance.shape, **constraints)
    limit = budget(sparsity, units)
    crossings = _Crossings(units.scores(importance), units.scores(focus), units)

    def select_before(start: int) -> Selection:
        middle = crossings.middle_before(start)
        return select_units(middle * importance + (1.0 - middle) * focus, limit, units)

    low, start = 0.0, 0
    current = select_before(start)
    path: list[AlphaInterval] = []
    while (crossing := crossings.next_relevant(current, start)) is not None:
        alpha, start = crossing
        following = select_before(start)
        if (following.pruned != current.pruned).any():
            path.append(AlphaInterval(low, alpha, units.mask(current.pruned)))
            low = alpha
        current = following
    return [*path, AlphaInterval(low, 1.0, units.mask(current.pruned))]


def keep_fraction(path: Sequence[AlphaInterval]) -> np.ndarray:
    """Return the fraction of alpha in [0, 1] for which each head is kept, (R, H)."""
    masks = np.stack([interval.mask for interval in path])
    widths = np.array([interval.high - interval.low for interval in path])
    share = np.minimum(np.tensordot(widths, masks, 1) / widths.sum(), 1.0)
    return np.where(masks.all(0), 1.0, share)  # a sum of many widths is rounded, so a head that is always kept is set to 1


def distinct_masks(path: Sequence[AlphaInterval]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct masks of a path.

    A mask can recur along alpha, so there may be fewer masks than intervals.

    Args:
        path: I intervals of `alpha_path`.

    Returns:
        The masks (M, R, H) in order of first occurrence, and (I,) the index of the mask of each interval.
    """
    number: dict[bytes, int] = {}
    index = np.array([number.setdefault(interval.mask.tobytes(), len(number)) for interval in path])
    return np.stack([path[i].mask for i in np.unique(index, return_index=True)[1]]), index


def interval_at(path: Sequence[AlphaInterval], alpha: float) -> AlphaInterval:
    """Return the interval with low < alpha <= high, or the first interval for alpha = 0.

    Args:
        path: Intervals of `alpha_path`.
        alpha: Number from 0 (entropy only) to 1 (importance only).

    Returns:
        The interval.

    Raises:
        HeadPruneError: If alpha is out of range.
    """
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"alpha must be between 0 (entropy only) and 1 (importance only), got {alpha}")
    return next(interval for interval in path if alpha <= interval.high)


# Most crossings do not change the mask, and the current selection tells which can. `select_units` takes the units in order:
# some are pruned, some are skipped because their row has reached its minimum, and at the first rejected unit the budget ends
# (in each row, if uniform). A crossing swaps two units that are adjacent in this order. Only two kinds of swaps can change
# the selection: one that involves a first rejected unit, and one of a pruned and a skipped unit of the same row. Two pruned
# (or two skipped) units leave the same slack in either order; a pruned and a skipped unit of different rows do not affect
# each other; and all units after the first rejected one are kept in any order. If several lines cross at the same alpha, the
# new order results from swaps of adjacent units, one per crossing pair, so the same holds for all of them together. The
# selection is therefore recomputed only after crossings of these two kinds, in the middle of the gap that follows: about
# twice for each time that the mask changes.
class _Crossings:
    """Every alpha in (0, 1) at which the scores of two free units are equal, in order, with the pair."""

    def __init__(self, high: np.ndarray, low: np.ndarray, units: Constraints):
        first, second = np.triu_indices(len(units.free), 1)
        first, second = units.free[first], units.free[second]
        if units.uniform:  # rows do not affect each other
            same = units.row[first] == units.row[second]
            first, second = first[same], second[same]
        gap_at_0, gap_at_1 = low[first] - low[second], high[first] - high[second]
        crosses = np.sign(gap_at_0) * np.sign(gap_at_1) < 0
        alpha = gap_at_0[crosses] / (gap_at_0[crosses] - gap_at_1[crosses])
        order = np.argsort(alpha)
        order = order[(alpha[order] > SAME) & (alpha[order] < 1.0 - SAME)]
        self._alpha = alpha[order]
        self._first, self._second = first[crosses][order], second[crosses][order]
        self._same_row = units.row[self._first] == units.row[self._second] if units.min_heads else None
        begins = np.diff(self._alpha, prepend=-1.0) > SAME
        self._begin = np.flatnonzero(begins)  # first crossing of each event (crossings at the same alpha)
        self._event = np.cumsum(begins) - 1  # event of each crossing

    def middle_before(self, start: int) -> float:
        """Return the middle of the gap before the event whose first crossing has index `start`."""
        low = self._alpha[start - 1] if start else 0.0
        high = self._alpha[start] if start < len(self._alpha) else 1.0
        return float((low + high) / 2.0)

    def next_relevant(self, current: Selection, start: int) -> tuple[float, int] | None:
        """Return (alpha, index of the next crossing) of the first event from `start` that can change the selection."""
        block = BLOCK
        while start < len(self._alpha):
            part = slice(start, start + block)
            first, second = self._first[part], self._second[part]
            relevant = current.first_rejected[first] | current.first_rejected[second]
            if self._same_row is not None:
                pruned, skipped = current.pruned, current.skipped
                swapped = (pruned[first] & skipped[second]) | (skipped[first] & pruned[second])
                relevant |= swapped & self._same_row[part]
            offset = int(relevant.argmax())
            if relevant[offset]:
                event = self._event[start + offset]
                ends = self._begin[event + 1] if event + 1 < len(self._begin) else len(self._alpha)
                return float(self._alpha[self._begin[event]]), int(ends)
            start, block = start + block, 2 * block
        return None
