"""From scores to a mask: which heads stay. A mask is boolean (R, H), True = kept, in the original head numbers.

Units of heads (`constraints.py`; without groups a unit is a head) are walked from the lowest score up and removed, until the
next one would exceed the budget.
"""

from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError

from .constraints import Constraints, constrain

ROUNDING = 1e-9  # of all parameters: what sums of them may be off by when compared with a budget


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
    """Remove round(sparsity * R * H) heads, lowest score first, ties by (row, head); returns bool (R, H), True = kept.

    min_heads_per_layer: heads that every row keeps at least. protect, remove: bool (R, H), heads that are never removed, and
    heads that go first, whatever their score. groups: whole numbers (R, H); heads of one row with the same number go or stay
    together, by their mean score. parameters: (R, H); the budget is then sparsity * parameters.sum(). even: every row loses
    round(sparsity * H) heads instead. Where a budget ends inside a unit, as many units go as fit before it.
    Raises HeadPruneError where scores are not finite or the constraints cannot be met together.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise HeadPruneError(f"scores have shape {scores.shape} and {bad} that are not finite; expected (R, H) numbers")
    rules = constrain(
        scores.shape,
        min_heads_per_layer=min_heads_per_layer,
        protect=protect,
        remove=remove,
        groups=groups,
        uniform=uniform,
        parameters=parameters,
    )
    return rules.mask(walk(scores, budget(sparsity, rules), rules).gone)


def nested_masks(scores, **constraints) -> tuple[np.ndarray, np.ndarray]:
    """Every mask that `prune_mask` makes of these scores (R, H) under its `constraints`: sparsities (M,), masks (M, R, H).

    From the fullest to the emptiest that the constraints allow; prune_mask at one of the sparsities gives the mask back.
    """
    scores = np.asarray(scores, float)
    prune_mask(scores, 0.0, **constraints)
    rules = constrain(scores.shape, **constraints)
    limits = [float(limit) for limit in range(scores.shape[1] + 1)]
    whole = limits[-1]
    if not rules.uniform:
        limits = rules.spent[0] + np.r_[0.0, np.cumsum(rules.weight[_walked(scores, rules)[0]])]
        whole = rules.weight.sum()
    sparsities, masks = [], []
    for limit in limits:
        found = _walk(scores, limit + ROUNDING * whole, rules)
        if _lane_that_falls_short(found, limit, rules) is not None:
            break
        mask = rules.mask(found.gone)
        if not masks or (mask != masks[-1]).any():
            sparsities.append(min(1.0, limit / whole))
            masks.append(mask)
    return np.array(sparsities), np.stack(masks)


def heads_to_remove(sparsity: float, heads: int) -> int:
    """How many of `heads` a sparsity from 0 to 1 removes: rounded, halves to the even number."""
    if not 0.0 <= sparsity <= 1.0:
        raise HeadPruneError(f"the sparsity is {sparsity}; expected a number from 0 (keep all) to 1 (remove all)")
    return round(sparsity * heads)


def budget(sparsity: float, rules: Constraints) -> float:
    """What a sparsity from 0 to 1 allows to remove: heads of all, of each row where rules are even, or parameters."""
    count = heads_to_remove(sparsity, rules.shape[1] if rules.uniform else rules.unit.size)
    return (sparsity + ROUNDING) * rules.weight.sum() if rules.by_parameters else count


@dataclass(frozen=True, eq=False)
class Walk:
    """What became of U units, each bool (U,). All else was protected, or came after the stop.

    gone: removed. skipped: their row would have been left with too few heads. stop: the first of each lane that would have
    exceeded its budget.
    """

    gone: np.ndarray
    skipped: np.ndarray
    stop: np.ndarray


def walk(scores: np.ndarray, limit: float, rules: Constraints) -> Walk:
    """Remove units of heads with these scores (R, H), lowest first, up to a limit; an error where too few may go."""
    found = _walk(scores, limit, rules)
    lane = _lane_that_falls_short(found, limit, rules)
    if lane is not None:
        raise HeadPruneError(_too_few(found, limit, rules, lane))
    return found


def _walk(scores: np.ndarray, limit: float, rules: Constraints) -> Walk:
    order, skipped = _walked(scores, rules)
    if rules.uniform:
        order = order[np.argsort(rules.lane[order], kind="stable")]
    lane = rules.lane[order]
    fits = rules.spent[lane] + _running(lane, rules.weight[order]) <= limit
    gone, stop = rules.removed.copy(), np.zeros(len(rules.row), bool)
    gone[order[fits]] = True
    beyond, lane = order[~fits], lane[~fits]
    stop[beyond[_starts(lane)]] = True
    return Walk(gone, skipped, stop)


def _walked(scores: np.ndarray, rules: Constraints) -> tuple[np.ndarray, np.ndarray]:
    """The units that may go, in order; bool (U,), which were skipped because their row would be left with too few heads."""
    order = rules.free[np.argsort(rules.scores(scores)[rules.free], kind="stable")]
    skipped = np.zeros(len(rules.row), bool)
    if rules.least:
        over = _over_quota(order, rules)
        skipped[order[over]] = True
        order = order[~over]
    return order, skipped


def _over_quota(order: np.ndarray, rules: Constraints) -> np.ndarray:
    """Which units, in order, would leave their row with too few heads, if all before them go that may."""
    rows, heads = rules.row[order], rules.heads[order]
    over = np.zeros(len(order), bool)
    if rules.uneven:  # a small unit may still go after a large one was skipped
        room = rules.room.tolist()
        for place, (row, size) in enumerate(zip(rows.tolist(), heads.tolist(), strict=True)):
            over[place] = size > room[row]
            room[row] -= 0 if over[place] else size
        return over
    by_row = np.argsort(rows, kind="stable")
    over[by_row] = _running(rows[by_row], heads[by_row]) > rules.room[rows[by_row]]
    return over


def _starts(lane: np.ndarray) -> np.ndarray:
    """Where runs of equal numbers begin."""
    begins = np.ones(len(lane), bool)
    begins[1:] = lane[1:] != lane[:-1]
    return np.flatnonzero(begins)


def _running(lane: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Running totals that begin anew with every run of equal lanes."""
    total = np.cumsum(values)
    starts = _starts(lane)
    if len(starts) < 2:
        return total
    return total - np.repeat((total - values)[starts], np.diff(starts, append=len(lane)))


