"""HIES, the weighted union of importance and entropy (arXiv 2510.13832):

    HIES_h = alpha * HIS~_h + (1 - alpha) * (1 - AE~_h),

each of the two min-max scaled to [0, 1] within its layer, or over the whole model. Lowest goes first. The entropy term says
that heads of high entropy go first; entropy_direction="high" reverses it (AE~ in place of 1 - AE~).
"""

import numpy as np

from headprune_core.errors import HeadPruneError


def hies(his, ae, alpha: float, *, normalize: str = "layer", entropy_direction: str = "low") -> np.ndarray:
    """HIES from HIS and AE, both (..., R, H); alpha = 1 is HIS alone, alpha = 0 entropy alone."""
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"alpha is {alpha}; expected a number from 0 (entropy alone) to 1 (importance alone)")
    importance, focus = terms(his, ae, normalize=normalize, entropy_direction=entropy_direction)
    return alpha * importance + (1.0 - alpha) * focus


def terms(his, ae, *, normalize: str = "layer", entropy_direction: str = "low") -> tuple[np.ndarray, np.ndarray]:
    """The two ends of the line that a head's HIES runs along as alpha goes from 1 to 0: HIS~ and 1 - AE~ (or AE~)."""
    his, ae = np.asarray(his, float), np.asarray(ae, float)
    if his.shape != ae.shape or his.ndim < 2:
        raise HeadPruneError(f"HIS has shape {his.shape} and AE {ae.shape}; expected the same (..., rows, heads)")
    if entropy_direction not in ("low", "high"):
        raise HeadPruneError(f"entropy_direction is {entropy_direction!r}; expected 'low' or 'high' (which heads to keep)")
    entropy = min_max(ae, normalize)
    return min_max(his, normalize), entropy if entropy_direction == "high" else 1.0 - entropy


def min_max(values, normalize: str = "layer") -> np.ndarray:
    """Values (..., R, H) scaled to [0, 1] per row ("layer") or over all heads ("global"); where all are equal, 0."""
    if normalize not in ("layer", "global"):
        raise HeadPruneError(f"normalize is {normalize!r}; expected 'layer' or 'global'")
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        raise HeadPruneError(f"{int((~np.isfinite(values)).sum())} scores are not finite; expected numbers for every head")
    axis = -1 if normalize == "layer" else (-2, -1)
    low, high = values.min(axis, keepdims=True), values.max(axis, keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1.0)
