"""From scores to a mask: which heads stay. A mask is boolean (R, H), True = kept, in the original head numbers."""

import numpy as np

from .errors import HeadPruneError


def prune_mask(scores, sparsity: float, *, min_heads_per_layer: int = 0, protect=None) -> np.ndarray:
    """Remove round(sparsity * R * H) heads, lowest score first, ties by (row, head); returns bool (R, H).

    min_heads_per_layer: heads that every row keeps at least. protect: bool (R, H), heads that are never removed.
    Raises HeadPruneError where scores are not finite or the constraints leave too few heads to remove.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise HeadPruneError(f"scores have shape {scores.shape} and {bad} that are not finite; expected (R, H) numbers")
    heads = scores.shape[1]
    count = heads_to_remove(sparsity, scores.size)
    protect = np.zeros(scores.shape, bool) if protect is None else np.asarray(protect, bool)
    if protect.shape != scores.shape:
        raise HeadPruneError(f"protect has shape {protect.shape}; expected {scores.shape}, one value for each head")
    if not 0 <= min_heads_per_layer <= heads:
        raise HeadPruneError(f"min_heads_per_layer is {min_heads_per_layer}; expected 0 to {heads}")
    order = np.argsort(scores, axis=None, kind="stable")
    order = order[~protect.ravel()[order]]
    if min_heads_per_layer:
        order = order[_within_quota(order // heads, heads - min_heads_per_layer)]
    if count > len(order):
        raise HeadPruneError(
            f"{count} heads are to be removed but only {len(order)} of {scores.size} may be, with {int(protect.sum())} "
            f"protected and at least {min_heads_per_layer} kept in every row; lower the sparsity or loosen a constraint"
        )
    mask = np.ones(scores.size, bool)
    mask[order[:count]] = False
    return mask.reshape(scores.shape)


def heads_to_remove(sparsity: float, heads: int) -> int:
    """How many of `heads` a sparsity from 0 to 1 removes: rounded, halves to the even number."""
    if not 0.0 <= sparsity <= 1.0:
        raise HeadPruneError(f"the sparsity is {sparsity}; expected a number from 0 (keep all) to 1 (remove all)")
    return round(sparsity * heads)


def _within_quota(rows: np.ndarray, quota: int) -> np.ndarray:
    """Of heads in order of removal, those that are among the first `quota` of their row."""
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    within = np.empty(len(rows), bool)
    within[order] = place < quota
    return within
