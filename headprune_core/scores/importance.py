"""HIS, the gradient head importance (Michel et al. 2019; arXiv 2510.13832):

    HIS_h = E_x | sum over tokens and dimensions of z_h . dL(x)/dz_h |,  z_h the input of the output projection.

A gate g of ones multiplied onto z_h has exactly this sum as its gradient, so one gate per example and head gives the
scores of a whole batch in one backward pass, with no cancelling of signs between examples.

reduction  "example": the formula. "token": absolute value per token (one gate per token, as in Michel's own code).
           "batch": absolute value of the batch's sum (as in several public codes); it depends on the batch size.
"""

import torch
from torch import Tensor, nn

from ..anatomy import HeadGrid
from ..batches import Batch
from ..errors import HeadPruneError

REDUCTIONS = ("example", "token", "batch")


def unit_gates(grid: HeadGrid, batch: Batch, reduction: str, like: Tensor) -> tuple[Tensor, dict[nn.Module, Tensor]]:
    """Ones to differentiate by, (R, N, T or 1, H), and a view of them for each attention module."""
    if reduction not in REDUCTIONS:
        raise HeadPruneError(f"his_reduction {reduction!r} is not known; expected one of {', '.join(REDUCTIONS)}")
    rows, heads = grid.shape
    examples, tokens = batch.real.shape
    shape = (rows, examples, tokens if reduction == "token" else 1, heads)
    gates = torch.ones(shape, device=like.device, dtype=like.dtype, requires_grad=True)
    return gates, {row.module: gates[i, ..., None] for i, row in enumerate(grid.rows)}


def importance(gradient: Tensor, reduction: str) -> Tensor:
    """(N, R, H) importance from the gates' gradient (R, N, T or 1, H)."""
    gradient = gradient.double()
    if reduction == "batch":
        # every example carries an equal share of its batch
        gradient = gradient.mean(1, keepdim=True).expand_as(gradient)
    return gradient.abs().sum(2).transpose(0, 1)
