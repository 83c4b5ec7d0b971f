"""HIES, the head importance-entropy score (arXiv 2510.13832).

    HIES_h = alpha * HIS~_h + (1 - alpha) * (1 - AE~_h),

where HIS~ and AE~ are min-max scaled to [0, 1] within each layer or over the model. Heads with the lowest HIES are pruned
first. The entropy term prunes high-entropy heads first; entropy_direction="high" reverses it (AE~ instead of 1 - AE~).
"""

import numpy as np

from headprune_core.errors import HeadPruneError


def hies(his, ae, alpha: float, *, normalize: str = "layer", entropy_direction: str = "low") -> np.ndarray:
    """Compute HIES, the combination of importance and entropy (arXiv 2510.13832).

    Args:
        his: (..., R, H) head importance scores.
        ae: (..., R, H) attention entropies.
        alpha: Weight of importance: 1 is importance only, 0 is entropy only.
        normalize: "layer" or "global": min-max scaling within each layer or over the model.
        entropy_direction: "low" to keep low-entropy heads, "high" to keep high-entropy heads.

    Returns:
        (..., R, H) scores from 0 to 1; the lowest are pruned first.

    Raises:
        HeadPruneError: If an argument is invalid or a score is not finite.
    """
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"alpha must be between 0 (entropy only) and 1 (importance only), got {alpha}")
    importance, focus = terms(his, ae, normalize=normalize, entropy_direction=entropy_direction)
    return alpha * importance + (1.0 - alpha) * focus


def terms(his, ae, *, normalize: str = "layer", entropy_direction: str = "low") -> tuple[np.ndarray, np.ndarray]:
    """Compute the two terms of HIES.

    Args:
        his: (..., R, H) head importance scores.
        ae: (..., R, H) attention entropies.
        normalize: As in `hies`.
        entropy_direction: As in `hies`.

    Returns:
        HIS~ and 1 - AE~ (or AE~), each (..., R, H): HIES at alpha = 1 and at alpha = 0.

    Raises:
        HeadPruneError: If an argument is invalid or a score is not finite.
    """
    his, ae = np.asarray(his, float), np.asarray(ae, float)
    if his.shape != ae.shape or his.ndim < 2:
        raise HeadPruneError(f"his and ae must have the same shape (..., R, H), got {his.shape} and {ae.shape}")
    if entropy_direction not in ("low", "high"):
        raise HeadPruneError(f"entropy_direction must be 'low' or 'high' (the heads to keep), got {entropy_direction!r}")
    entropy = min_max(ae, normalize)
    return min_max(his, normalize), entropy if entropy_direction == "high" else 1.0 - entropy


def min_max(values, normalize: str = "layer") -> np.ndarray:
    """Scale values to [0, 1].

    Args:
        values: (..., R, H) finite values.
        normalize: "layer" to scale each row, "global" to scale over all heads.

    Returns:
        (..., R, H) scaled values; 0 if all values are equal.

    Raises:
        HeadPruneError: If `normalize` is invalid or a value is not finite.
    """
    if normalize not in ("layer", "global"):
        raise HeadPruneError(f"normalize must be 'layer' or 'global', got {normalize!r}")
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        raise HeadPruneError(f"scores must be finite, got {int((~np.isfinite(values)).sum())} non-finite values")
    axis = -1 if normalize == "layer" else (-2, -1)
    low, high = values.min(axis, keepdims=True), values.max(axis, keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1.0)
