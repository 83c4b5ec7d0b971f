"""Estimated time and memory of a scoring run, before it starts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from headprune_core.data.encoding import encode
from headprune_core.model.forward_cost import CostEstimate, estimate, token_limit
from headprune_core.model.head_layout import linear_layers
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
        model: The PrunableModel to score.
        examples: The calibration examples.
        metrics: As in `score_heads`.
        batch_size: As in `score_heads`.
        objective: As in `score_heads`.
        gnorm_objective: As in `score_heads`.
        dtype: As in `score_heads`.

    Returns:
        The estimate, with FLOPs, seconds and peak memory in bytes.
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
    return replace(cost, peak_bytes=cost.peak_bytes + _one_time_bytes(model, dtype))


def _one_time_bytes(model, dtype: str | None) -> int:
    """Return the bytes that a first run allocates and keeps: packed weights, and linear weights in bfloat16."""
    weights = list({id(layer.weight): layer.weight for layer in linear_layers(model.model)}.values())
    if dtype != "bfloat16" or model.model.dtype != torch.float32:
        return model.packed.bytes_to_come(weights, model.model.dtype.itemsize)
    if model.has_bfloat16:
        return 0
    return sum(2 * weight.numel() for weight in weights) + model.packed.bytes_to_come(weights, 2)
