"""Objectives to differentiate: one number per example, computed from its logits."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headprune_core.data.batches import Batch
from headprune_core.errors import HeadPruneError

OBJECTIVES = ("loss", "prediction", "logit_norm")


def objective_value(name: str, logits: Tensor, batch: Batch) -> Tensor:
    """Compute an objective for each example.

    Args:
        name: "loss": cross-entropy of the label, or the mean over predicted tokens. "prediction": the same with the model's
            prediction as the target, which needs no labels. "logit_norm": ||F(x)||_2 of the logits; for a model that
            predicts tokens, over all real positions and the vocabulary (Greedy-Gnorm, Eq. 9).
        logits: (N, C), or (N, T, V) if tokens are predicted.
        batch: The batch that the logits belong to.

    Returns:
        (N,) objective values.

    Raises:
        HeadPruneError: If the objective is unknown or needs labels that the examples do not have.
    """
    if name not in OBJECTIVES:
        raise HeadPruneError(f"objective must be one of {', '.join(OBJECTIVES)}, got {name!r}")
    if name == "logit_norm":
        squares = precise(logits).square().sum(-1)
        if batch.targets is not None:
            real = batch.real if batch.decoder_real is None else batch.decoder_real
            squares = torch.where(real, squares, 0.0).sum(-1)
        return squares.sqrt()
    if batch.targets is None:
        if name == "loss" and batch.labels is None:
            raise HeadPruneError("the examples have no labels; add a label column, or use objective 'prediction'")
        return cross_entropy(precise(logits), batch.labels if name == "loss" else logits.argmax(-1), reduction="none")
    logits = predictions(logits, batch)
    per_token = token_losses(logits, batch, targets=None if name == "loss" else logits.argmax(-1))
    return per_token.sum(-1) / batch.predicted.sum(-1)


def predictions(logits: Tensor, batch: Batch) -> Tensor:
    """Return the logits (N, U, V) that predict batch.targets (N, U), from logits (N, T, V).

    The last position of a causal language model predicts nothing.
    """
    return logits[:, : batch.targets.shape[1]]


def token_losses(logits: Tensor, batch: Batch, targets: Tensor | None = None) -> Tensor:
    """Compute the cross-entropy of each target token.

    Args:
        logits: (N, U, V) logits of `predictions`.
        batch: The batch that the logits belong to.
        targets: (N, U) target tokens; None for batch.targets.

    Returns:
        (N, U) losses in nats, 0 for padding.
    """
    targets = batch.targets if targets is None else targets
    # Classes are contiguous in memory as the last axis, which is twice as fast as another axis.
    losses = cross_entropy(precise(logits).flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return torch.where(batch.predicted, losses, 0.0)


def precise(logits: Tensor) -> Tensor:
    """Return the logits in float32, or in float64 if they have that precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
