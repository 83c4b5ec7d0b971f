"""Attention of a few heads on one text, with value-weighted attention, for drawing.

Shapes: K entries (heads, or means over the heads of a row), T query tokens, S key tokens.

Source of value-weighted attention: Kobayashi et al. 2020 (arXiv 2004.10102).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headprune_core.data.batches import Batch
from headprune_core.data.encoded import Encoded
from headprune_core.data.encoding import encode
from headprune_core.data.examples import make_dataset
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.model.head_layout import AttentionRow
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models

from .attention_document import attention_document
from .attention_traits import transformed_norms
from .text_tokens import TextTokens
from .token_patterns import Streams

MEAN = "mean"
MOST_VALUES = 2**28  # attention values in one result
Head = tuple[int, int | str]


@dataclass(frozen=True, eq=False)
class TextAttention:
    """Attention of K heads, or means over the heads of a row, on one text.

    Attributes:
        model: Display name of the model.
        queries: The T query tokens.
        keys: The S key tokens; for cross-attention those of the encoder.
        kind: Kind of the attention: "self", "encoder", "decoder" or "cross".
        heads: (row, head, layer) of each entry; the head is "mean" for the mean over a row's heads. A row that several
            layers share has one entry per layer.
        labels: Label of each entry, such as "Layer 3, head 5".
        attention: float32 (K, T, S), attention probabilities. A query's values sum to 1 (to less in a model with attention
            sinks that are no tokens).
        weighted: float32 (K, T, S), value-weighted attention: each probability times the norm of the transformed value of
            its key. These values are not normalized; `document` divides them by the sum of each query.
        full_length: Number of tokens before truncation.
        read_length: Number of tokens that the model reads, at most its maximum length.
    """

    model: str
    queries: TextTokens
    keys: TextTokens
    kind: str
    heads: tuple[tuple[int, int | str, int], ...]
    labels: tuple[str, ...]
    attention: np.ndarray
    weighted: np.ndarray
    full_length: int
    read_length: int

    @property
    def truncated(self) -> bool:
        """Whether the text was truncated to the maximum length of the model."""
        return self.read_length < self.full_length

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the text: whether it was truncated, and whether it has special tokens only."""
        notes = []
        if self.truncated:
            notes.append(f"The text has {self.full_length:,} tokens and was truncated to the first {self.read_length:,}.")
        if all(self.keys.special):
            notes.append("The text consists of special tokens only.")
        return tuple(notes)

    def document(self) -> dict:
        """Return the data of the attention view as a JSON-able dictionary; see `attention_document`."""
        return attention_document(self)


@runs_models
def text_attention(
    model: PrunableModel,
    text: str | None,
    *,
    pair: str | None = None,
    heads: Iterable[Head],
    token_ids: Sequence[int] | tuple[Sequence[int], Sequence[int]] | None = None,
) -> TextAttention:
    """Compute the attention of some heads on one text, in one forward pass.

    Args:
        model: The model; a pruned model has the attention of its kept heads.
        text: The text; None if token_ids are passed.
        pair: The second text of a pair, or the target of a sequence-to-sequence model.
        heads: The heads as (row, head), all of rows of one kind; (row, "mean") is the mean over a row's heads.
        token_ids: Tokens in place of the text, for a model without a tokenizer; for a sequence-to-sequence model a tuple of
            the tokens of the text and of the target.

    Returns:
        Tokens and attention. A text beyond the maximum length of the model is truncated with a HeadPruneWarning.

    Raises:
        HeadPruneError: If the text is empty, the model has no such head, the head is pruned, or attention is not finite.

    Example:
        >>> found = text_attention(model, "The flight was late.", heads=[(3, 5), (4, "mean")])
        >>> found.attention.shape
        (2, 7, 7)
    """
    names = _checked_heads(model, heads)
    encoded = _encoded(model, _columns(model, text, pair, token_ids))
    batch = encoded.batch(np.arange(1), model.device)
    kind = model.grid.rows[names[0][0]].kind
    sides = tuple(TextTokens.of(model.tokenizer, stream) for stream in Streams(model, batch).of(kind))
    entries = [(row, head, layer) for row, head in names for layer, of in enumerate(model.grid.layers) if of == row]
    size = len(entries) * len(sides[0]) * len(sides[1])
    if size > MOST_VALUES:
        raise HeadPruneError(f"the attention of these heads has {size:,} values; choose fewer heads or a shorter text")
    found = _forward(model, batch, names)
    attention, weighted = (torch.stack([found[entry][part] for entry in entries]) for part in (0, 1))
    bad = ~(attention + weighted).isfinite().all(2).all(1)
    if bad.any():
        row, head, _ = entries[int(bad.int().argmax())]
        raise HeadPruneError(
            f"the attention of head {head} in row {model.grid.row_labels[row]} is not finite for this text; check the "
            "model's weights, or load it with dtype='float32'"
        )
    labels = tuple(_label(model, *entry) for entry in entries)
    arrays, read = (attention.numpy(), weighted.numpy()), len(encoded.inputs[0]["input_ids"])
    return TextAttention(model.name, *sides, kind, tuple(entries), labels, *arrays, encoded.longest, read)