def _lane_that_falls_short(found: Walk, limit: float, rules: Constraints) -> int | None:
    """The first lane that has room in its budget for a unit that a constraint keeps, if there is one."""
    ended = np.ones(len(rules.spent), bool)
    ended[rules.lane[found.stop]] = False
    if not ended.any():
        return None
    used = np.bincount(rules.lane[found.gone], weights=rules.weight[found.gone], minlength=len(ended))
    fitting = ~found.gone & ended[rules.lane] & (rules.weight <= (limit - used)[rules.lane])
    return int(rules.lane[fitting][0]) if fitting.any() else None


def _too_few(found: Walk, limit: float, rules: Constraints, lane: int) -> str:
    """A sentence on a budget that the constraints do not let be spent."""
    here = rules.lane == lane
    removed = rules.weight[found.gone & here].sum()
    reasons = []
    if (rules.protected & here).any():
        reasons.append(f"{rules.heads[rules.protected & here].sum()} protected")
    if rules.least:
        reasons.append(f"at least {rules.least} kept in every row")
    where = f" of row {lane}" if rules.uniform else ""
    what = "parameters" if rules.by_parameters else "heads"
    groups = " in whole groups" if len(rules.row) < rules.unit.size else ""
    most = rules.weight[here].sum()
    return (
        f"{limit:.0f} {what}{where} are to be removed but only {removed:.0f} of {most:.0f} may be{groups}, with "
        f"{' and '.join(reasons)}; lower the sparsity or loosen a constraint"
    )
