"""Constraints on a pruning mask, in terms of units: heads that are kept or pruned together.

Without groups, every head is a unit. With groups, the heads of a row with the same number form one unit, for example a KV
group (`HeadGrid.kv_group`). A unit with a protected head is protected, and a unit with a head in `remove` is always pruned.
Selecting units up to a budget is left to `prune_mask.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headprune_core.checked_mask import ADVICE_ON_HEADS, checked_mask
from headprune_core.errors import HeadPruneError


@dataclass(frozen=True, eq=False)
class Constraints:
    """Constraints on R x H heads in terms of U pruning units, ordered by their first heads.

    There is one budget for the model, or one per row (a budget group) if `uniform` is set.

    Attributes:
        shape: (R, H).
        unit: (R * H,) unit index of each head.
        row: (U,) row of each unit.
        heads: (U,) number of heads in each unit.
        weight: (U,) budget cost of each unit, in heads or parameters.
        protected: bool (U,), units that are always kept.
        removed: bool (U,), units that are always pruned.
        min_heads: Minimum number of heads to keep in each row.
        uniform: Whether every row has its own budget, the same for all rows.
        by_parameters: Whether the budget counts parameters instead of heads.
        budget_group: (U,) budget that a unit counts against: its row if `uniform`, otherwise 0.
        free: Indices of the units that are neither protected nor removed.
        used: (G,) cost of the removed units in each budget group.
        slack: (R,) heads that each row can lose in addition to the removed ones.
        mixed_sizes: Whether some row has units of different sizes.
    """

    shape: tuple[int, int]
    unit: np.ndarray
    row: np.ndarray
    heads: np.ndarray
    weight: np.ndarray
    protected: np.ndarray
    removed: np.ndarray
    min_heads: int
    uniform: bool
    by_parameters: bool
    budget_group: np.ndarray
    free: np.ndarray
    used: np.ndarray
    slack: np.ndarray
    mixed_sizes: bool

    def mask(self, pruned: np.ndarray) -> np.ndarray:
        """Return the mask (R, H), True = kept, for the pruned units, bool (U,)."""
        return ~pruned[self.unit].reshape(self.shape)

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Return the mean score of the heads of each unit, (U,), from head scores (R, H)."""
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
    """Turn the constraints of `prune_mask` into pruning units.

    Args:
        shape: (R, H).
        min_heads_per_layer: Minimum number of heads to keep in each row.
        protect: bool (R, H), heads to always keep.
        remove: bool (R, H), heads to always prune.
        groups: Whole numbers (R, H); heads of a row with the same number form one unit.
        uniform: Whether every row has its own budget.
        parameters: (R, H) parameter counts, if the budget counts parameters.

    Returns:
        The constraints on units.

    Raises:
        HeadPruneError: If an argument is invalid or the constraints contradict each other.
    """
    rows, heads = shape
    if not (0 <= min_heads_per_layer <= heads and min_heads_per_layer == int(min_heads_per_layer)):
        raise HeadPruneError(f"min_heads_per_layer must be a whole number from 0 to {heads}, got {min_heads_per_layer}")
    if uniform and parameters is not None:
        raise HeadPruneError("uniform=True cannot be combined with a parameter budget; choose one")
    unit = _unit_of_each_head(shape, groups)
    size = np.bincount(unit)
    row = np.empty(len(size), int)
    row[unit] = np.arange(rows * heads) // heads
    protected, removed = (_any_head(name, value, shape, unit) for name, value in (("protect", protect), ("remove", remove)))
    if (protected & removed).any():
        both = np.flatnonzero(protected & removed)[0]
        numbers = ", ".join(map(str, np.flatnonzero(unit == both) % heads))
        raise HeadPruneError(
            f"the group of heads {numbers} in row {row[both]} has heads in both protect and remove"
            if size[both] > 1
            else f"head {numbers} in row {row[both]} is in both protect and remove"
        )
    slack = heads - min_heads_per_layer - np.bincount(row[removed], weights=size[removed], minlength=rows).astype(int)
    if slack.min() < 0:
        worst = int(slack.argmin())
        left = slack[worst] + min_heads_per_layer
        raise HeadPruneError(
            f"remove leaves {left} of {heads} heads in row {worst}, but min_heads_per_layer is {min_heads_per_layer}; "
            "remove fewer heads or lower min_heads_per_layer"
        )
    weight = size.astype(float) if parameters is None else np.bincount(unit, weights=_parameters(parameters, shape))
    budget_group = row if uniform else np.zeros(len(size), int)
    used = np.bincount(budget_group[removed], weights=weight[removed], minlength=rows if uniform else 1)
    return Constraints(
        shape=(rows, heads),
        unit=unit,
        row=row,
        heads=size,
        weight=weight,
        protected=protected,
        removed=removed,
        min_heads=int(min_heads_per_layer),
        uniform=bool(uniform),
        by_parameters=parameters is not None,
        budget_group=budget_group,
        free=np.flatnonzero(~protected & ~removed),
        used=used,
        slack=slack,
        mixed_sizes=groups is not None and _has_mixed_sizes(row, size),
    )


