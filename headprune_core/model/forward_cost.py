"""What scoring will cost, before it is run: arithmetic, time and memory, from the anatomy of the model alone.

The trial run that finds the heads counts, for every linear layer, the multiply-adds and the outputs per token. Linear layers
are nearly all of a transformer's arithmetic, and what autograd keeps for the backward passes is in proportion to their
outputs. Time is arithmetic over the rate of a matrix product on this machine, measured once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import psutil
import torch

from .packed_linear import PackedWeights

ACTIVATION_FACTOR = 1.8  # values kept for a linear layer's each output: itself, its share of norms, activations, tape and gradients
LOGIT_FACTOR = 2.0  # times as much as that for the outputs that are logits of tokens: their softmax, its gradient, copies
ATTENTION_BACKWARD = 2.5  # of a forward call
EFFICIENCY = 0.7  # of the matrix-product rate, with all that is no product
SECONDS_PER_CALL = 1.5e-4  # seconds of a linear layer and what belongs to it, however little it has to do, forward or backward
SECONDS_PER_LOGIT = 2e-8  # seconds of a token's every logit: losses, norms and their gradients over the vocabulary
MEMORY_SHARE = 0.5  # of the free memory that a batch may take


@dataclass(frozen=True)
class Part:
    """Multiply-adds and output values of the linear layers, for one token or one example."""

    multiply_adds: float = 0.0
    values: float = 0.0

    def __add__(self, other: "Part") -> "Part":
        return Part(self.multiply_adds + other.multiply_adds, self.values + other.values)

    def __rmul__(self, factor: float) -> "Part":
        return Part(factor * self.multiply_adds, factor * self.values)


@dataclass(frozen=True)
class Cost:
    """What one forward pass does: per token of the text, per token of the target (if any), and once per example.

    calls: linear layers called. attention: the attention calls' heads times head sizes added up. logits: of one token, 0
    for classification. image_tokens: what attention sees of an image, 0 where texts are read.
    """

    token: Part
    target: Part
    example: Part
    calls: int
    attention: int
    logits: int
    image_tokens: int = 0

    def of(self, examples: int, tokens: int, targets: int = 0) -> Part:
        """The part of a batch."""
        return tokens * self.token + targets * self.target + examples * self.example


@dataclass(frozen=True)
class CostEstimate:
    """flops of a scoring run, seconds it takes, and bytes of memory that its largest batch needs beside the model."""

    flops: float
    seconds: float
    peak_bytes: float


def count_cost(linear_calls: Sequence, attention_calls: Sequence, tokens: int | None, targets: int | None) -> Cost:
    """The cost that a trial run with so many tokens and target tokens shows (None: no text, an image)."""
    parts = {tokens: Part(), targets: Part(), "example": Part()}
    for call in linear_calls:
        inputs, outputs = call.x.shape[-1], call.y.shape[-1]
        rows = call.x.numel() // inputs
        where, share = (rows, 1) if rows in (tokens, targets) else ("example", rows)
        last = call is linear_calls[-1] and where != "example"
        logits = outputs if last else 0
        parts[where] += share * Part(inputs * outputs, outputs + (LOGIT_FACTOR - 1) * logits)
    width = sum(call.query.shape[1] * call.query.shape[3] for call in attention_calls)
    image = max((call.query.shape[2] for call in attention_calls), default=0) if tokens is None else 0
    return Cost(parts[tokens], parts[targets], parts["example"], len(linear_calls), width, logits, image)


def estimate(model, batches: Sequence[tuple[int, int, int]], passes: int, dtype: str | None = None) -> CostEstimate:
    """The cost of scoring batches of (examples, longest text, longest target), with so many backward passes."""
    cost, flops, most = model.cost, 0.0, 0.0
    for examples, longest, target in batches:
        part = cost.of(examples, examples * longest, examples * target)
        attention = 4.0 * examples * max(longest, target) ** 2 * cost.attention
        flops += 2.0 * part.multiply_adds * (1 + passes) + attention * (2 + ATTENTION_BACKWARD * passes)
        most = max(most, batch_bytes(model, part, dtype))
    seconds = flops / (EFFICIENCY * product_rate(model, dtype)) + len(batches) * cost.calls * (1 + passes) * SECONDS_PER_CALL
    seconds += SECONDS_PER_LOGIT * cost.logits * sum(examples * (target or longest) for examples, longest, target in batches)
    return CostEstimate(flops, seconds, most)


def token_limit(model, dtype: str | None = None) -> int | None:
    """How many tokens a batch may have for what it keeps to fit into half of the free memory; None where that is unknown."""
    free = free_memory(model.device)
    per_token = max(batch_bytes(model, part, dtype) for part in (model.cost.token, model.cost.target))
    return None if free is None or per_token == 0 else max(1, int(MEMORY_SHARE * free / per_token))


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on `device`; None where it does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available if device.type in ("cpu", "mps") else None


def batch_bytes(model, part: Part, dtype: str | None) -> float:
    """Bytes that autograd keeps of a part of a forward pass."""
    size = model.model.dtype.itemsize
    return (2 if size == 2 else 3 if dtype == "bfloat16" else size) * ACTIVATION_FACTOR * part.values


def product_rate(model, dtype: str | None) -> float:
    """`matrix_product_rate` where `model` is, in the precision that it computes in."""
    return matrix_product_rate(str(model.device), "bfloat16" if dtype == "bfloat16" else str(model.model.dtype)[6:])


@cache
def matrix_product_rate(device: str, dtype: str) -> float:
    """Floating-point operations a second of a matrix product on this machine, measured once, in a few hundredths of it.

    Weights are packed for it as scoring packs them: on some processors that is twice as fast as a plain product.
    """
    size = 1024 if device == "cpu" else 4096
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    layer = torch.nn.Linear(size, size, bias=False, device=device).requires_grad_(False)
    packed = PackedWeights(layer)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        result = packed.product(a, layer.weight, None)
        float(result[0, 0])  # waits for it, wherever it is
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
