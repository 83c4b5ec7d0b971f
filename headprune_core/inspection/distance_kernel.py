"""The distance kernel of a head: how much of its attention lies at which distance, in 64 bins.

Distances from 0 to 3 have bins of their own; larger ones are log-spaced up to 131,072. In a text, earlier and later keys
have separate bins. In an image, the distance is that of two patches, in patches, without direction.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

BINS = 64
_EDGES = torch.logspace(0, 17, 33, base=2).round().long().unique()  # 32 distances: 1, 2, 3, 4, 6, 9, ..., 131,072
_ZERO = 31  # the bin of distance 0


def distance_bin(offset: Tensor) -> Tensor:
    """Return the bin of each offset.

    Args:
        offset: Integers, how many tokens the key lies before the query.

    Returns:
        Bins from 0 to 63: bin 31 has offset 0, later bins have earlier keys, and earlier bins later keys.
    """
    size = torch.bucketize(offset.abs(), _EDGES.to(offset.device), right=True)  # 0 for 0, 1 for 1, ...
    return torch.where(offset >= 0, _ZERO + size, (_ZERO - size).clamp(min=0))


def bin_edges() -> list[int]:
    """Return the distance of each bin that is nearest to 0, negative for keys after the query."""
    edges = _EDGES.tolist()
    return [-edge for edge in reversed(edges[:_ZERO])] + [0] + edges


def text_kernel(attention: Tensor, start: int) -> Tensor:
    """Sum the attention of some query tokens by distance.

    Args:
        attention: (N, H, t, S), of the queries from `start` on.
        start: Position of the first query.

    Returns:
        (N, H, BINS).
    """
    *outer, size, keys = attention.shape
    width = keys + size
    rows = pad(pad(attention, (size, 0)).flatten(2), (0, size))  # zeros before each row, and after the last
    shifted = rows.as_strided((*outer, size, width), (*rows.stride()[:2], width + 1, 1))  # a column has one distance
    offset = start + size - torch.arange(width, device=attention.device)
    return shifted.sum(2) @ one_hot(distance_bin(offset), BINS).to(attention.dtype)


def image_kernel(attention: Tensor, start: int, positions: Tensor) -> Tensor:
    """Sum the attention of some query patches by distance; positions that are no patches are left out.

    Args:
        attention: (N, H, t, S), of the queries from `start` on.
        start: Number of the first query.
        positions: (S, 2), row and column of the patches, negative for positions that are no patches.

    Returns:
        (N, H, BINS).
    """
    queries = positions[start : start + attention.shape[2]]
    distance = (queries[:, None] - positions).double().square().sum(-1).sqrt().round().long()
    known = (queries[:, :1] >= 0) & (positions[:, 0] >= 0)
    bins = one_hot(distance_bin(distance), BINS) * known[..., None]
    return attention.flatten(2) @ bins.flatten(0, 1).to(attention.dtype)
