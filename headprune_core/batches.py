"""Examples as the model takes them: tokens, label numbers, and batches of similar lengths so that padding costs little.

Each batch remembers which examples it holds, so results never depend on how the examples were packed.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import datasets
import numpy as np
import torch

from .errors import HeadPruneError, HeadPruneWarning
from .models import PrunableModel

_PAD = {"token_type_ids": 0, "attention_mask": 0}


@dataclass(frozen=True)
class Batch:
    """Some examples, padded on the right to one length T. index says which ones; real (N, T) is False on padding."""

    index: np.ndarray
    inputs: dict[str, torch.Tensor]
    real: torch.Tensor
    labels: torch.Tensor | None


@dataclass(frozen=True)
class Encoded:
    """Unpadded model inputs by example, their label numbers (or None), and how many texts had to be cut."""

    inputs: list[dict[str, list[int]]]
    labels: list[int] | None
    cut: int
    longest: int  # tokens, before cutting
    pad: int

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in self.inputs])

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """All examples, longest first, in batches of up to `batch_size`."""
        if batch_size < 1:
            raise HeadPruneError(f"the batch size is {batch_size}; expected at least 1")
        order = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            yield self._batch(order[start : start + batch_size], device)

    def _batch(self, index: np.ndarray, device: torch.device) -> Batch:
        rows = [self.inputs[i] for i in index]
        longest = max(len(row["input_ids"]) for row in rows)
        padded = {
            name: torch.tensor([row[name] + [_PAD.get(name, self.pad)] * (longest - len(row[name])) for row in rows])
            for name in rows[0]
        }
        inputs = {name: value.to(device) for name, value in padded.items()}
        labels = None if self.labels is None else torch.tensor([self.labels[i] for i in index], device=device)
        return Batch(index, inputs, inputs["attention_mask"].bool(), labels)


def encode(model: PrunableModel, examples: datasets.Dataset) -> Encoded:
    """Tokens and label numbers for `model`; a Dataset with input_ids is taken as it is.

    Texts longer than the model's positions are cut, with a warning. Raises HeadPruneError for labels that the model does
    not have and for examples with too few tokens.
    """
    if len(examples) == 0:
        raise HeadPruneError("there are no examples; expected at least one")
    if "input_ids" in examples.column_names:
        rows, cut, longest = _ready(model, examples)
    elif "text" in examples.column_names:
        rows, cut, longest = _tokens(model, examples)
    else:
        found = ", ".join(examples.column_names)
        raise HeadPruneError(f"the examples have columns {found}; expected text, or ready input_ids")
    least = 2 if model.task == "language" else 1
    short = next((i for i, row in enumerate(rows) if len(row["input_ids"]) < least), None)
    if short is not None:
        raise HeadPruneError(f"example {short} has {len(rows[short]['input_ids'])} token; expected at least {least}")
    vocabulary = model.model.get_input_embeddings().num_embeddings
    strange = next(
        (i for i, row in enumerate(rows) if min(row["input_ids"]) < 0 or max(row["input_ids"]) >= vocabulary), None
    )
    if strange is not None:
        raise HeadPruneError(
            f"example {strange} has a token that the model does not have; expected ids from 0 to {vocabulary - 1}: "
            "use the tokenizer that belongs to the model"
        )
    labels = _labels(model, examples) if model.task == "classification" and "label" in examples.column_names else None
    return Encoded(rows, labels, cut, longest, pad_id(model))


def pad_id(model: PrunableModel) -> int:
    """The token that fills up short rows: the model's own, by which some find the last real token; masked out, so that
    any will do where it names none."""
    named = (getattr(owner, "pad_token_id", None) for owner in (model.model.config, model.tokenizer))
    return next((token for token in named if token is not None and token >= 0), 0)


def _tokens(model, examples):
    if model.tokenizer is None:
        raise HeadPruneError(f"{model.name} has no tokenizer; give one, or a Dataset with ready input_ids")
    pairs = (examples["text_pair"],) if "text_pair" in examples.column_names else ()
    pairs = tuple(list(column) for column in pairs)
    limit = model.max_tokens
    encoded = model.tokenizer(list(examples["text"]), *pairs, verbose=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    longest, cut = max(lengths), sum(limit is not None and length > limit for length in lengths)
    if cut:
        encoded = model.tokenizer(list(examples["text"]), *pairs, truncation=True, max_length=limit)
        warnings.warn(cut_note(cut, len(lengths), longest, limit), HeadPruneWarning, stacklevel=4)
    names = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in encoded]
    return [{name: list(encoded[name][i]) for name in names} for i in range(len(lengths))], cut, longest


def cut_note(cut: int, total: int, longest: int, limit: int) -> str:
    """What to tell about texts that do not fit the model."""
    return (
        f"{cut} of {total} texts are longer than the {limit} tokens that the model can read (the longest has {longest}); "
        "their ends are left out."
    )


def _ready(model, examples):
    names = [name for name in ("input_ids", "token_type_ids") if name in examples.column_names]
    rows = [{name: list(example[name]) for name in names} for example in examples]
    for row in rows:
        row["attention_mask"] = [1] * len(row["input_ids"])
    longest = max(len(row["input_ids"]) for row in rows)
    if model.max_tokens and longest > model.max_tokens:
        raise HeadPruneError(f"an example has {longest} tokens; expected at most the model's {model.max_tokens}")
    return rows, 0, longest


def _labels(model, examples) -> list[int]:
    """Label numbers of the model: by name where names are given and known, else the numbers as they are."""
    numbers = {str(name).casefold(): i for i, name in enumerate(model.labels)}
    feature, values = examples.features["label"], list(examples["label"])
    if isinstance(feature, datasets.ClassLabel) and all(name.casefold() in numbers for name in feature.names):
        # -1 and None stand for "no label" and stay as they are
        values = [feature.names[v] if v is not None and v >= 0 else v for v in values]
    if all(_is_number(v) for v in values) and not all(str(v) in numbers for v in values):
        numbers = {}  # numbers that are not all names (of a model whose classes are "1" to "5", say) count from 0
    found = [numbers.get(str(v).casefold(), int(v) if _is_number(v) else None) for v in values]
    unknown = [v for v, i in zip(values, found, strict=True) if i is None or not 0 <= i < len(model.labels)]
    if unknown:
        shown = ", ".join(dict.fromkeys(repr(v) for v in unknown[:200]))
        classes = ", ".join(f"{i} = {name}" for i, name in enumerate(model.labels))
        raise HeadPruneError(
            f"{len(unknown)} of {len(values)} examples have labels that the model does not have ({shown[:120]}); "
            f"expected {classes[:300]}"
        )
    return found


def _is_number(label) -> bool:
    return re.fullmatch(r"-?\d+", str(label)) is not None