def _checked_heads(model: PrunableModel, heads: Iterable[Head]) -> list[Head]:
    try:
        names = list(dict.fromkeys((int(row), head if head == MEAN else int(head)) for row, head in heads))
    except (TypeError, ValueError) as error:
        raise HeadPruneError(f"heads must be (row, head) or (row, {MEAN!r}), got {heads!r}") from error
    if not names:
        raise HeadPruneError("heads must name at least one head as (row, head), got none")
    rows, per_row = model.grid.shape
    for row, head in names:
        if not (0 <= row < rows and (head == MEAN or 0 <= head < per_row)):
            raise HeadPruneError(
                f"the model has no head {head} in row {row}; rows are 0 to {rows - 1}, heads 0 to {per_row - 1}"
            )
        kept = model.grid.kept[row]
        if not (kept.any() if head == MEAN else kept[head]):
            what = f"all heads of row {row} are" if head == MEAN else f"head {head} of row {row} is"
            raise HeadPruneError(f"{what} pruned and has no attention; choose a kept head")
    kinds = {model.grid.rows[row].kind for row, _ in names}
    if len(kinds) > 1:
        raise HeadPruneError(f"heads must be of rows of one kind, got {' and '.join(sorted(kinds))}; choose one kind")
    return names


def _columns(model: PrunableModel, text, pair, token_ids) -> dict[str, list]:
    """The columns of a dataset with this one text."""
    if model.reads_images:
        raise HeadPruneError(f"{model.name} reads images; text attention requires a text model")
    second = "target" if model.task == "translation" else "text_pair"
    if token_ids is not None:
        parts = token_ids if second == "target" else (token_ids,)
        if second == "target" and (len(parts) != 2 or isinstance(parts[0], int)):
            raise HeadPruneError(
                "token_ids of a sequence-to-sequence model must be the tokens of the text and of the target"
            )
        if not all(len(part) for part in parts):
            raise HeadPruneError("token_ids must have at least one token, got none")
        return {
            name: [[int(token) for token in part]] for name, part in zip(("input_ids", "target_ids"), parts, strict=False)
        }
    if model.tokenizer is None:
        raise HeadPruneError(f"{model.name} has no tokenizer; pass token_ids in place of the text")
    for name, value in (("text", text), ("pair", pair)):
        if value == "" or (name == "text" and value is None):
            raise HeadPruneError(f"{name} is empty; pass at least one character")
        if not isinstance(value, str | None):
            raise HeadPruneError(f"{name} must be a string, got {type(value).__name__}")
    if second == "target" and pair is None:
        raise HeadPruneError(f"{model.name} is a sequence-to-sequence model; pass the target text as pair")
    return {"text": [text]} | ({} if pair is None else {second: [pair]})


def _encoded(model: PrunableModel, columns: dict[str, list]) -> Encoded:
    try:
        return encode(model, make_dataset(columns))
    except HeadPruneError as error:
        raise HeadPruneError(str(error).replace("example 0", "the text")) from error


def _forward(model: PrunableModel, batch: Batch, names: list[Head]) -> dict[tuple, tuple[Tensor, Tensor]]:
    """Attention and value-weighted attention (T, S) by (row, head, layer)."""
    rows = {row.module: number for number, row in enumerate(model.grid.rows)}
    layers = {row: [i for i, other in enumerate(model.grid.layers) if other == row] for row in rows.values()}
    calls, found = Counter(), {}

    def on_attention(call: AttentionCall) -> None:
        row = rows[call.module]
        layer = layers[row][calls[row]]
        calls[row] += 1
        for head in (head for named, head in names if named == row):
            found[row, head, layer] = _attention(call, model.grid.rows[row], head)

    with use_hooks(AttentionHooks(on_attention=on_attention)), torch.no_grad(), FrozenLinear(model.packed):
        model.logits(batch.inputs)
    return found


def _attention(call: AttentionCall, row: AttentionRow, head: int | str) -> tuple[Tensor, Tensor]:
    """Attention and value-weighted attention (T, S) of one head, or their means over the kept heads of the row."""
    present = row.present.tolist()
    value = call.value.repeat_interleave(len(present) // call.value.shape[1], dim=1)
    sizes = transformed_norms(row, value)[0]
    places = [present.index(head)] if head != MEAN else [i for i, name in enumerate(present) if row.kept[name]]
    totals = [0.0, 0.0]
    for place in places:  # one head at a time, so that memory does not grow with the number of heads
        attention = _only(call, place).probabilities()[0][0, 0]
        for i, part in enumerate((attention, attention * sizes[place])):
            totals[i] = totals[i] + part / len(places)
    return tuple(total.float().cpu() for total in totals)


def _only(call: AttentionCall, place: int) -> AttentionCall:
    """The call with one of its heads."""
    one = slice(place, place + 1)
    group = place * call.key.shape[1] // call.query.shape[1]
    mask = call.mask if call.mask is None or call.mask.shape[1] == 1 else call.mask[:, one]
    sinks = None if call.sinks is None else call.sinks[one]
    return replace(call, query=call.query[:, one], key=call.key[:, group : group + 1], mask=mask, sinks=sinks)


def _label(model: PrunableModel, row: int, head: int | str, layer: int) -> str:
    """Label of an entry; a row that several layers share is named by the layer too."""
    name = model.grid.row_labels[row]
    place = f"Layer {name}" if name.isdecimal() else name.capitalize()
    if model.grid.layers.count(row) > 1:
        place = f"Layer {layer} (row {name})"
    heads = int(model.grid.kept[row].sum())
    return f"{place}, mean of {heads} heads" if head == MEAN else f"{place}, head {head}"
