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

from headprune_core.model.head_layout import AttentionRow, HeadGrid


@torch.no_grad()
def gradient_norms(grid: HeadGrid, inputs: dict, gradients: dict) -> Tensor:
    """(N, 3, R, H) norms of the Q, K and V blocks from the projections' inputs and output gradients, by layer."""
    return torch.stack([_row_norms(row, inputs, gradients) for row in grid.rows], dim=2)


def _row_norms(row: AttentionRow, inputs: dict[nn.Module, list[Tensor]], gradients: dict[nn.Module, list[Tensor]]) -> Tensor:
    """(N, 3, H) norms of one row; a query head takes those of the key and value blocks that it reads."""
    parts = (row.q, row.k, row.v)
    whole: dict[tuple[int, ...], Tensor] = {}  # q, k and v mostly have one input: what is made of it is made once
    norms, gram = [], {}
    for part in parts:
        layers = inputs[part.module]
        x = whole.setdefault(tuple(map(id, layers)), _end_to_end(layers))
        delta = _blocks(_end_to_end(gradients[part.module]), part.features)
        norm = block_gradient_norms(x, delta, gram)
        norms.append(norm.repeat_interleave(row.heads // part.heads, dim=1))
    return torch.stack(norms, dim=1)


def _end_to_end(layers: list[Tensor]) -> Tensor:
    """(N, all layers' tokens, features)."""
    return layers[0] if len(layers) == 1 else torch.cat(layers, dim=1)


def _blocks(delta: Tensor, features: np.ndarray) -> Tensor:
    """(N, T, heads, size) of a gradient (N, T, outputs): each head's part."""
    if not np.array_equal(features.ravel(), np.arange(delta.shape[-1])):
        delta = delta[..., torch.as_tensor(features.ravel(), device=delta.device)]
    return delta.unflatten(-1, features.shape)


def block_gradient_norms(x: Tensor, delta: Tensor, gram: dict[int, Tensor] | None = None) -> Tensor:
    """(N, blocks) norms of a weight gradient's blocks, from inputs (N, T, d_in) and output gradients (N, T, blocks, d).

    gram keeps XX' for those who have the same x.
    """
    tokens, d_in = x.shape[1:]
    blocks, size = delta.shape[2:]
    gram_cost, direct_cost = tokens * tokens * (d_in + blocks * size), tokens * d_in * blocks * size
    if gram_cost >= direct_cost:
        return torch.einsum("nti,nthd->nhdi", x.float(), delta.float()).square().sum((-1, -2)).double().sqrt()
    # double precision: the sum cancels strongly, softmax gradients adding up to zero over the keys; gradients in half
    # precision are not that exact themselves
    exact = torch.float32 if delta.dtype in (torch.bfloat16, torch.float16) else torch.float64
    gram = {} if gram is None else gram
    if id(x) not in gram:
        gram[id(x)] = x.to(exact) @ x.to(exact).transpose(1, 2)
    delta = delta.to(exact)
    seen = (gram[id(x)] @ delta.flatten(2)).view_as(delta)
    return (seen.mul_(delta)).sum((1, 3)).double().clamp_min(0.0).sqrt()
