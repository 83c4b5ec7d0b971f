"""Floating-point operations (FLOPs) of a forward pass per token, for the model and for its heads alone.

Linear layers count two FLOPs per multiply-add (`model.forward_cost`). Attention counts 4 T D FLOPs per token and head: 2 T D
each for queries with keys and for probabilities with values; masks and attention windows save nothing. Norms, activations,
convolutions and expert weights that are not linear layers are not counted.
"""

import math
from dataclasses import replace

from headprune_core.errors import HeadPruneError
from headprune_core.model.formats.standalone_sizes import unpruned_architecture
from headprune_core.model.head_layout import PARTS, Projection, width
from headprune_core.model.prunable_model import PrunableModel


def flops_per_token(model: PrunableModel, sequence_length: int | None = None) -> float:
    """Return the FLOPs of a forward pass on one example, divided by its number of tokens.

    Args:
        model: pruned or unpruned model.
        sequence_length: tokens per example; the target of an encoder-decoder has the same length. Ignored for images, whose
            number of tokens is fixed.

    Returns:
        FLOPs per token.
    """
    tokens = tokens_of(model, sequence_length)
    linear = model.cost.of(1, 0 if model.reads_images else tokens, tokens if model.task == "translation" else 0)
    return 2.0 * linear.multiply_adds / tokens + 4.0 * tokens * model.cost.attention


def flops_before(model: PrunableModel, sequence_length: int | None = None) -> float:
    """Return `flops_per_token` of the unpruned model of which `model` is the pruned form; no weights are needed."""
    unpruned = dict(unpruned_architecture(model.model).named_modules())
    paths = {module: path for path, module in model.model.named_modules()}
    tokens, heads, width_before = tokens_of(model, sequence_length), 0, 0
    for number in model.grid.layers:
        row = model.grid.rows[number]
        parts = {p: Projection(unpruned[paths[getattr(row, p).module]], row.layout[p]) for p in PARTS}
        heads += _multiply_adds(replace(row, pruned_layout=None, **parts)) - _multiply_adds(row)
        width_before += row.layout["q"].size
    attention = 4.0 * tokens * (width_before - model.cost.attention)
    return flops_per_token(model, sequence_length) + 2.0 * heads + attention


def head_flops_per_token(model: PrunableModel, sequence_length: int | None = None) -> float:
    """Return the part of `flops_per_token` that attention heads account for: their projections and attention itself."""
    tokens, rows = tokens_of(model, sequence_length), model.grid.rows
    products = [_multiply_adds(rows[row]) for row in model.grid.layers]
    return 2.0 * math.fsum(products) + 4.0 * tokens * model.cost.attention


def tokens_of(model: PrunableModel, sequence_length: int | None) -> int:
    """Return the number of tokens per example: `sequence_length` for texts, a fixed number for images.

    Args:
        model: model that reads the examples.
        sequence_length: tokens per text; ignored for images.

    Returns:
        Tokens per example.

    Raises:
        HeadPruneError: if the length of a text is missing, below 1 or above the model's maximum.
    """
    if model.reads_images:
        return model.cost.image_tokens
    if sequence_length is None or sequence_length < 1:
        raise HeadPruneError(f"sequence_length must be the number of tokens per example, 1 or more, got {sequence_length}")
    if model.max_tokens is not None and sequence_length > model.max_tokens:
        raise HeadPruneError(
            f"sequence_length must be at most {model.max_tokens}, the model's maximum, got {sequence_length}"
        )
    return sequence_length


def _multiply_adds(row) -> int:
    """Return the multiply-adds of a row's four projections for one token; 0 if the row has no heads."""
    pairs = [(part, width(part.module)[0]) for part in (row.q, row.k, row.v) if part.features.size]
    pairs += [(part, width(part.module)[1]) for part in (row.out,) if part.features.size]
    return sum(part.features.size * other for part, other in pairs)
