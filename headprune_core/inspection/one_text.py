"""One text: the model's prediction, with all heads and under masks, and the share of every head in the prediction.

A model for which each example has one prediction predicts its classes or numbers, a token classifier the tags of all tokens,
a language model the next token after the text, and a sequence-to-sequence model the first token of its output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from torch import Tensor

from headprune_core.checked_mask import checked_mask
from headprune_core.data.encoded import Encoded
from headprune_core.data.encoding import encode
from headprune_core.data.tasks import Task
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.scores.objectives import precise

MOST_AT_ONCE = 32  # masks in one forward pass
CANDIDATES = 10  # tokens that are named for a model of text


@dataclass(frozen=True)
class TextPrediction:
    """The predictions of one text under M masks, with P predicted positions (1, or the tokens of a tagged text).

    Attributes:
        kind: "class", "labels", "numbers", "tags", "next token" or "first token".
        names: C names of the classes, labels, numbers, tags or candidate tokens; candidates by falling probability.
        values: (M, P, C) probabilities, or the numbers themselves.
        decisions: (M, P), names of what is predicted: a class, a tag, a token, the labels of a set ("none" for an empty
            set), or the numbers.
        positions: P tokens whose tags are predicted; empty for other models.
        notes: Sentences about the text, such as its truncation.
    """

    kind: str
    names: tuple[str, ...]
    values: np.ndarray
    decisions: tuple[tuple[str, ...], ...]
    positions: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class HeadShares:
    """The share of every head in the prediction for one text.

    The score is the log-probability of the unpruned model's prediction in nats (mean over tags, or over the labels of a
    set); for numbers it is their mean.

    Attributes:
        score: The score of the unpruned model.
        first_order: (R, H), change of the score without the head to first order: minus the derivative of the score with
            respect to the gate of the head. Its absolute value is the HIS of this text with the objective "prediction".
        change: (R, H), the score with the head masked minus the score of the unpruned model. Negative: the head supports
            the prediction.
        flips: bool (R, H), whether the prediction changes without the head; False for numbers.
    """

    score: float
    first_order: np.ndarray
    change: np.ndarray
    flips: np.ndarray


@runs_models
def predict_text(
    model: PrunableModel,
    text: str | Sequence[int],
    masks: np.ndarray | None = None,
    *,
    pair: str | None = None,
    count: int = CANDIDATES,
) -> TextPrediction:
    """Predict one text under masks.

    Args:
        model: An unpruned model.
        text: The text, or its token IDs for a model without a tokenizer.
        masks: bool (M, R, H), True = kept; None for the unpruned model alone.
        pair: Second text of a pair.
        count: Number of candidate tokens of a language model: those with the highest probability under the first mask, and
            the predictions under the others.

    Returns:
        The predictions.

    Raises:
        HeadPruneError: If the text is empty or cannot be read, or if a mask does not fit the model.

    Example:
        >>> predict_text(model, "The crew was wonderful.").decisions
    """
    grid = model.grid
    grid.check_unpruned("predicting a text")
    masks = np.ones((1, *grid.shape), bool) if masks is None else checked_mask(masks, ("M", *grid.shape), name="masks")
    encoded, notes = encode_text(model, text, pair)
    gates = torch.as_tensor(masks, dtype=_dtype(model), device=model.device)
    with torch.no_grad():
        logits = torch.cat([_logits(model, encoded, part) for part in _parts(model, encoded, gates)]).double().cpu()
    return _named(model, encoded, logits, notes, count)


@runs_models
def head_shares(
    model: PrunableModel,
    text: str | Sequence[int],
    *,
    pair: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> HeadShares:
    """Measure the share of every head in the prediction for one text.

    Args:
        model: An unpruned model.
        text: The text, or its token IDs for a model without a tokenizer.
        pair: Second text of a pair.
        progress: Called as progress(done, total, note) before each forward pass; raise `Cancelled` in it to stop.

    Returns:
        First-order and exact changes of the prediction's score.

    Raises:
        HeadPruneError: If the text is empty or cannot be read.
    """
    grid = model.grid
    grid.check_unpruned("the shares of heads")
    encoded, _ = encode_text(model, text, pair)
    rows, heads = grid.shape
    gates = torch.ones(1, rows, heads, dtype=_dtype(model), device=model.device, requires_grad=True)
    with torch.enable_grad():
        logits = _logits(model, encoded, gates)
        target = encoded.task.decisions(logits.detach())
        score = _score(encoded.task, logits, target)
        slope = torch.autograd.grad(score.sum(), gates)[0] if score.requires_grad else torch.zeros_like(gates)
    masks = 1.0 - torch.eye(rows * heads, dtype=gates.dtype, device=gates.device).view(-1, rows, heads)
    scores, flips, done = [], [], 0
    with torch.no_grad():
        for part in _parts(model, encoded, masks):
            if progress is not None:
                progress(done, len(masks), "Masking each head")
            masked = _logits(model, encoded, part)
            scores.append(_score(encoded.task, masked, target.expand(len(part), *target.shape[1:])))
            same = encoded.task.same(encoded.task.decisions(masked), target)
            flips.append(~same.flatten(1).all(1))
            done += len(part)
    if progress is not None:
        progress(done, len(masks), "Masking each head")
    changes = (torch.cat(scores).double() - score.detach().double()).view(rows, heads)
    flipped = torch.cat(flips).view(rows, heads).cpu().numpy() & encoded.task.has_decisions
    return HeadShares(float(score.detach()), -slope[0].double().cpu().numpy(), changes.cpu().numpy(), flipped)


def encode_text(model: PrunableModel, text: str | Sequence[int], pair: str | None = None) -> tuple[Encoded, tuple[str, ...]]:
    """Convert one text to model inputs.

    Args:
        model: The model.
        text: The text, or its token IDs.
        pair: Second text of a pair.

    Returns:
        The inputs and sentences about them. A text beyond the maximum length of the model is truncated with a
        HeadPruneWarning.

    Raises:
        HeadPruneError: If the text is empty or cannot be read.
    """
    if model.reads_images:
        raise HeadPruneError(f"{model.name} reads images; choose a model that reads text")
    if isinstance(text, str):
        if not text.strip():
            raise HeadPruneError("the text is empty; enter at least one word")
        columns = {"text": [text]} | ({"text_pair": [pair]} if pair else {})
    else:
        columns = {"input_ids": [[int(token) for token in text]]}
    if model.task == "translation":  # any target: only the position before it counts
        columns |= {"target": ["."]} if isinstance(text, str) else {"target_ids": [[0]]}
    encoded, notes = encode(model, datasets.Dataset.from_dict(columns)), []
    if encoded.truncated:
        limit = model.max_tokens
        notes.append(f"The text has {encoded.longest:,} tokens, but the model reads {limit:,}: the rest was cut off.")
    if set(encoded.inputs[0]["input_ids"]) <= encoded.special:
        notes.append("The text consists of special tokens only.")
    return encoded, tuple(notes)


def _dtype(model: PrunableModel) -> torch.dtype:
    return torch.promote_types(model.model.dtype, torch.float32)


def _parts(model: PrunableModel, encoded: Encoded, gates: Tensor) -> Sequence[Tensor]:
    """Gates of at most as many copies of the text as fit into one batch."""
    limit = token_limit(model, None)
    size = MOST_AT_ONCE if limit is None else max(1, min(MOST_AT_ONCE, limit // int(encoded.lengths[0])))
    return gates.split(1 if encoded.batching == "single" else size)


def _logits(model: PrunableModel, encoded: Encoded, gates: Tensor) -> Tensor:
    """(M, P, C) logits of the predicted positions under gates (M, R, H)."""
    batch = encoded.batch(np.zeros(len(gates), int), model.device)
    by_module = {row.module: gates[:, None, number, :, None] for number, row in enumerate(model.grid.rows)}
    with use_hooks(AttentionHooks(gates=by_module)), FrozenLinear(model.packed):
        logits = precise(model.logits(batch.inputs))
    if not encoded.task.by_token:
        logits = logits[:, None]
    elif encoded.task.name == "language":
        logits = logits[:, -1:]
    elif encoded.task.name == "translation":
        logits = logits[:, :1]
    else:
        logits = logits[:, batch.predicted[0]]
    if not logits.isfinite().all():
        raise HeadPruneError(
            "the prediction for this text is not finite; check the model's weights, or load it with dtype='float32'"
        )
    return logits


def _score(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """(M,) scores of a prediction."""
    if not task.has_decisions:
        return logits.mean((1, 2))
    return -task.losses(logits, target).mean(1)


_KINDS = {
    "classification": "class",
    "multi_label": "labels",
    "regression": "numbers",
    "token_classification": "tags",
    "language": "next token",
    "translation": "first token",
}


def _named(model, encoded: Encoded, logits: Tensor, notes: tuple[str, ...], count: int) -> TextPrediction:
    task, positions = encoded.task, ()
    if task.name == "regression":
        names = tuple(f"output {number}" for number in range(logits.shape[-1])) if logits.shape[-1] > 1 else ("output",)
        shown = tuple((", ".join(f"{value:.4g}" for value in row[0]),) for row in logits.tolist())
        return TextPrediction("numbers", names, logits.numpy(), shown, (), notes)
    values = logits.sigmoid() if task.name == "multi_label" else logits.softmax(-1)
    decided = task.decisions(logits)
    if task.generates:
        best = values[0, 0].topk(min(count, values.shape[-1])).indices.tolist()
        best = list(dict.fromkeys([*best, *decided.flatten().tolist()]))
        names = tuple(_token_text(model, token) for token in best)
        decisions = tuple((_token_text(model, token),) for token in decided[:, 0].tolist())
        return TextPrediction(_KINDS[task.name], names, values[..., best].numpy(), decisions, (), notes)
    names = model.labels
    if task.name == "multi_label":
        sets = decided[:, 0].bool().tolist()
        decisions = tuple((", ".join(n for n, y in zip(names, row, strict=True) if y) or "none",) for row in sets)
    else:
        decisions = tuple(tuple(names[number] for number in row) for row in decided.tolist())
    if task.name == "token_classification":
        row = encoded.inputs[0]
        ids = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0]
        positions = tuple(_token_text(model, token) for token in ids)
    return TextPrediction(_KINDS[task.name], names, values.numpy(), decisions, positions, notes)


def _token_text(model, token: int) -> str:
    """The text of a token, or its ID without a tokenizer."""
    if model.tokenizer is None:
        return f"token {token}"
    text = model.tokenizer.decode([token])
    return text if text.strip() else repr(text)
