"""HIS, the gradient-based head importance score (Michel et al. 2019; arXiv 2510.13832).

    HIS_h = E_x | sum over tokens and dimensions of z_h . dL(x)/dz_h |,  z_h the output of head h.

The sum is the derivative of the loss with respect to a scale factor of the head. Examples of a batch are independent, so one
backward pass of the summed loss gives the product of every example, without signs cancelling across examples.
"""

import numpy as np
import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid

REDUCTIONS = ("example", "token", "batch")


@torch.no_grad()
def importance(grid: HeadGrid, outputs: dict, gradients: dict) -> dict[str, Tensor]:
    """Sum the products of head outputs and gradients over tokens and dimensions.

    Args:
        grid: The HeadGrid of the model.
        outputs: Head outputs (N, T, H, D) of each attention module, one per layer that uses it.
        gradients: Gradients of the loss at these outputs.

    Returns:
        "example": (N, R, H) signed sums. "token": (N, R, H) sums of the absolute values of tokens. See `reduced`.
    """
    signed, by_token = [], []
    for row in grid.rows:
        layers = zip(outputs[row.module], gradients[row.module], strict=True)
        products = sum(torch.einsum("nthd,nthd->nth", z.detach().float(), g.float()) for z, g in layers)
        signed.append(products.double().sum(1))
        by_token.append(products.double().abs().sum(1))
    return {"example": torch.stack(signed, dim=1), "token": torch.stack(by_token, dim=1)}


def reduced(signed: np.ndarray, by_token: np.ndarray, reduction: str, batch_size: int, lengths: np.ndarray) -> np.ndarray:
    """Reduce sums of `importance` to HIS per example.

    Args:
        signed: (N, R, H) signed sums.
        by_token: (N, R, H) sums of the absolute values of tokens.
        reduction: "example", the formula: absolute value per example. "token": absolute value per token, as in the code of
            Michel et al. "batch": absolute value of the batch mean, as in several public implementations; it depends on
            the batch size.
        batch_size: Examples per batch for the reduction "batch", longest examples first.
        lengths: (N,) lengths of the examples in tokens.

    Returns:
        (N, R, H) HIS; for the reduction "batch", examples of a batch have equal values.

    Raises:
        HeadPruneError: If the reduction is unknown.
    """
    if reduction not in REDUCTIONS:
        raise HeadPruneError(f"his_reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if reduction == "token":
        return by_token
    if reduction == "example":
        return np.abs(signed)
    values, order = np.empty_like(signed), np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        values[batch] = np.abs(signed[batch].mean(0))
    return values
