"""Estimated time and memory of evaluating masks, and the batch size that fits into memory.

The forward cache keeps outputs of every layer for the next mask. A language model also has logits over its vocabulary at
every position: those of the unpruned model stay in memory for comparison while those of a mask are computed.
"""

import time
from functools import cache

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from headprune_core.checked_mask import checked_mask
from headprune_core.data.encoding import encode
from headprune_core.data.tasks import task_of
from headprune_core.errors import HeadPruneError
from headprune_core.model.forward_cache import cache_friendly_order
from headprune_core.model.forward_cost import (
    EFFICIENCY,
    MEMORY_SHARE,
    SECONDS_PER_CALL,
    CostEstimate,
    computing_device,
    memory_for_batches,
    model_bytes,
    product_rate,
)
from headprune_core.model.head_layout import linear_layers, width
from headprune_core.model.prunable_model import runs_models

from .scoring_cost import one_time_bytes

LOGITS_AT_ONCE = 2**22  # logits of a language model that are reduced to losses and sums at once
REDUCTION_BYTES = 40  # per logit that is reduced: losses, and copies in double precision
WIDEST_COPIES = 3  # outputs of the widest layer that exist at once, for example the two of a gate and their product
MASK_BYTES = 5  # per pair of tokens of the attention mask, which is built as Booleans and as numbers


@runs_models
def estimate_evaluation(model, examples, masks, *, batch_size: int = 32, dtype: str | None = None) -> CostEstimate:
    """Estimate the time and memory of `evaluate_masks` with these arguments, within a factor of two.

    Args:
        model: The PrunableModel to evaluate, also without weights on the meta device.
        examples: The evaluation examples.
        masks: bool (M, R, H), True = kept; or the number of masks, which are then assumed to differ in the first layer.
        batch_size: As in `evaluate_masks`.
        dtype: As in `evaluate_masks`.

    Returns:
        The estimate, with FLOPs, seconds and memory in bytes. Results that a cache already has are not taken into account.

    Raises:
        HeadPruneError: If the masks have another shape, or if their number is below 1.
    """
    n_masks, passes = _passes(model, masks)
    encoded, cost = encode(model, examples), model.cost
    texts, targets = (np.array([len(row.get(name, ())) for row in encoded.inputs]) for name in ("input_ids", "target_ids"))
    limit = evaluation_token_limit(model, int(encoded.lengths.max()), dtype)
    per_logit = seconds_per_reduced_logit(str(computing_device(model))) if cost.logits else 0.0
    flops = seconds = largest = 0.0
    for batch in encoded.packed(batch_size, limit, model.device):
        n, text, target = len(batch), int(texts[batch].max()), int(targets[batch].max())
        positions = n * (target or text)
        head = 2.0 * positions * cost.logits * _hidden(model)  # the layer before the logits, which every mask computes
        body = 2.0 * cost.of(n, n * text, n * target).multiply_adds - head
        body += 4.0 * n * max(text, target, cost.image_tokens) ** 2 * cost.attention
        flops += passes * body + n_masks * head
        seconds += passes * cost.calls * SECONDS_PER_CALL + n_masks * positions * cost.logits * per_logit
        largest = max(largest, _batch_bytes(model, n, text, target, dtype))
    seconds += flops / (EFFICIENCY * product_rate(model, dtype))
    return CostEstimate(flops, seconds, largest + one_time_bytes(model, dtype, backward=False), model_bytes(model))


@cache
def seconds_per_reduced_logit(device: str) -> float:
    """Measure how long the losses, predictions and sums of logits take on this machine; later calls return the same value.

    Args:
        device: name of the device.

    Returns:
        Seconds for each logit of a mask.
    """
    rows, columns = LOGITS_AT_ONCE // 2**14, 2**14
    logits, reference = torch.arange(2 * rows * columns, device=device).sin().view(2, rows, columns)  # no random numbers
    targets, best = torch.arange(rows, device=device), float("inf")
    for _ in range(3):
        start = time.perf_counter()
        losses, same = cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == reference.argmax(-1)
        x, y = logits.double(), reference.double()
        sums = x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()
        float(losses.sum() + same.sum() + sum(sums))  # waits until the device has finished
        best = min(best, time.perf_counter() - start)
    return best / logits.numel()


