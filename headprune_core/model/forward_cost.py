"""Cost of a forward pass and estimates of FLOPs, time and memory, computed before a run from the model's structure.

The traced forward pass that locates the heads counts the multiply-adds and outputs of every linear layer. These layers
account for nearly all FLOPs of a transformer, and the memory that autograd needs is proportional to their outputs. Time
is FLOPs divided by the matrix-product rate of this machine, which is measured once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from headprune_core.memory import available_memory

from .loading import find_device
from .packed_linear import PackedWeights

# values in memory per output of a linear layer: the output, its part of norms, activations, captured tensors and gradients
ACTIVATION_FACTOR = 1.8
LOGIT_FACTOR = 2.0  # the same for token logits, relative to other outputs: softmax, its gradient and copies
ATTENTION_BACKWARD = 2.5  # FLOPs of attention in the backward pass, relative to the forward pass
EFFICIENCY = 0.7  # reached fraction of the matrix-product rate, including operations other than products
SECONDS_PER_CALL = 1.5e-4  # minimum time of a linear layer and the operations around it, forward or backward
SECONDS_PER_LOGIT = 2e-8  # losses, norms and their gradients over the vocabulary, per token and vocabulary entry
MEMORY_SHARE = 0.5  # fraction of the free memory that a batch may use


@dataclass(frozen=True)
class Part:
    """Work of the linear layers for one token, one example or one batch.

    Attributes:
        multiply_adds: number of multiply-adds.
        values: number of output values.
    """

    multiply_adds: float = 0.0
    values: float = 0.0

    def __add__(self, other: "Part") -> "Part":
        return Part(self.multiply_adds + other.multiply_adds, self.values + other.values)

    def __rmul__(self, factor: float) -> "Part":
        return Part(factor * self.multiply_adds, factor * self.values)


@dataclass(frozen=True)
class Cost:
    """Cost of a forward pass of one model.

    Attributes:
        token: work per token of the text.
        target: work per target token, zero if there are no targets.
        example: work per example, whatever its length.
        calls: number of calls of linear layers.
        attention: sum of heads x head size over the attention calls.
        logits: number of logits per token, 0 for classification.
        image_tokens: number of tokens of an image, 0 for text models.
    """

    token: Part
    target: Part
    example: Part
    calls: int
    attention: int
    logits: int
    image_tokens: int = 0

    def of(self, examples: int, tokens: int, targets: int = 0) -> Part:
        """Return the work for a batch.

        Args:
            examples: number of examples.
            tokens: number of text tokens, padding included.
            targets: number of target tokens, padding included.
        """
        return tokens * self.token + targets * self.target + examples * self.example


@dataclass(frozen=True)
class CostEstimate:
    """Estimated cost of a computation.

    Attributes:
        flops: floating-point operations.
        seconds: running time in seconds.
        peak_bytes: memory of the largest batch in bytes, without the model itself.
        model_bytes: memory of the model's parameters and buffers in bytes.
    """

    flops: float
    seconds: float
    peak_bytes: float
    model_bytes: float = 0.0


def count_cost(linear_calls: Sequence, attention_calls: Sequence, tokens: int | None, targets: int | None) -> Cost:
    """Derive the cost of a forward pass from a traced one.

    Args:
        linear_calls: calls of linear layers with input x and output y.
        attention_calls: the `AttentionCall`s.
        tokens: number of text tokens of the traced example, or None for an image.
        targets: number of target tokens of the traced example, or None for an image.
    """
    parts = {tokens: Part(), targets: Part(), "example": Part()}
    for call in linear_calls:
        inputs, outputs = call.x.shape[-1], call.y.shape[-1]
        rows = call.x.numel() // inputs
        unit, factor = (rows, 1) if rows in (tokens, targets) else ("example", rows)
        last = call is linear_calls[-1] and unit != "example"
        logits = outputs if last else 0
        parts[unit] += factor * Part(inputs * outputs, outputs + (LOGIT_FACTOR - 1) * logits)
    width = sum(call.query.shape[1] * call.query.shape[3] for call in attention_calls)
    image = max((call.query.shape[2] for call in attention_calls), default=0) if tokens is None else 0
    return Cost(parts[tokens], parts[targets], parts["example"], len(linear_calls), width, logits, image)


def estimate(model, batches: Sequence[tuple[int, int, int]], passes: int, dtype: str | None = None) -> CostEstimate:
    """Estimate the cost of scoring a list of batches.

    Args:
        model: the `PrunableModel`.
        batches: (examples, longest text, longest target) of each batch, lengths in tokens.
        passes: number of backward passes per batch.
        dtype: "bfloat16" for matrix products in that precision; None for the model's dtype.
    """
    cost, flops, peak_bytes = model.cost, 0.0, 0.0
    for examples, longest, target in batches:
        part = cost.of(examples, examples * longest, examples * target)
        attention = 4.0 * examples * max(longest, target) ** 2 * cost.attention
        flops += 2.0 * part.multiply_adds * (1 + passes) + attention * (2 + ATTENTION_BACKWARD * passes)
        peak_bytes = max(peak_bytes, batch_bytes(model, part, dtype))
    seconds = flops / (EFFICIENCY * product_rate(model, dtype)) + len(batches) * cost.calls * (1 + passes) * SECONDS_PER_CALL
    seconds += SECONDS_PER_LOGIT * cost.logits * sum(examples * (target or longest) for examples, longest, target in batches)
    return CostEstimate(flops, seconds, peak_bytes, model_bytes(model))


def token_limit(model, dtype: str | None = None) -> int | None:
    """Return the maximum number of tokens in a batch so that it fits into MEMORY_SHARE of the free memory.

    Args:
        model: the `PrunableModel`.
        dtype: "bfloat16" for matrix products in that precision; None for the model's dtype.

    Returns:
        Number of tokens, at least 1; None if the free memory is unknown or the model processes no tokens.
    """
    free = memory_for_batches(model)
    per_token = max(batch_bytes(model, part, dtype) for part in (model.cost.token, model.cost.target))
    return None if free is None or per_token == 0 else max(1, int(MEMORY_SHARE * free / per_token))


def memory_for_batches(model) -> int | None:
    """Return the free memory in bytes; if the weights are on the meta device, what they leave free on the device to use.

    Args:
        model: the `PrunableModel`.

    Returns:
        Number of bytes, at least 0; None if it is unknown.
    """
    free = free_memory(computing_device(model))
    return free if free is None or model.device.type != "meta" else max(0, free - model_bytes(model))


def model_bytes(model) -> int:
    """Return the memory of all parameters and buffers in bytes, also of those on the meta device.

    Args:
        model: the `PrunableModel`.
    """
    return sum(part.numel() * part.element_size() for part in (*model.model.parameters(), *model.model.buffers()))


def computing_device(model) -> torch.device:
    """Return the device of a model, or the default device if the model has no weights yet.

    Args:
        model: the `PrunableModel`.
    """
    return find_device("auto") if model.device.type == "meta" else model.device


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None if the device does not report it.

    Args:
        device: the device.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory() if device.type in ("cpu", "mps") else None


def batch_bytes(model, part: Part, dtype: str | None) -> float:
    """Estimate the memory that autograd needs for some work.

    Args:
        model: the `PrunableModel`.
        part: the work of a batch or token.
        dtype: "bfloat16" for matrix products in that precision; None for the model's dtype.

    Returns:
        Memory in bytes.
    """
    size = model.model.dtype.itemsize
    return (2 if size == 2 else 3 if dtype == "bfloat16" else size) * ACTIVATION_FACTOR * part.values


def product_rate(model, dtype: str | None) -> float:
    """Return the `matrix_product_rate` for a model's device and precision.

    Args:
        model: the `PrunableModel`.
        dtype: "bfloat16" for matrix products in that precision; None for the model's dtype.
    """
    return matrix_product_rate(
        str(computing_device(model)), "bfloat16" if dtype == "bfloat16" else str(model.model.dtype)[6:]
    )


@cache
def matrix_product_rate(device: str, dtype: str) -> float:
    """Measure the speed of matrix products on this machine; later calls return the same value.

    Weights are packed as for scoring, which is twice as fast as a plain product on some processors.

    Args:
        device: name of the device.
        dtype: name of the precision, for example "float32".

    Returns:
        Floating-point operations per second.
    """
    size = 1024 if device == "cpu" else 4096
    a = torch.arange(size * size, device=device).sin().view(size, size).to(getattr(torch, dtype))  # no random numbers
    layer = torch.nn.utils.skip_init(torch.nn.Linear, size, size, bias=False, device=device).requires_grad_(False)
    layer.weight.copy_(a)
    packed = PackedWeights(layer)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        result = packed.product(a, layer.weight, None)
        float(result[0, 0])  # waits until the device has finished
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
