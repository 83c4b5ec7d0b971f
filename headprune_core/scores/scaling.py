"""Three ways to look at the same scores: as they are, within each layer, or by rank over the whole model."""

import numpy as np

from headprune_core.errors import HeadPruneError

from .hies import min_max

SCALINGS = {"raw": "Raw", "layer": "Per layer", "rank": "Rank"}


def scaled(values: np.ndarray, scaling: str) -> np.ndarray:
    """(R, H) values as they are ("raw"), min-max per row ("layer"), or ranked 1 = lowest to R*H ("rank", ties by place)."""
    if scaling not in SCALINGS:
        raise HeadPruneError(f"scaling is {scaling!r}; expected one of {', '.join(SCALINGS)}")
    if scaling == "layer":
        return min_max(values, "layer")
    if scaling == "raw":
        return values
    rank = np.empty(values.size)
    rank[np.argsort(values, axis=None, kind="stable")] = np.arange(1, values.size + 1)
    return rank.reshape(values.shape)