def evaluation_token_limit(model, longest: int, dtype: str | None = None) -> int | None:
    """Return the maximum number of tokens in a batch of `evaluate_masks` so that it fits into the free memory.

    Args:
        model: The PrunableModel.
        longest: Number of tokens of the longest example, its target included.
        dtype: Precision of matrix products, as in `evaluate_masks`.

    Returns:
        Number of tokens, at least 1; None if the free memory is unknown.
    """
    free = memory_for_batches(model)
    if free is None:
        return None
    fixed = one_time_bytes(model, dtype, backward=False) + (_reduced_bytes(LOGITS_AT_ONCE) if task_of(model).by_token else 0)
    text, target = _bytes_per_token(model, dtype)
    per_token = max(text, target) if model.task == "translation" else text + target
    per_token = max(1, model.cost.image_tokens) * (per_token + MASK_BYTES * longest)
    return max(1, int((MEMORY_SHARE * free - fixed) / per_token))


def _batch_bytes(model, n: int, text: int, target: int, dtype: str | None) -> float:
    """Return the memory of a batch of n examples: cached outputs, logits, attention mask and reductions of logits."""
    text = text or model.cost.image_tokens
    target = target or text
    per_text, per_target = _bytes_per_token(model, dtype)
    attention_mask = n * max(text, target) ** 2 * MASK_BYTES
    reduced = _reduced_bytes(n * target * model.cost.logits) if task_of(model).by_token else 0
    return n * (text * per_text + target * per_target) + attention_mask + reduced


def _reduced_bytes(logits: int) -> int:
    return min(logits, LOGITS_AT_ONCE) * REDUCTION_BYTES


def _bytes_per_token(model, dtype: str | None) -> tuple[float, float]:
    """Return the memory that a token of the text and a token of the target take, the logits included."""
    size = model.model.dtype.itemsize
    mixed = dtype == "bfloat16" and size == 4
    values = {"text": 2.0 * _hidden(model) + _widest(model), "target": 0.0}
    for row in (model.grid.rows[number] for number in model.grid.layers):
        if not len(row.present):  # its layers have no weights
            continue
        queries = "target" if row.kind in ("decoder", "cross") else "text"
        keys = "target" if row.kind == "decoder" else "text"
        values[queries] += row.out.features.size + width(row.out.module)[1]
        for module in {p.module: None for p in (row.q, row.k, row.v)}:
            values[queries if module is row.q.module else keys] += width(module)[1]
    # Logits exist twice in float32, and once in another precision of the model.
    logits = model.cost.logits * (8 if size == 4 and not mixed else 10)
    per_value = 3 if mixed else size
    in_target = model.task == "translation"
    return per_value * values["text"] + logits * (not in_target), per_value * values["target"] + logits * in_target


def _widest(model) -> int:
    """Return the outputs of the widest layers inside a block that exist at once."""
    outputs = [width(layer)[1] for layer in linear_layers(model.model)]
    return WIDEST_COPIES * max((n for n in outputs if n != model.cost.logits), default=0)


def _hidden(model) -> int:
    return max((width(row.out.module)[1] for row in model.grid.rows if len(row.present)), default=0)


def _passes(model, masks) -> tuple[int, float]:
    """Return the number of masks, the unpruned model included, and of full forward passes that they take together."""
    if isinstance(masks, int | np.integer):
        if masks < 1:
            raise HeadPruneError(f"the number of masks must be at least 1, got {masks}")
        return 1 + int(masks), 1.0 + masks
    masks = checked_mask(masks, ("M", *model.grid.shape), name="the array of masks")
    masks = np.unique(np.concatenate([np.ones((1, *model.grid.shape), bool), masks]) & model.grid.kept, axis=0)
    calls = masks[cache_friendly_order(model.grid, masks)][:, list(model.grid.layers)]
    first = (calls[1:] != calls[:-1]).any(-1).argmax(-1)  # the first layer in which a mask differs from the one before
    return len(calls), 1.0 + float((1.0 - first / calls.shape[1]).sum())
