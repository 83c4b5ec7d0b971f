"""A short fine-tune of a model's own copy: AdamW, update by update, and nothing that the head grid forbids.

Decoupled weight decay (Loshchilov & Hutter 2019) on weights but not on norms and biases, gradients clipped to norm 1, a rate
that rises over the first tenth of the updates and falls to zero in a straight line. Dropout is off: what is trained is the
function that is used later, and a seed gives the same losses again. Heads that are present without effect, because kept
ones read their keys and values, have zeros in the output projection; their gradients there are dropped, so they stay zero.

What is learned from is a function of logits (N, C), or (N, T, V) where tokens are predicted, and a batch: (N,) values.
"""

import copy
import math
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div
from transformers.pytorch_utils import Conv1D

from headprune_core.data.batches import Batch, Encoded
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import masked_logits
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.objectives import objective_value, precise

WEIGHT_DECAY, CLIP, WARM_UP = 0.01, 1.0, 0.1
POOL = 16  # batches' worth of examples that are sorted by length together
Value = Callable[[Tensor, Batch], Tensor]


def copied(model: PrunableModel) -> PrunableModel:
    """The same model with weights of its own; those that are tied stay tied."""
    body = copy.deepcopy(model.model)
    grid = model.grid.moved(dict(zip(model.model.modules(), body.modules(), strict=True)))
    return PrunableModel.of_heads(body, grid, model.task, model.tokenizer, name=model.name)


def label_loss(logits: Tensor, batch: Batch) -> Tensor:
    """(N,) cross-entropy of the label, of the next tokens, or of the target."""
    return objective_value("loss", logits, batch)


def teacher_loss(teacher: PrunableModel, temperature: float) -> Value:
    """Value (N,): T^2 KL(teacher || model) of softmax at temperature T (Hinton et al. 2015), the mean over real tokens."""
    whole = np.ones(teacher.grid.shape, bool)

    def value(logits: Tensor, batch: Batch) -> Tensor:
        wanted = (masked_logits(teacher, batch, whole) / temperature).log_softmax(-1)
        said = (precise(logits) / temperature).log_softmax(-1)
        apart = temperature**2 * kl_div(said, wanted, reduction="none", log_target=True).sum(-1)
        if batch.targets is None:
            return apart
        real = batch.real if batch.decoder_real is None else batch.decoder_real
        return torch.where(real, apart, 0.0).sum(-1) / real.sum(-1)

    return value


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
    """Make `steps` updates of the weights of `model`, in place: nobody else may use it meanwhile.

    after(loss, examples) is called after each; what it raises ends the work, and the model is frozen as it is by then. dtype
    "bfloat16": matrix products in that precision, weights and updates as loaded. Raises HeadPruneError where the loss or
    its gradient is no finite number; the update is not made.
    """
    weights = list(model.model.parameters())
    silent = zeroed_columns(model.grid)
    optimizer = torch.optim.AdamW(_groups(model.model), lr=learning_rate, fused=model.device.type in ("cpu", "cuda"))
    model._autocast = dtype == "bfloat16"
    model.model.requires_grad_(True)
    try:
        for step, index in zip(range(steps), drawn(encoded.lengths, batch_size, seed), strict=False):
            batch = encoded.batch(index, model.device)
            with torch.enable_grad():
                loss = value(model.logits(batch.inputs), batch).mean()
                loss.backward()
            for weight, along, places in silent:
                weight.grad.index_fill_(along, places, 0.0)
            told, norm = loss.item(), nn.utils.clip_grad_norm_(weights, CLIP).item()
            if not (math.isfinite(told) and math.isfinite(norm)):
                raise HeadPruneError(_not_finite(model, step, told, norm, learning_rate))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * schedule(step, steps)
            optimizer.step()
            optimizer.zero_grad()
            after(told, len(batch))
    finally:
        model._autocast = False
        model.model.requires_grad_(False)
        for weight in weights:
            weight.grad = None


def schedule(step: int, steps: int) -> float:
    """The share of the rate that update `step` (from 0) of `steps` is made with: 1 where the warm-up ends, never 0."""
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / (steps - warm + 1))


def drawn(lengths: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Example numbers by batch, for ever: every example once in each epoch, in batches of similar lengths."""
    for epoch in count():
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(lengths))
        pools = [order[start : start + POOL * batch_size] for start in range(0, len(order), POOL * batch_size)]
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        for number in generator.permutation(len(batches)):
            yield batches[number]


def zeroed_columns(grid: HeadGrid) -> list[tuple[nn.Parameter, int, Tensor]]:
    """Weights of output projections, their axis of inputs, and the places there of heads that are present without effect."""
    found = []
    for row in grid.rows:
        places = row.out.features[~row.kept[row.present]].ravel()
        if len(places):
            weight = row.out.module.weight
            along = int(not isinstance(row.out.module, Conv1D))
            found.append((weight, along, torch.as_tensor(places, device=weight.device)))
    return found


def _not_finite(model: PrunableModel, step: int, loss: float, norm: float, learning_rate: float) -> str:
    what = f"the loss is {loss:g} and its gradient has length {norm:g}"
    if step == 0:  # no rate has had a part in it
        reason = model.describe_non_finite() or "the examples may hold extreme values"
        return f"{what} before any update ({reason}); expected finite numbers"
    return f"{what} after {step} updates; expected finite numbers: choose a rate below {learning_rate:g}"


def _groups(model: nn.Module) -> list[dict]:
    """Weights that decay, and norms and biases, which do not."""
    named = list(model.named_parameters())
    decays = [p for name, p in named if p.dim() > 1 and not name.endswith("bias")]
    stays = [p for name, p in named if p.dim() < 2 or name.endswith("bias")]
    groups = [{"params": decays, "weight_decay": WEIGHT_DECAY}, {"params": stays, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
