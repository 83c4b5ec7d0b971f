"""Estimated time and memory of a scoring run, before it starts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from headprune_core.data.encoding import encode
from headprune_core.model.forward_cost import (
    CostEstimate,
    computing_device,
    estimate,
    memory_for_batches,
    model_bytes,
    token_limit,
)
from headprune_core.model.head_layout import linear_layers
from headprune_core.model.packed_linear import MIN_FREE_MEMORY
from headprune_core.model.prunable_model import runs_models


@runs_models
def estimate_scoring(
    model,
    examples,
    *,
    metrics: Sequence[str] = ("his", "ae", "gnorm"),
    batch_size: int = 32,
    objective: str = "loss",
    gnorm_objective: str = "logit_norm",
    dtype: str | None = None,
) -> CostEstimate:
    """Estimate the time and memory of `score_heads` with these arguments, within a factor of two.

    Args:
        model: The PrunableModel to score, also without weights on the meta device: what it would take here.
        examples: The calibration examples.
        metrics: As in `score_heads`.
        batch_size: As in `score_heads`.
        objective: As in `score_heads`.
        gnorm_objective: As in `score_heads`.
        dtype: As in `score_heads`.

    Returns:
        The estimate, with FLOPs, seconds, peak memory and memory of the model in bytes.
    """
    encoded = encode(model, examples)
    lengths = np.array([len(row.get("input_ids", ())) for row in encoded.inputs])
    targets = np.array([len(row.get("target_ids", ())) for row in encoded.inputs])
    batches = [
        (len(b), int(lengths[b].max()), int(targets[b].max()))
        for b in encoded.packed(batch_size, token_limit(model, dtype), model.device)
    ]
    objectives = {"his": objective, "gnorm": gnorm_objective}
    cost = estimate(model, batches, len({objectives[metric] for metric in metrics if metric in objectives}), dtype)
    return replace(cost, peak_bytes=cost.peak_bytes + one_time_bytes(model, dtype))


def one_time_bytes(model, dtype: str | None, *, backward: bool = True) -> int:
    """Return the bytes that a first run allocates and keeps: packed weights, and linear weights in bfloat16.

    Args:
        model: The PrunableModel.
        dtype: Precision of matrix products.
        backward: Whether the run computes gradients.
    """
    weights = list({id(layer.weight): layer.weight for layer in linear_layers(model.model)}.values())
    twin = dtype == "bfloat16" and model.model.dtype == torch.float32
    size = 2 if twin else model.model.dtype.itemsize
    if twin and model.has_bfloat16:
        return 0
    if model.device.type == "meta":  # what packing would need if the weights were there
        room = memory_for_batches(model) or 0
        packs = computing_device(model).type == "cpu" and room >= (MIN_FREE_MEMORY - 1) * model_bytes(model)
        packed = packs * (1 + backward) * size * sum(weight.numel() for weight in weights)
    else:
        packed = model.packed.bytes_to_come(weights, size, backward=backward)
    return packed + (sum(2 * weight.numel() for weight in weights) if twin else 0)
