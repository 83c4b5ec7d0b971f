"""Gnorm, the product of Q, K and V gradient norms (Greedy-Gnorm, Eqs. 9-17):

    S_h = G_Q G_K G_V,   G_W = E_x || d f(x) / d W_h ||_2   over head h's block of the weight, biases left out.

The expectation is over examples, so each needs a norm of its own. No weight gradient is formed: with X (T, d_in) a
projection's input and D_h (T, d) the gradient at head h's part of its output, the block's gradient is D_h' X, and

    ||D_h' X||^2 = sum over t, u of (X X')_tu (D_h D_h')_tu                        (the Gram trick).

Where T is long the product D_h' X itself is cheaper and is formed instead. A weight that several layers share is one
long sequence: its layers' X and D are put end to end, and the gradient is their sum before the norm, as it should be.
"""

import torch
from torch import Tensor, nn

from ..anatomy import AttentionRow, HeadGrid


class ProjectionTape:
    """Keeps, for one forward pass, what went into and came out of the q, k and v projections."""

    def __init__(self, grid: HeadGrid):
        self._grid = grid
        self._inputs: dict[nn.Module, list[Tensor]] = {p: [] for row in grid.rows for p in (row.q, row.k, row.v)}
        self._outputs: dict[nn.Module, list[Tensor]] = {p: [] for p in self._inputs}

    def record(self, projection: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The probe's `on_projection`: the output, as something that a gradient can be taken by."""
        y = y if y.requires_grad else y.detach().requires_grad_()
        self._inputs[projection].append(x.detach())
        self._outputs[projection].append(y)
        return y

    def norms(self, objective: Tensor, *, retain_graph: bool = False) -> Tensor:
        """(N, 3, R, H) norms of the Q, K and V blocks, by one backward pass from the examples' objectives (N,)."""
        flat = [y for outputs in self._outputs.values() for y in outputs]
        gradients = iter(torch.autograd.grad(objective.sum(), flat, retain_graph=retain_graph))
        by_projection = {p: [next(gradients) for _ in outputs] for p, outputs in self._outputs.items()}
        return torch.stack([self._row_norms(row, by_projection) for row in self._grid.rows], dim=2)

    def _row_norms(self, row: AttentionRow, gradients: dict[nn.Module, list[Tensor]]) -> Tensor:
        """(N, 3, H) norms of one row; a query head takes those of the key and value blocks that it reads."""
        norms = []
        for projection, blocks in ((row.q, row.heads), (row.k, row.kv_heads), (row.v, row.kv_heads)):
            x = torch.cat(self._inputs[projection], dim=1)
            delta = torch.cat(gradients[projection], dim=1)
            per_block = block_gradient_norms(x, delta, blocks)
            norms.append(per_block.repeat_interleave(row.heads // blocks, dim=1))
        return torch.stack(norms, dim=1)


def block_gradient_norms(x: Tensor, delta: Tensor, blocks: int) -> Tensor:
    """(N, blocks) norms of the weight gradient's blocks, from inputs (N, T, d_in) and output gradients (N, T, d_out)."""
    n, tokens, d_in = x.shape
    x, delta = x.float(), delta.float().reshape(n, tokens, blocks, -1)
    d_out = delta.shape[2] * delta.shape[3]
    gram_cost, direct_cost = tokens * tokens * (d_in + d_out), tokens * d_in * d_out
    if gram_cost < direct_cost:
        # double precision: the sum cancels strongly, softmax gradients adding up to zero over the keys
        x, delta = x.double(), delta.double()
        gram = torch.einsum("nthd,nuhd->nhtu", delta, delta)
        squares = torch.einsum("ntu,nhtu->nh", x @ x.transpose(1, 2), gram)
    else:
        squares = torch.einsum("nti,nthd->nhdi", x, delta).square().sum((-1, -2)).double()
    return squares.clamp_min(0.0).sqrt()
