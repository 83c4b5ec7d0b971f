"""What is differentiated: one number per example, from its logits.

loss        cross-entropy of its label; for a language model the mean over its predicted tokens
prediction  the same with the model's own answer in place of the label: no labels needed
logit_norm  ||F(x)||_2, for a language model over all real positions and the vocabulary (arXiv Greedy-Gnorm, Eq. 9)
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..batches import Batch
from ..errors import HeadPruneError

OBJECTIVES = ("loss", "prediction", "logit_norm")


def objective_value(name: str, task: str, logits: Tensor, batch: Batch) -> Tensor:
    """(N,) values of objective `name` for logits (N, C), or (N, T, V) of a language model."""
    if name not in OBJECTIVES:
        raise HeadPruneError(f"objective {name!r} is not known; expected one of {', '.join(OBJECTIVES)}")
    if name == "logit_norm":
        squares = logits.float().square().sum(-1)
        return (squares if task == "classification" else (squares * batch.real).sum(-1)).sqrt()
    if task == "classification":
        if name == "loss" and batch.labels is None:
            raise HeadPruneError("the examples have no labels; give a label column, or use objective 'prediction'")
        return cross_entropy(logits.float(), batch.labels if name == "loss" else logits.argmax(-1), reduction="none")
    per_token, predicted = token_losses(logits, batch, targets=None if name == "loss" else logits[:, :-1].argmax(-1))
    return per_token.sum(-1) / predicted.sum(-1)


def token_losses(logits: Tensor, batch: Batch, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Next-token cross-entropy (N, T-1), 0 where the target is padding, and which tokens were predicted (N, T-1)."""
    targets = batch.inputs["input_ids"][:, 1:] if targets is None else targets
    predicted = batch.real[:, 1:]
    losses = cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none")
    return torch.where(predicted, losses, 0.0), predicted
