"""What is differentiated: one number per example, from its logits.

loss        cross-entropy of its label; where tokens are predicted the mean over them
prediction  the same with the model's own answer in place of the label: no labels needed
logit_norm  ||F(x)||_2, where tokens are predicted over all real positions and the vocabulary (Greedy-Gnorm, Eq. 9)
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headprune_core.data.batches import Batch
from headprune_core.errors import HeadPruneError

OBJECTIVES = ("loss", "prediction", "logit_norm")


def objective_value(name: str, logits: Tensor, batch: Batch) -> Tensor:
    """(N,) values of objective `name` for logits (N, C), or (N, T, V) where tokens are predicted."""
    if name not in OBJECTIVES:
        raise HeadPruneError(f"objective {name!r} is not known; expected one of {', '.join(OBJECTIVES)}")
    if name == "logit_norm":
        squares = precise(logits).square().sum(-1)
        if batch.targets is not None:
            real = batch.real if batch.decoder_real is None else batch.decoder_real
            squares = torch.where(real, squares, 0.0).sum(-1)
        return squares.sqrt()
    if batch.targets is None:
        if name == "loss" and batch.labels is None:
            raise HeadPruneError("the examples have no labels; give a label column, or use objective 'prediction'")
        return cross_entropy(precise(logits), batch.labels if name == "loss" else logits.argmax(-1), reduction="none")
    logits = predictions(logits, batch)
    per_token = token_losses(logits, batch, targets=None if name == "loss" else logits.argmax(-1))
    return per_token.sum(-1) / batch.predicted.sum(-1)


def predictions(logits: Tensor, batch: Batch) -> Tensor:
    """(N, U, V): of logits (N, T, V) those that predict batch.targets (N, U). A language model's last predicts nothing."""
    return logits[:, : batch.targets.shape[1]]


def token_losses(logits: Tensor, batch: Batch, targets: Tensor | None = None) -> Tensor:
    """Cross-entropy (N, U) of each target token under `predictions`, 0 where the target is padding."""
    targets = batch.targets if targets is None else targets
    # classes last, as they lie in memory: twice as fast as along another axis
    losses = cross_entropy(precise(logits).flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return torch.where(batch.predicted, losses, 0.0)


def precise(logits: Tensor) -> Tensor:
    """In float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
