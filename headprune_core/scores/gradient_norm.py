"""Gnorm, the product of Q, K and V gradient norms (Greedy-Gnorm, Eqs. 9-17).

    S_h = G_Q G_K G_V,   G_W = E_x || d f(x) / d W_h ||_2   over the block of the weight of head h, without biases.

The expectation is over examples, so each example needs its own norm. No weight gradient is computed: with X (T, d_in) the
input of a projection and D_h (T, d) the gradient at the output of head h, the gradient of the block is D_h' X, and

    ||D_h' X||^2 = sum over t, u of (X X')_tu (D_h D_h')_tu                        (the Gram trick).

For large T, computing D_h' X is cheaper and done instead. For a weight that several layers share, their X and D are
concatenated along the sequence, so that gradients are summed over the layers before the norm is taken.
"""

import numpy as np
import torch
from torch import Tensor, nn

from headprune_core.model.head_layout import AttentionRow, HeadGrid


@torch.no_grad()
def gradient_norms(grid: HeadGrid, inputs: dict, gradients: dict) -> Tensor:
    """Compute the gradient norms of the Q, K and V blocks of every head.

    Args:
        grid: The HeadGrid of the model.
        inputs: Inputs (N, T, d_in) of each projection module, one per layer that uses it.
        gradients: Gradients (N, T, d_out) at the outputs of each projection module.

    Returns:
        (N, 3, R, H) norms, float64.
    """
    return torch.stack([_row_norms(row, inputs, gradients) for row in grid.rows], dim=2)


def _row_norms(row: AttentionRow, inputs: dict[nn.Module, list[Tensor]], gradients: dict[nn.Module, list[Tensor]]) -> Tensor:
    """Compute the norms (N, 3, H) of one row; a query head has those of the K and V blocks that it reads."""
    parts = (row.q, row.k, row.v)
    sequences: dict[tuple[int, ...], Tensor] = {}  # Q, K and V mostly share one input, so it is concatenated once
    norms, gram = [], {}
    for part in parts:
        layers = inputs[part.module]
        x = sequences.setdefault(tuple(map(id, layers)), _concatenate(layers))
        delta = _blocks(_concatenate(gradients[part.module]), part.features)
        norm = block_gradient_norms(x, delta, gram)
        norms.append(norm.repeat_interleave(row.heads // part.heads, dim=1))
    return torch.stack(norms, dim=1)


def _concatenate(layers: list[Tensor]) -> Tensor:
    """Concatenate the layers along tokens: (N, tokens of all layers, features)."""
    return layers[0] if len(layers) == 1 else torch.cat(layers, dim=1)


def _blocks(delta: Tensor, features: np.ndarray) -> Tensor:
    """Split a gradient (N, T, outputs) by heads: (N, T, heads, size)."""
    if not np.array_equal(features.ravel(), np.arange(delta.shape[-1])):
        delta = delta[..., torch.as_tensor(features.ravel(), device=delta.device)]
    return delta.unflatten(-1, features.shape)


def block_gradient_norms(x: Tensor, delta: Tensor, gram: dict[int, Tensor] | None = None) -> Tensor:
    """Compute the norm of each block of a weight gradient, per example.

    Args:
        x: (N, T, d_in) inputs of the projection.
        delta: (N, T, blocks, d) gradients at its outputs.
        gram: Cache of X X' by the id of x, for projections that share an input.

    Returns:
        (N, blocks) norms, float64.
    """
    tokens, d_in = x.shape[1:]
    blocks, size = delta.shape[2:]
    gram_cost, direct_cost = tokens * tokens * (d_in + blocks * size), tokens * d_in * blocks * size
    if gram_cost >= direct_cost:
        return torch.einsum("nti,nthd->nhdi", x.float(), delta.float()).square().sum((-1, -2)).double().sqrt()
    # Terms of the sum cancel strongly, because softmax gradients sum to zero over the keys, so it needs float64. Gradients
    # in half precision are not exact enough to benefit.
    exact = torch.float32 if delta.dtype in (torch.bfloat16, torch.float16) else torch.float64
    gram = {} if gram is None else gram
    if id(x) not in gram:
        gram[id(x)] = x.to(exact) @ x.to(exact).transpose(1, 2)
    delta = delta.to(exact)
    product = (gram[id(x)] @ delta.flatten(2)).view_as(delta)
    return (product.mul_(delta)).sum((1, 3)).double().clamp_min(0.0).sqrt()
