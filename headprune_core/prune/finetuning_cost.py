"""What a recovery will take, before it is run: the arithmetic of its updates, their pass over all weights, and memory."""

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

PASSES = {"labels": 3, "teacher": 4}  # as long as the forward one, which is the first: by inputs, by weights; the teacher's
UNPACKED = 1.4  # times as long as with packed weights, which cannot change
WEIGHT = 3e-9  # seconds of a weight's update: it, its gradient and their two averages are read and written
STATES = 4  # times the weights in memory: the copy, its gradients, two averages


def estimate_recovery(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    steps: int,
    batch_size: int = 32,
    objective: str = "labels",
    dtype: str | None = None,
) -> CostEstimate:
    """What training by `recover` with these arguments will take; seconds and bytes are good within a factor of two.

    examples: those to be learned from, or some of their kind: only their lengths count. Measuring before and after comes
    on top.
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
