"""The training loop of recovery fine-tuning: AdamW with linear warm-up and decay, without dropout.

Weight decay is decoupled (Loshchilov & Hutter 2019) and applies to weights, not to norms and biases; gradients are clipped
to norm 1. Zeroed heads stay zero, because the gradients of their output projections are dropped. If a model computes only
batches of one length exactly, a batch is run in parts and their gradients are added. Options, evaluation and error handling
belong to `recovery`.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, logsigmoid
from transformers.pytorch_utils import Conv1D

from headprune_core.data.batches import Batch
from headprune_core.data.encoded import Encoded
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import masked_logits
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.objectives import objective_value, precise

WEIGHT_DECAY, CLIP, WARM_UP = 0.01, 1.0, 0.1
POOL = 16  # Number of batches whose examples are sorted by length together.
Value = Callable[[Tensor, Batch], Tensor]  # (logits (N, C) or (N, T, V), batch) -> (N,) training loss per example


def copied(model: PrunableModel) -> PrunableModel:
    """Return a copy of the model with its own weights and the same batching; tied weights stay tied."""
    body = copy.deepcopy(model.model)
    grid = model.grid.moved(dict(zip(model.model.modules(), body.modules(), strict=True)))
    twin = PrunableModel.of_heads(body, grid, model.task, model.tokenizer, name=model.name)
    twin.batching = model.batching
    return twin


def label_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the loss (N,) of the labels, the next tokens or the target; see `Task.losses`."""
    return objective_value("loss", logits, batch)


def teacher_loss(teacher: PrunableModel, temperature: float) -> Value:
    """Return the distillation loss: T^2 KL(teacher || model) of the softmax at temperature T.

    For a multi-label model it is the mean over labels of the KL divergence of their sigmoids; for regression the squared
    error, mean over outputs, without a temperature. Source: Hinton et al. 2015, arXiv 1503.02531.

    Args:
        teacher: unpruned model.
        temperature: softmax temperature T.

    Returns:
        A function of logits and batch that gives the loss per example (N,), averaged over non-padding tokens.
    """
    all_heads = np.ones(teacher.grid.shape, bool)

    def value(logits: Tensor, batch: Batch) -> Tensor:
        target, student = masked_logits(teacher, batch, all_heads), precise(logits)
        if batch.task.name == "regression":
            return batch.task.losses(student, target)
        target, student = (_log_probabilities(batch, logits / temperature) for logits in (target, student))
        divergence = temperature**2 * kl_div(student, target, reduction="none", log_target=True).sum(-1)
        if batch.task.name == "multi_label":
            return divergence.mean(-1)
        if not batch.task.by_token:
            return divergence
        real = batch.real if batch.decoder_real is None else batch.decoder_real
        return torch.where(real, divergence, 0.0).sum(-1) / real.sum(-1)

    return value


def _log_probabilities(batch: Batch, logits: Tensor) -> Tensor:
    """Return log-probabilities (..., C) of the classes; for a multi-label model (N, C, 2): label or not."""
    if batch.task.name == "multi_label":
        return torch.stack([logsigmoid(logits), logsigmoid(-logits)], dim=-1)
    return logits.log_softmax(-1)


def fine_tune(
    model: PrunableModel,
    encoded: Encoded,
    value: Value,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    dtype: str | None,
    after: Callable[[float, int], None],
) -> None:
    """Train the weights of `model` in place; nothing else may use the model meanwhile.

    Args:
        model: model to train.
        encoded: encoded training set.
        value: training loss (N,) from logits and batch.
        steps: number of optimizer steps.
        batch_size: examples per step.
        learning_rate: peak learning rate.
        seed: seed of the order of the examples.
        dtype: "bfloat16" for matrix products in that precision; weights and optimizer steps keep the loaded precision.
        after: called as after(loss, examples) after each step. An exception that it raises stops the training; the model
            keeps the steps made so far.

    Raises:
        HeadPruneError: if the loss or its gradient is not finite; that step is not applied.
    """
    weights = list(model.model.parameters())
    zeroed = zeroed_columns(model.grid)
    optimizer = torch.optim.AdamW(_groups(model.model), lr=learning_rate, fused=model.device.type in ("cpu", "cuda"))
    model._autocast = dtype == "bfloat16"
    model.model.requires_grad_(True)
    try:
        for step, index in zip(range(steps), drawn(encoded.lengths, batch_size, seed), strict=False):
            loss_value = add_gradients(model, encoded, index, value)
            for weight, axis, columns in zeroed:
                weight.grad.index_fill_(axis, columns, 0.0)
            norm = nn.utils.clip_grad_norm_(weights, CLIP).item()
            if not (math.isfinite(loss_value) and math.isfinite(norm)):
                raise HeadPruneError(_not_finite(model, step, loss_value, norm, learning_rate))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * schedule(step, steps)
            optimizer.step()
            optimizer.zero_grad()
            after(loss_value, len(index))
    finally:
        model._autocast = False
        model.model.requires_grad_(False)
        for weight in weights:
            weight.grad = None


