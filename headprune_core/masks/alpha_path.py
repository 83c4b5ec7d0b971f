"""The exact alpha path. HIES of every head is a straight line in alpha, so at a given sparsity the mask changes only
where two lines cross: the masks along alpha in [0, 1] are a finite list of intervals, and no grid is needed.

Most crossings change nothing, and which do is known beforehand. `masks.walk` takes units in order: some it removes, some it
skips because their row is full, and at one, the stop, the budget ends (with even=True in each row). A crossing exchanges two
units that follow one another. Only two kinds of exchange can alter what becomes of any unit: one with a stop in it, and one
of a removed with a skipped unit of the same row. For two removed (two skipped) units leave the same room behind them in
either order; a removed and a skipped unit of different rows take nothing from one another; what comes after the stop stays,
in any order; and no unit after the stop follows one before it. Where many lines cross in one place, the new order comes by
exchanging neighbours, each crossing pair once, so the same holds for all of them together. The walk is thus repeated only
after crossings of these two kinds, in the middle of the gap that follows: about twice for each time that the mask changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.scores.hies import terms

from .constraints import Constraints, constrain
from .prune_mask import Walk, budget, walk

SAME = 1e-12  # crossings nearer to one another than this are taken for one: rounding moves them about as far
BLOCK = 256  # crossings that are looked through at a time, at first


@dataclass(frozen=True, eq=False)
class AlphaInterval:
    """All alpha strictly between low and high give this mask (R, H); at an end itself ties go by (row, head)."""

    low: float
    high: float
    mask: np.ndarray


def alpha_path(
    his, ae, sparsity: float, *, normalize: str = "layer", entropy_direction: str = "low", **constraints
) -> list[AlphaInterval]:
    """The intervals of alpha in [0, 1], in order and without gaps, neighbours having different masks.

    his, ae: (R, H). constraints: those of `prune_mask`, with its errors. Intervals shorter than 1e-12 are left out.
    """
    importance, focus = terms(his, ae, normalize=normalize, entropy_direction=entropy_direction)
    if importance.ndim != 2:
        raise HeadPruneError(f"HIS has shape {importance.shape}; expected (R, H)")
    rules = constrain(importance.shape, **constraints)
    limit = budget(sparsity, rules)
    events = _Crossings(rules.scores(importance), rules.scores(focus), rules)

    def found(start: int) -> Walk:
        middle = events.middle_before(start)
        return walk(middle * importance + (1.0 - middle) * focus, limit, rules)

    low, start = 0.0, 0
    now = found(start)
    path: list[AlphaInterval] = []
    while (event := events.next_that_matters(now, start)) is not None:
        here, start = event
        after = found(start)
        if (after.gone != now.gone).any():
            path.append(AlphaInterval(low, here, rules.mask(now.gone)))
            low = here
        now = after
    return [*path, AlphaInterval(low, 1.0, rules.mask(now.gone))]


def keep_fraction(path: Sequence[AlphaInterval]) -> np.ndarray:
    """(R, H) the share of alpha in [0, 1] over which each head stays."""
    masks = np.stack([part.mask for part in path])
    widths = np.array([part.high - part.low for part in path])
    share = np.minimum(np.tensordot(widths, masks, 1) / widths.sum(), 1.0)
    return np.where(masks.all(0), 1.0, share)  # without what rounding takes from a sum of many widths


def distinct_masks(path: Sequence[AlphaInterval]) -> tuple[np.ndarray, np.ndarray]:
    """The masks of a path without repeats (M, R, H), in the order in which they first come, and (I,) which is whose.

    A mask can come back along alpha, so there may be fewer masks than intervals.
    """
    number: dict[bytes, int] = {}
    which = np.array([number.setdefault(part.mask.tobytes(), len(number)) for part in path])
    return np.stack([path[i].mask for i in np.unique(which, return_index=True)[1]]), which


def interval_at(path: Sequence[AlphaInterval], alpha: float) -> AlphaInterval:
    """The interval with low < alpha <= high; the first one at alpha 0."""
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"alpha is {alpha}; expected a number from 0 (entropy alone) to 1 (importance alone)")
    return next(part for part in path if alpha <= part.high)


class _Crossings:
    """Every alpha inside (0, 1) at which the lines of two units that may go meet, in order, with the pair."""

    def __init__(self, high: np.ndarray, low: np.ndarray, rules: Constraints):
        first, second = np.triu_indices(len(rules.free), 1)
        first, second = rules.free[first], rules.free[second]
        if rules.uniform:  # rows have nothing to do with one another
            same = rules.row[first] == rules.row[second]
            first, second = first[same], second[same]
        gap_at_0, gap_at_1 = low[first] - low[second], high[first] - high[second]
        crosses = np.sign(gap_at_0) * np.sign(gap_at_1) < 0
        alpha = gap_at_0[crosses] / (gap_at_0[crosses] - gap_at_1[crosses])
        order = np.argsort(alpha)
        order = order[(alpha[order] > SAME) & (alpha[order] < 1.0 - SAME)]
        self._alpha = alpha[order]
        self._first, self._second = first[crosses][order], second[crosses][order]
        self._same_row = rules.row[self._first] == rules.row[self._second] if rules.least else None
        begins = np.diff(self._alpha, prepend=-1.0) > SAME
        self._begin = np.flatnonzero(begins)  # of each event, its first crossing
        self._event = np.cumsum(begins) - 1  # of each crossing

    def middle_before(self, start: int) -> float:
        """The middle of the gap that ends with the event whose first crossing is number `start`."""
        low = self._alpha[start - 1] if start else 0.0
        high = self._alpha[start] if start < len(self._alpha) else 1.0
        return float((low + high) / 2.0)

    def next_that_matters(self, now: Walk, start: int) -> tuple[float, int] | None:
        """(alpha, number of the first crossing after it) of the next event from `start` on that can change the walk."""
        block = BLOCK
        while start < len(self._alpha):
            part = slice(start, start + block)
            first, second = self._first[part], self._second[part]
            matters = now.stop[first] | now.stop[second]
            if self._same_row is not None:
                exchanged = (now.gone[first] & now.skipped[second]) | (now.skipped[first] & now.gone[second])
                matters |= exchanged & self._same_row[part]
            place = int(matters.argmax())
            if matters[place]:
                event = self._event[start + place]
                ends = self._begin[event + 1] if event + 1 < len(self._begin) else len(self._alpha)
                return float(self._alpha[self._begin[event]]), int(ends)
            start, block = start + block, 2 * block
        return None
