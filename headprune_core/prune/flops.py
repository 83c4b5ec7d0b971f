"""Floating-point operations of a forward pass, per token: of the whole model, and of its heads alone.

A linear layer takes two operations for each multiply-add that the trial run counted (`cost.py`), so a pruned model, whose
layers are narrower, is counted as it is. Attention itself takes 2 T D operations a token, head and product, of queries with
keys and of probabilities with values: 4 T (sum of heads times head sizes). A mask or a window saves nothing of that. Norms,
activations, convolutions and weights that are no linear layers (experts) are left out.
"""

import math
from dataclasses import replace

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import PARTS, Projection, width
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.model.standalone_sizes import unpruned_architecture


def flops_per_token(model: PrunableModel, sequence_length: int | None = None) -> float:
    """Operations of a forward pass on one example, divided by its tokens.

    sequence_length: tokens of the text; an encoder-decoder's target is as long. Images have as many tokens as they have:
    None, and any other number is left aside. Raises HeadPruneError where a text's length is missing.
    """
    tokens = tokens_of(model, sequence_length)
    linear = model.cost.of(1, 0 if model.reads_images else tokens, tokens if model.task == "translation" else 0)
    return 2.0 * linear.multiply_adds / tokens + 4.0 * tokens * model.cost.attention


def flops_before(model: PrunableModel, sequence_length: int | None = None) -> float:
    """`flops_per_token` of the model with all its heads, of which `model` is what surgery left: no weights are needed."""
    whole = dict(unpruned_architecture(model.model).named_modules())
    paths = {module: path for path, module in model.model.named_modules()}
    tokens, heads, width_before = tokens_of(model, sequence_length), 0, 0
    for number in model.grid.layers:
        row = model.grid.rows[number]
        parts = {p: Projection(whole[paths[getattr(row, p).module]], row.layout[p]) for p in PARTS}
        heads += _multiply_adds(replace(row, pruned_layout=None, **parts)) - _multiply_adds(row)
        width_before += row.layout["q"].size
    attention = 4.0 * tokens * (width_before - model.cost.attention)
    return flops_per_token(model, sequence_length) + 2.0 * heads + attention


def head_flops_per_token(model: PrunableModel, sequence_length: int | None = None) -> float:
    """The part of `flops_per_token` that heads do, and that would go with the last of them: projections and attention."""
    tokens, rows = tokens_of(model, sequence_length), model.grid.rows
    products = [_multiply_adds(rows[row]) for row in model.grid.layers]
    return 2.0 * math.fsum(products) + 4.0 * tokens * model.cost.attention


def tokens_of(model: PrunableModel, sequence_length: int | None) -> int:
    """How many tokens an example has: those asked for, or an image's."""
    if model.reads_images:
        return model.cost.image_tokens
    if sequence_length is None or sequence_length < 1:
        raise HeadPruneError(f"the sequence length is {sequence_length}; expected the number of tokens of a text, 1 or more")
    if model.max_tokens is not None and sequence_length > model.max_tokens:
        raise HeadPruneError(f"the sequence length is {sequence_length}; expected at most the model's {model.max_tokens}")
    return sequence_length


def _multiply_adds(row) -> int:
    """Of a row's four projections, for one token; none where no head is left, whose layers have no weights."""
    pairs = [(part, width(part.module)[0]) for part in (row.q, row.k, row.v) if part.features.size]
    pairs += [(part, width(part.module)[1]) for part in (row.out,) if part.features.size]
    return sum(part.features.size * other for part, other in pairs)