def parse_heads(names: Iterable[str], grid) -> np.ndarray:
    """Return the heads with the given names as a boolean array.

    Args:
        names: "3.5" for head 5 of row 3, "3" for all heads of row 3; a row may also be given by its label.
        grid: The HeadGrid of the model.

    Returns:
        bool (R, H), True for the named heads.

    Raises:
        HeadPruneError: If the model has no such head.
    """
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(grid.row_labels)} | {str(row): row for row in range(rows)}
    chosen = np.zeros((rows, heads), bool)
    for name in names:
        row, point, head = str(name).strip().partition(".")
        known = row in labels and (not point or head in map(str, range(heads)))
        if not known:
            raise HeadPruneError(
                f"unknown head {name!r}; use row.head (for example 0.3) or a row number, rows 0 to {rows - 1} and heads 0 "
                f"to {heads - 1}"
            )
        chosen[labels[row], int(head) if point else slice(None)] = True
    return chosen


def _unit_of_each_head(shape: tuple[int, int], groups) -> np.ndarray:
    """Return the unit index of each head, (R * H,), numbered by the first heads of the units."""
    rows, heads = shape
    if groups is None:
        return np.arange(rows * heads)
    groups = _per_head("groups", groups, shape)
    if not (np.isfinite(groups) & (groups == np.floor(groups))).all():
        raise HeadPruneError("groups must hold a whole number for every head: the number of its group")
    names = np.column_stack([np.repeat(np.arange(rows), heads), groups.ravel()])
    _, first, inverse = np.unique(names, axis=0, return_index=True, return_inverse=True)
    number = np.empty(len(first), int)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse.ravel()]


def _has_mixed_sizes(row: np.ndarray, size: np.ndarray) -> bool:
    """Return True if some row has units of more than one size."""
    largest = np.zeros(row.max() + 1, int)
    np.maximum.at(largest, row, size)
    return bool((size != largest[row]).any())


def _any_head(name: str, value, shape: tuple[int, int], unit: np.ndarray) -> np.ndarray:
    """Return, for each unit (U,), whether `value` is true for any of its heads."""
    if value is None:
        return np.zeros(unit.max() + 1, bool)
    return np.bincount(unit, weights=checked_mask(value, shape, name=name, advice=ADVICE_ON_HEADS).ravel()) > 0


def _parameters(parameters, shape: tuple[int, int]) -> np.ndarray:
    parameters = _per_head("parameters", parameters, shape)
    if not (np.isfinite(parameters) & (parameters > 0)).all():
        raise HeadPruneError("parameters must hold a positive number for every head")
    return parameters.ravel()


def _per_head(name: str, value, shape: tuple[int, int]) -> np.ndarray:
    value = np.asarray(value, float)
    if value.shape != tuple(shape):
        raise HeadPruneError(f"{name} must have shape {tuple(shape)}, one value per head, got {value.shape}")
    return value
