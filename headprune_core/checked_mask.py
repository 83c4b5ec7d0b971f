"""Check of pruning masks, for every function that takes one: what is not a mask is refused, never converted.

A mask is Boolean, or holds exact zeros and ones of any numeric type. Soft gates and scores would become "keep every head" by
conversion, and lists of head numbers would be read as something else.
"""

from collections.abc import Sequence

import numpy as np
import torch

from headprune_core.errors import HeadPruneError

ADVICE = "make a mask, True = kept, with prune_mask(scores, sparsity)"
ADVICE_ON_HEADS = "set the chosen heads of np.zeros((R, H), bool) to True"


def checked_mask(
    mask, shape: Sequence[int | str] | None = None, *, name: str = "the mask", advice: str = ADVICE
) -> np.ndarray:
    """Check a pruning mask, or several, and return it as a Boolean array.

    Args:
        mask: array, tensor or nested list of Booleans, or of zeros and ones.
        shape: expected shape, in which a letter stands for any size, for example ("M", 3, 4); None for any (R, H).
        name: name of the argument, for the error message.
        advice: how to make such an array, for the error message.

    Returns:
        The mask, bool, of the same shape.

    Raises:
        HeadPruneError: if it is anything else.
    """
    expected = ("R", "H") if shape is None else tuple(shape)
    try:
        values = np.asarray(_plain(mask))
        found = None if values.dtype.kind in "biuf" else f"{type(mask).__name__} of type {values.dtype}"
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths, tensors that require gradients, ...
        grad = " with gradients" if getattr(mask, "requires_grad", False) else ""
        found = f"{type(mask).__name__}{grad} that is no array of Booleans"
    if found is None:
        sizes = zip(values.shape, expected, strict=False)
        fits = len(values.shape) == len(expected) and all(isinstance(size, str) or n == size for n, size in sizes)
        if fits and (shape is not None or values.size) and np.isin(values, (0, 1)).all():
            return values.astype(bool)
        found = f"{values.dtype} with shape {values.shape}{_range(values)}"
    wanted = ", ".join(map(str, expected))
    raise HeadPruneError(f"{name} must be Boolean with shape ({wanted}), got {found}; {advice}")


def _plain(value):
    """Return tensors as arrays, also inside lists."""
    if isinstance(value, torch.Tensor):
        return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _range(values: np.ndarray) -> str:
    """Describe values that are not 0 or 1."""
    if np.isin(values, (0, 1)).all():
        return ""
    if not np.isfinite(values).all():
        return " and values that are not finite"
    return f" and values from {values.min():.3g} to {values.max():.3g}"
