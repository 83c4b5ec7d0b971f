"""Objectives to differentiate: one number per example, computed from its logits."""

import torch
from torch import Tensor

from headprune_core.data.batches import Batch
from headprune_core.data.tasks import Task
from headprune_core.errors import HeadPruneError

OBJECTIVES = ("loss", "prediction", "logit_norm")


def objective_value(name: str, logits: Tensor, batch: Batch) -> Tensor:
    """Compute an objective for each example.

    Args:
        name: "loss": loss of the task (see `Task.losses`), or its mean over predicted tokens. "prediction": the same with
            the model's prediction as the target, which needs no labels. "logit_norm": ||F(x)||_2 of the logits; for a model
            with a prediction for each token, over all real positions and classes (Greedy-Gnorm, Eq. 9).
        logits: (N, C), or (N, T, V) if tokens are predicted.
        batch: The batch that the logits belong to.

    Returns:
        (N,) objective values.

    Raises:
        HeadPruneError: If the objective is unknown, needs labels that the examples do not have, or is "prediction" for
            regression, where it is always 0.
    """
    if name not in OBJECTIVES:
        raise HeadPruneError(f"objective must be one of {', '.join(OBJECTIVES)}, got {name!r}")
    if name == "logit_norm":
        squares = precise(logits).square().sum(-1)
        if batch.task.by_token:
            real = batch.real if batch.decoder_real is None else batch.decoder_real
            squares = torch.where(real, squares, 0.0).sum(-1)
        return squares.sqrt()
    task = batch.task
    if name == "prediction" and not task.has_decisions:
        raise HeadPruneError(
            "objective 'prediction' is always 0 for regression, because the error of the model's own output is 0; use "
            "'logit_norm', or 'loss' with labels"
        )
    if name == "loss" and batch.labels is None and batch.targets is None:
        other = objective_without_labels(task)
        raise HeadPruneError(f"the examples have no labels; add a label column, or use objective {other!r}")
    if not task.by_token:
        return task.losses(precise(logits), batch.labels if name == "loss" else task.decisions(logits))
    logits = predictions(logits, batch)
    per_token = token_losses(logits, batch, targets=None if name == "loss" else task.decisions(logits))
    return per_token.sum(-1) / batch.predicted.sum(-1)


def objective_without_labels(task: Task) -> str:
    """Return the objective that replaces the loss if there are no labels."""
    return "prediction" if task.has_decisions else "logit_norm"


def predictions(logits: Tensor, batch: Batch) -> Tensor:
    """Return the logits (N, U, V) of the predictions (N, U) that can count, from logits (N, T, V).

    The last position of a causal language model predicts nothing.
    """
    return logits[:, : batch.predicted.shape[1]]


def token_losses(logits: Tensor, batch: Batch, targets: Tensor | None = None) -> Tensor:
    """Compute the loss of each target token.

    Args:
        logits: (N, U, V) logits of `predictions`.
        batch: The batch that the logits belong to.
        targets: (N, U) target tokens; None for batch.targets.

    Returns:
        (N, U) losses in nats, 0 for padding.
    """
    targets = batch.targets if targets is None else targets
    return torch.where(batch.predicted, batch.task.losses(precise(logits), targets), 0.0)


def precise(logits: Tensor) -> Tensor:
    """Return the logits in float32, or in float64 if they have that precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
