"""Scalings of scores for display: raw, min-max per layer, or rank over the model."""

import numpy as np

from headprune_core.errors import HeadPruneError

from .hies import min_max

SCALINGS = {"raw": "Raw", "layer": "Min–max per layer", "rank": "Rank"}


def scaled(values: np.ndarray, scaling: str) -> np.ndarray:
    """Scale scores for display.

    Args:
        values: (R, H) scores.
        scaling: "raw"; "layer" for min-max scaling per row; "rank" from 1 (lowest) to R*H, ties broken by (row, head).

    Returns:
        (R, H) scaled scores.

    Raises:
        HeadPruneError: If `scaling` is unknown.
    """
    if scaling not in SCALINGS:
        raise HeadPruneError(f"scaling must be one of {', '.join(SCALINGS)}, got {scaling!r}")
    if scaling == "layer":
        return min_max(values, "layer")
    if scaling == "raw":
        return values
    rank = np.empty(values.size)
    rank[np.argsort(values, axis=None, kind="stable")] = np.arange(1, values.size + 1)
    return rank.reshape(values.shape)
