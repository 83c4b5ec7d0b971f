"""Estimates of the FLOPs, time and memory of recovery fine-tuning, computed without running it."""

import datasets
import numpy as np

from headprune_core.data.encoding import encode
from headprune_core.model.forward_cost import (
    EFFICIENCY,
    SECONDS_PER_CALL,
    SECONDS_PER_LOGIT,
    CostEstimate,
    batch_bytes,
    product_rate,
)
from headprune_core.model.prunable_model import PrunableModel

# Cost of a step in forward passes: the forward pass, the gradients of inputs and of weights, and the teacher's forward pass.
PASSES = {"labels": 3, "teacher": 4}
UNPACKED = 1.4  # Slowdown relative to inference, which uses prepacked weights; trainable weights cannot be packed.
WEIGHT = 3e-9  # Seconds per weight and step: AdamW reads and writes the weight, its gradient and two moments.
STATES = 4  # Copies of the weights in memory: the trained copy, its gradients and two moments.


def estimate_recovery(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    steps: int,
    batch_size: int = 32,
    objective: str = "labels",
    dtype: str | None = None,
) -> CostEstimate:
    """Estimate the cost of `recover` with these arguments; time and memory are accurate within a factor of two.

    Evaluation before and after training is not included.

    Args:
        model: model to fine-tune.
        examples: training set, or examples of similar lengths: only the lengths are used.
        steps: number of optimizer steps.
        batch_size: examples per step.
        objective: "labels" or "teacher", as in `recover`.
        dtype: precision of matrix products; None uses the model's.

    Returns:
        FLOPs, seconds and bytes.
    """
    inputs, cost, passes = encode(model, examples).inputs, model.cost, PASSES[objective]
    texts, targets = (np.array([len(row.get(name, ())) for row in inputs]) for name in ("input_ids", "target_ids"))
    text, target = round(texts.mean()), round(targets.mean())  # batches are of similar lengths
    attention = 4.0 * batch_size * max(text, target, cost.image_tokens) ** 2 * cost.attention
    products = 2.0 * cost.of(batch_size, batch_size * text, batch_size * target).multiply_adds
    flops = passes * (products + attention)
    seconds = UNPACKED * flops / (EFFICIENCY * product_rate(model, dtype)) + passes * cost.calls * SECONDS_PER_CALL
    seconds += SECONDS_PER_LOGIT * cost.logits * batch_size * (target or text)
    weights = sum(p.numel() for p in model.model.parameters())
    largest = cost.of(batch_size, batch_size * int(texts.max()), batch_size * int(targets.max()))
    held = STATES * weights * model.model.dtype.itemsize + batch_bytes(model, largest, dtype)
    return CostEstimate(steps * flops, steps * (seconds + WEIGHT * weights), held)
