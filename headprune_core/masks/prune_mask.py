"""Pruning masks from head scores. A mask is boolean (R, H), True = kept, with heads in their original positions.

Pruning units (`constraints.py`; without groups, a unit is one head) are pruned in order of increasing score until the next
one would exceed the budget.
"""

from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError

from .constraints import Constraints, constrain

ROUNDING = 1e-9  # tolerance for rounding errors in sums of parameters, relative to their total


def prune_mask(
    scores,
    sparsity: float,
    *,
    min_heads_per_layer: int = 0,
    protect=None,
    remove=None,
    groups=None,
    uniform: bool = False,
    parameters=None,
) -> np.ndarray:
    """Return a pruning mask that removes the lowest-scoring heads.

    If the budget ends inside a unit of several heads, only the units before it are pruned.

    Args:
        scores: (R, H) head scores.
        sparsity: Fraction of heads to prune, 0 to 1; round(sparsity * R * H) heads are pruned.
        min_heads_per_layer: Minimum number of heads to keep in each row.
        protect: bool (R, H), heads to always keep.
        remove: bool (R, H), heads to always prune, whatever their score. They count against the budget.
        groups: Whole numbers (R, H); heads of a row with the same number are kept or pruned together, by their mean score.
        uniform: Prune round(sparsity * H) heads in every row.
        parameters: (R, H) parameter counts; if given, sparsity is a fraction of their sum.

    Returns:
        bool (R, H), True = kept. Ties are broken by (row, head).

    Raises:
        HeadPruneError: If scores are not finite or the constraints cannot be met.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise HeadPruneError(f"scores must be finite numbers (R, H), got shape {scores.shape} with {bad} non-finite values")
    units = constrain(
        scores.shape,
        min_heads_per_layer=min_heads_per_layer,
        protect=protect,
        remove=remove,
        groups=groups,
        uniform=uniform,
        parameters=parameters,
    )
    return units.mask(select_units(scores, budget(sparsity, units), units).pruned)


def nested_masks(scores, **constraints) -> tuple[np.ndarray, np.ndarray]:
    """Return every mask that `prune_mask` can make of these scores.

    Args:
        scores: (R, H) head scores.
        **constraints: Constraints of `prune_mask`.

    Returns:
        Sparsities (M,) and masks (M, R, H), from the most to the fewest kept heads that the constraints allow. `prune_mask`
        at one of the sparsities returns the corresponding mask.
    """
    scores = np.asarray(scores, float)
    prune_mask(scores, 0.0, **constraints)
    units = constrain(scores.shape, **constraints)
    limits = [float(limit) for limit in range(scores.shape[1] + 1)]
    total = limits[-1]
    if not units.uniform:
        limits = units.used[0] + np.r_[0.0, np.cumsum(units.weight[_pruning_order(scores, units)[0]])]
        total = units.weight.sum()
    sparsities, masks = [], []
    for limit in limits:
        selection = _select(scores, limit + ROUNDING * total, units)
        if _group_under_budget(selection, limit, units) is not None:
            break
        mask = units.mask(selection.pruned)
        if not masks or (mask != masks[-1]).any():
            sparsities.append(min(1.0, limit / total))
            masks.append(mask)
    return np.array(sparsities), np.stack(masks)


def heads_to_remove(sparsity: float, heads: int) -> int:
    """Return how many of `heads` heads a sparsity from 0 to 1 prunes, rounded half to even."""
    if not 0.0 <= sparsity <= 1.0:
        raise HeadPruneError(f"sparsity must be between 0 and 1, got {sparsity}")
    return round(sparsity * heads)


def budget(sparsity: float, units: Constraints) -> float:
    """Return the budget of a sparsity from 0 to 1.

    Args:
        sparsity: Fraction to prune.
        units: The constraints.

    Returns:
        The number of heads of the model (of each row if `units.uniform`) or of parameters that may be pruned.
    """
    count = heads_to_remove(sparsity, units.shape[1] if units.uniform else units.unit.size)
    return (sparsity + ROUNDING) * units.weight.sum() if units.by_parameters else count


@dataclass(frozen=True, eq=False)
class Selection:
    """The pruned units of a mask, and why the others are kept.

    Attributes:
        pruned: bool (U,), pruned units.
        skipped: bool (U,), units kept because their row would be left with too few heads.
        first_rejected: bool (U,), the first unit of each budget group that would have exceeded the budget.
    """

    pruned: np.ndarray
    skipped: np.ndarray
    first_rejected: np.ndarray


def select_units(scores: np.ndarray, limit: float, units: Constraints) -> Selection:
    """Select the lowest-scoring units up to a budget.

    Args:
        scores: (R, H) head scores.
        limit: Budget, in heads or parameters; see `budget`.
        units: The constraints.

    Returns:
        The selection.

    Raises:
        HeadPruneError: If the constraints keep units for which there is budget left.
    """
    selection = _select(scores, limit, units)
    group = _group_under_budget(selection, limit, units)
    if group is not None:
        raise HeadPruneError(_describe_shortfall(selection, limit, units, group))
    return selection


def _select(scores: np.ndarray, limit: float, units: Constraints) -> Selection:
    order, skipped = _pruning_order(scores, units)
    if units.uniform:
        order = order[np.argsort(units.budget_group[order], kind="stable")]
    group = units.budget_group[order]
    fits = units.used[group] + _running_totals(group, units.weight[order]) <= limit
    pruned, first_rejected = units.removed.copy(), np.zeros(len(units.row), bool)
    pruned[order[fits]] = True
    beyond, group = order[~fits], group[~fits]
    first_rejected[beyond[_starts(group)]] = True
    return Selection(pruned, skipped, first_rejected)


def _pruning_order(scores: np.ndarray, units: Constraints) -> tuple[np.ndarray, np.ndarray]:
    """Return the units that may be pruned, in order, and which units are skipped, bool (U,)."""
    order = units.free[np.argsort(units.scores(scores)[units.free], kind="stable")]
    skipped = np.zeros(len(units.row), bool)
    if units.min_heads:
        over = _over_quota(order, units)
        skipped[order[over]] = True
        order = order[~over]
    return order, skipped


def _over_quota(order: np.ndarray, units: Constraints) -> np.ndarray:
    """Return which units, in order, would leave their row with too few heads if those before them are pruned."""
    rows, heads = units.row[order], units.heads[order]
    over = np.zeros(len(order), bool)
    if units.mixed_sizes:  # a small unit can still be pruned after a large one was skipped
        slack = units.slack.tolist()
        for i, (row, size) in enumerate(zip(rows.tolist(), heads.tolist(), strict=True)):
            over[i] = size > slack[row]
            slack[row] -= 0 if over[i] else size
        return over
    by_row = np.argsort(rows, kind="stable")
    over[by_row] = _running_totals(rows[by_row], heads[by_row]) > units.slack[rows[by_row]]
    return over


def _starts(group: np.ndarray) -> np.ndarray:
    """Return the start index of each run of equal numbers."""
    begins = np.ones(len(group), bool)
    begins[1:] = group[1:] != group[:-1]
    return np.flatnonzero(begins)


def _running_totals(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return running totals that restart with every run of equal groups."""
    total = np.cumsum(values)
    starts = _starts(group)
    if len(starts) < 2:
        return total
    return total - np.repeat((total - values)[starts], np.diff(starts, append=len(group)))


