"""Checks of computed scores: an error for scores that are not finite, a warning for gradients that underflow in float16."""

import warnings

import numpy as np
import torch

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.prunable_model import PrunableModel

OVERFLOW_HINT = "the weights are finite, so activations or gradients overflowed; load the model with dtype='float32'"


def check_finite(metric: str, values: np.ndarray, model: PrunableModel) -> None:
    """Check that all scores of a metric are finite.

    Args:
        metric: Name of the metric.
        values: (..., R, H) per-example values.
        model: The model, whose weights are searched for the cause.

    Raises:
        HeadPruneError: If a value is not finite.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        row, head = (int(i) for i in np.argwhere(bad)[0][-2:])
        raise HeadPruneError(
            f"{metric} is not finite for {int(bad.any(0).sum())} entries, the first at row {row} "
            f"({model.grid.row_names[row]}), head {head}; {model.describe_non_finite() or OVERFLOW_HINT}"
        )


def warn_of_underflow(per_example: dict[str, np.ndarray], model: PrunableModel) -> None:
    """Warn of scores that are exactly 0 in float16, where gradients below 6e-8 underflow to 0."""
    if model.model.dtype != torch.float16:
        return
    for metric in ("his", "gnorm"):
        zero = (per_example[metric] == 0).all(0) if metric in per_example else np.zeros(1, bool)
        if zero.any():
            row, head = (int(i) for i in np.argwhere(zero)[0][-2:])
            warnings.warn(
                f"{metric.upper()} is exactly 0 for {int(zero.sum())} entries, the first at row {row} "
                f"({model.grid.row_names[row]}), head {head}: gradients may have underflowed in float16; load the model "
                "with dtype='float32' or 'bfloat16'",
                HeadPruneWarning,
                stacklevel=3,
            )
