"""Gnorm, the product of Q, K and V gradient norms (Greedy-Gnorm, Eqs. 9-17):

    S_h = G_Q G_K G_V,   G_W = E_x || d f(x) / d W_h ||_2   over head h's block of the weight, biases left out.

The expectation is over examples, so each needs a norm of its own. No weight gradient is formed: with X (T, d_in) a
projection's input and D_h (T, d) the gradient at head h's part of its output, the block's gradient is D_h' X, and

    ||D_h' X||^2 = sum over t, u of (X X')_tu (D_h D_h')_tu                        (the Gram trick).

Where T is long the product D_h' X itself is cheaper and is formed instead. A weight that several layers share is one
long sequence: its layers' X and D are put end to end, and the gradient is their sum before the norm, as it should be.
"""

import numpy as np
import torch
from torch import Tensor, nn

from ..anatomy import AttentionRow, HeadGrid


def gradient_norms(grid: HeadGrid, inputs: dict, gradients: dict) -> Tensor:
    """(N, 3, R, H) norms of the Q, K and V blocks from the projections' inputs and output gradients, by layer."""
    return torch.stack([_row_norms(row, inputs, gradients) for row in grid.rows], dim=2)


def _row_norms(row: AttentionRow, inputs: dict[nn.Module, list[Tensor]], gradients: dict[nn.Module, list[Tensor]]) -> Tensor:
    """(N, 3, H) norms of one row; a query head takes those of the key and value blocks that it reads."""
    parts = (row.q, row.k, row.v)
    x = {part.module: torch.cat(inputs[part.module], dim=1) for part in parts}
    deltas = [_blocks(torch.cat(gradients[part.module], dim=1), part.features) for part in parts]
    same_input = all(a is b for p in parts[1:] for a, b in zip(inputs[row.q.module], inputs[p.module], strict=True))
    if same_input and len({delta.shape[-1] for delta in deltas}) == 1:
        # one X for the three: what is made of X alone is made once
        norms = block_gradient_norms(x[row.q.module], torch.cat(deltas, dim=2))
        norms = norms.split([part.heads for part in parts], dim=1)
    else:
        norms = [block_gradient_norms(x[part.module], delta) for part, delta in zip(parts, deltas, strict=True)]
    return torch.stack([n.repeat_interleave(row.heads // n.shape[1], dim=1) for n in norms], dim=1)


def _blocks(delta: Tensor, features: np.ndarray) -> Tensor:
    """(N, T, heads, size) of a gradient (N, T, outputs): each head's part."""
    if not np.array_equal(features.ravel(), np.arange(delta.shape[-1])):
        delta = delta[..., torch.as_tensor(features.ravel(), device=delta.device)]
    return delta.unflatten(-1, features.shape)


def block_gradient_norms(x: Tensor, delta: Tensor) -> Tensor:
    """(N, blocks) norms of a weight gradient's blocks, from inputs (N, T, d_in) and output gradients (N, T, blocks, d)."""
    tokens, d_in = x.shape[1:]
    blocks, size = delta.shape[2:]
    half = delta.dtype in (torch.bfloat16, torch.float16)
    x, delta = x.float(), delta.float()
    gram_cost, direct_cost = tokens * tokens * (d_in + blocks * size), tokens * d_in * blocks * size
    if gram_cost < direct_cost:
        # double precision: the sum cancels strongly, softmax gradients adding up to zero over the keys; half-precision
        # gradients are not that exact themselves
        x, delta = (x, delta) if half else (x.double(), delta.double())
        delta = delta.transpose(1, 2)
        squares = torch.einsum("ntu,nhtu->nh", x @ x.transpose(1, 2), delta @ delta.transpose(-1, -2))
    else:
        squares = torch.einsum("nti,nthd->nhdi", x, delta).square().sum((-1, -2)).double()
    return squares.clamp_min(0.0).sqrt()
