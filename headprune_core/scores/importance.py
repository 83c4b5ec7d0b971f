"""HIS, the gradient head importance (Michel et al. 2019; arXiv 2510.13832):

    HIS_h = E_x | sum over tokens and dimensions of z_h . dL(x)/dz_h |,  z_h the input of the output projection.

The sum is the slope of the loss as the head is turned down. Examples of a batch do not see each other, so one backward
pass of the summed loss gives every example's own product, with no cancelling of signs between examples.

reduction  "example": the formula. "token": absolute value per token (as in Michel's own code).
           "batch": absolute value of a batch's sum (as in several public codes); it depends on the batch size.
"""

import numpy as np
import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid

REDUCTIONS = ("example", "token", "batch")


@torch.no_grad()
def importance(grid: HeadGrid, outputs: dict, gradients: dict) -> dict[str, Tensor]:
    """(N, R, H) by reduction, from head outputs and gradients (N, T, H, D) of every layer of every row.

    "example" is signed here: its absolute value is HIS, its sum over a batch what the reduction "batch" is made of.
    """
    signed, by_token = [], []
    for row in grid.rows:
        layers = zip(outputs[row.module], gradients[row.module], strict=True)
        products = sum(torch.einsum("nthd,nthd->nth", z.detach().float(), g.float()) for z, g in layers)
        signed.append(products.double().sum(1))
        by_token.append(products.double().abs().sum(1))
    return {"example": torch.stack(signed, dim=1), "token": torch.stack(by_token, dim=1)}


def reduced(signed: np.ndarray, by_token: np.ndarray, reduction: str, batch_size: int, lengths: np.ndarray) -> np.ndarray:
    """(N, R, H) HIS by example. Batches are of batch_size examples, longest first; each of a batch has an equal share."""
    if reduction not in REDUCTIONS:
        raise HeadPruneError(f"his_reduction {reduction!r} is not known; expected one of {', '.join(REDUCTIONS)}")
    if reduction == "token":
        return by_token
    if reduction == "example":
        return np.abs(signed)
    values, order = np.empty_like(signed), np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        values[batch] = np.abs(signed[batch].mean(0))
    return values
