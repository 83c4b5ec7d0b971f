"""What may be removed: heads that go together, heads that stay or go in any case, and what every row keeps.

Constraints turn heads into units, which go or stay whole. Without groups every head is a unit; with groups the heads of a
row that have the same number are one (a key-value group: `HeadGrid.kv_group`). A unit with a protected head is protected,
one with a head removed by hand goes. How far a budget gets through the units is left to `masks.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError


@dataclass(frozen=True, eq=False)
class Constraints:
    """U units of R x H heads, in the order of their first heads.

    unit (R * H,): the unit of each head. row, heads, weight (U,): where it is, how many heads it has, and what it takes of a
    budget (heads or parameters). protected, removed (U,): stays, goes in any case. least: heads that every row keeps. even:
    every row has a budget of its own, the same for all. lane (U,): which budget a unit is paid from. free: the units to
    choose from, by number. spent: what the removed ones take of each lane's budget.
    """

    shape: tuple[int, int]
    unit: np.ndarray
    row: np.ndarray
    heads: np.ndarray
    weight: np.ndarray
    protected: np.ndarray
    removed: np.ndarray
    least: int
    uniform: bool
    by_parameters: bool
    lane: np.ndarray
    free: np.ndarray
    spent: np.ndarray
    room: np.ndarray  # (R,) heads that a row can lose beside those removed by hand
    uneven: bool  # whether some row has units of several sizes

    def mask(self, gone: np.ndarray) -> np.ndarray:
        """(R, H), True = kept, from which units are gone (U,)."""
        return ~gone[self.unit].reshape(self.shape)

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """(U,) the mean score of each unit's heads, added up in the order of the heads."""
        return np.bincount(self.unit, weights=scores.ravel()) / self.heads


def constrain(
    shape: tuple[int, int],
    *,
    min_heads_per_layer: int = 0,
    protect=None,
    remove=None,
    groups=None,
    uniform=False,
    parameters=None,
) -> Constraints:
    """The constraints of `prune_mask` on R x H heads; raises HeadPruneError where they contradict one another."""
    rows, heads = shape
    if not (0 <= min_heads_per_layer <= heads and min_heads_per_layer == int(min_heads_per_layer)):
        raise HeadPruneError(f"min_heads_per_layer is {min_heads_per_layer}; expected 0 to {heads}, a whole number")
    if uniform and parameters is not None:
        raise HeadPruneError("even rows and a budget of parameters were asked for together; expected one of the two")
    unit = _unit_of_each_head(shape, groups)
    size = np.bincount(unit)
    row = np.empty(len(size), int)
    row[unit] = np.arange(rows * heads) // heads
    protected, removed = (_any_head(name, value, shape, unit) for name, value in (("protect", protect), ("remove", remove)))
    if (protected & removed).any():
        both = np.flatnonzero(protected & removed)[0]
        named = _listed(np.flatnonzero(unit == both) % heads)
        raise HeadPruneError(
            f"{named} of row {row[both]} cannot be protected and removed by hand at once; expected one of the two"
            + (", for the group as a whole" if size[both] > 1 else "")
        )
    room = heads - min_heads_per_layer - np.bincount(row[removed], weights=size[removed], minlength=rows).astype(int)
    if room.min() < 0:
        worst = int(room.argmin())
        left = room[worst] + min_heads_per_layer
        raise HeadPruneError(
            f"heads removed by hand leave row {worst} with {left} of {heads}, {-room[worst]} fewer than the "
            f"{min_heads_per_layer} that every row is to keep; remove fewer or lower min_heads_per_layer"
        )
    weight = size.astype(float) if parameters is None else np.bincount(unit, weights=_parameters(parameters, shape))
    lane = row if uniform else np.zeros(len(size), int)
    spent = np.bincount(lane[removed], weights=weight[removed], minlength=rows if uniform else 1)
    return Constraints(
        shape=(rows, heads),
        unit=unit,
        row=row,
        heads=size,
        weight=weight,
        protected=protected,
        removed=removed,
        least=int(min_heads_per_layer),
        uniform=bool(uniform),
        by_parameters=parameters is not None,
        lane=lane,
        free=np.flatnonzero(~protected & ~removed),
        spent=spent,
        room=room,
        uneven=groups is not None and _of_several_sizes(row, size),
    )


def parse_heads(names: Iterable[str], grid) -> np.ndarray:
    """bool (R, H): the heads that people name, "3.5" for head 5 of row 3 and "3" for the whole row; rows also by label.

    grid: the HeadGrid of the model. Raises HeadPruneError for a head that is not there.
    """
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(grid.row_labels)} | {str(row): row for row in range(rows)}
    chosen = np.zeros((rows, heads), bool)
    for name in names:
        row, point, head = str(name).strip().partition(".")
        known = row in labels and (not point or head in map(str, range(heads)))
        if not known:
            raise HeadPruneError(
                f"there is no head {name!r}; expected row.head, as in 0.3, or a row, with rows 0 to {rows - 1} and "
                f"heads 0 to {heads - 1}"
            )
        chosen[labels[row], int(head) if point else slice(None)] = True
    return chosen


def _unit_of_each_head(shape: tuple[int, int], groups) -> np.ndarray:
    """(R * H,) units numbered by their first heads."""
    rows, heads = shape
    if groups is None:
        return np.arange(rows * heads)
    groups = _of_every_head("groups", groups, shape)
    if not (np.isfinite(groups) & (groups == np.floor(groups))).all():
        raise HeadPruneError("groups are not all whole numbers; expected the number of its group for every head")
    names = np.column_stack([np.repeat(np.arange(rows), heads), groups.ravel()])
    _, first, which = np.unique(names, axis=0, return_index=True, return_inverse=True)
    number = np.empty(len(first), int)
    number[np.argsort(first)] = np.arange(len(first))
    return number[which.ravel()]


def _of_several_sizes(row: np.ndarray, size: np.ndarray) -> bool:
    """Whether some row has units of more than one size."""
    largest = np.zeros(row.max() + 1, int)
    np.maximum.at(largest, row, size)
    return bool((size != largest[row]).any())


def _any_head(name: str, value, shape: tuple[int, int], unit: np.ndarray) -> np.ndarray:
    """(U,) whether `value` is true for any head of a unit."""
    if value is None:
        return np.zeros(unit.max() + 1, bool)
    return np.bincount(unit, weights=_of_every_head(name, value, shape).astype(bool).ravel()) > 0


def _parameters(parameters, shape: tuple[int, int]) -> np.ndarray:
    parameters = _of_every_head("parameters", parameters, shape)
    if not (np.isfinite(parameters) & (parameters > 0)).all():
        raise HeadPruneError("parameters are not all above 0; expected how many parameters go with every head")
    return parameters.ravel()


def _of_every_head(name: str, value, shape: tuple[int, int]) -> np.ndarray:
    value = np.asarray(value, float)
    if value.shape != tuple(shape):
        raise HeadPruneError(f"{name} has shape {value.shape}; expected {tuple(shape)}, one value for each head")
    return value


def _listed(heads: np.ndarray) -> str:
    numbers = ", ".join(map(str, heads))
    return f"head {numbers}" if len(heads) == 1 else f"heads {numbers}"