def _group_under_budget(selection: Selection, limit: float, units: Constraints) -> int | None:
    """Return the first budget group with budget left for a unit that a constraint keeps, or None."""
    ran_out = np.ones(len(units.used), bool)
    ran_out[units.budget_group[selection.first_rejected]] = False
    if not ran_out.any():
        return None
    pruned = selection.pruned
    used = np.bincount(units.budget_group[pruned], weights=units.weight[pruned], minlength=len(ran_out))
    fits = ~pruned & ran_out[units.budget_group] & (units.weight <= (limit - used)[units.budget_group])
    return int(units.budget_group[fits][0]) if fits.any() else None


def _describe_shortfall(selection: Selection, limit: float, units: Constraints, group: int) -> str:
    """Return the error message for a budget that the constraints do not allow to be used."""
    here = units.budget_group == group
    possible, total = units.weight[selection.pruned & here].sum(), units.weight[here].sum()
    reasons = []
    if (units.protected & here).any():
        reasons.append(f"{units.heads[units.protected & here].sum()} protected")
    if units.min_heads:
        reasons.append(f"at least {units.min_heads} kept in every row")
    if len(units.row) < units.unit.size:
        reasons.append("whole groups only")
    where = f" in row {group}" if units.uniform else ""
    what = "parameters" if units.by_parameters else "heads"
    return (
        f"cannot prune {limit:.0f} {what}{where}: the constraints allow only {possible:.0f} of {total:.0f} "
        f"({', '.join(reasons)}); lower the sparsity or relax a constraint"
    )