def add_gradients(model: PrunableModel, encoded: Encoded, index: np.ndarray, value: Value) -> float:
    """Add the gradient of the mean loss of some examples to the weights' gradients.

    Args:
        model: model whose weights require gradients.
        encoded: encoded training set, whose `batching` says which examples may run together.
        index: numbers of the examples.
        value: training loss (N,) from logits and batch.

    Returns:
        The mean loss.
    """
    total = 0.0
    for part in _parts(encoded, index, model.device):
        batch = encoded.batch(part, model.device)
        with torch.enable_grad():
            loss = value(model.logits(batch.inputs), batch).sum() / len(index)
            loss.backward()
        total += loss.item()
    return total


def _parts(encoded: Encoded, index: np.ndarray, device: torch.device) -> list[np.ndarray]:
    """Split a batch into those that the model computes exactly: of one length, or of one example."""
    if encoded.batching == "padded":
        return [index]
    members = replace(encoded, inputs=[encoded.inputs[i] for i in index])
    return [index[part] for part in members.packed(len(index), None, device)]


def schedule(step: int, steps: int) -> float:
    """Return the learning rate of a step (counted from 0) as a fraction of the peak: 1 at the end of warm-up, never 0."""
    warm_up = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm_up, (steps - step) / (steps - warm_up + 1))


def drawn(lengths: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the example indices of each batch, without end.

    Each epoch contains every example once. Batches hold examples of similar lengths.

    Args:
        lengths: length of each example in tokens (N,).
        batch_size: examples per batch.
        seed: seed of the order.

    Yields:
        Indices of one batch, at most (batch_size,).
    """
    for epoch in count():
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(lengths))
        pools = [order[start : start + POOL * batch_size] for start in range(0, len(order), POOL * batch_size)]
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        for number in generator.permutation(len(batches)):
            yield batches[number]


def zeroed_columns(grid: HeadGrid) -> list[tuple[nn.Parameter, int, Tensor]]:
    """Return the weight, input axis and column indices of each output projection that has zeroed heads."""
    columns_to_zero = []
    for row in grid.rows:
        columns = row.out.features[~row.kept[row.present]].ravel()
        if len(columns):
            weight = row.out.module.weight
            axis = int(not isinstance(row.out.module, Conv1D))
            columns_to_zero.append((weight, axis, torch.as_tensor(columns, device=weight.device)))
    return columns_to_zero


def _not_finite(model: PrunableModel, step: int, loss: float, norm: float, learning_rate: float) -> str:
    what = f"the loss is {loss:g} and its gradient norm is {norm:g}"
    if step == 0:  # The learning rate cannot be the cause before the first step.
        reason = model.describe_non_finite() or "the examples may contain extreme values"
        return f"{what} before the first step ({reason}); both must be finite"
    return f"{what} after {step} steps; both must be finite: choose a learning rate below {learning_rate:g}"


def _groups(model: nn.Module) -> list[dict]:
    """Return the parameter groups: weights with decay, norms and biases without."""
    named = list(model.named_parameters())
    decayed = [p for name, p in named if p.dim() > 1 and not name.endswith("bias")]
    undecayed = [p for name, p in named if p.dim() < 2 or name.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": undecayed, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
