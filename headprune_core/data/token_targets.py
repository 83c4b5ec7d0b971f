"""Inputs and targets of token classifiers: tags aligned to the first token of each word."""

import warnings

import datasets

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.prunable_model import PrunableModel

from .labels import column_labels, map_labels
from .targets import GENERIC
from .tasks import IGNORED, WORDS, has_targets, tag_column


def token_inputs(model: PrunableModel, examples: datasets.Dataset, read_text, read_ids) -> tuple[list[dict], int, int]:
    """Convert examples to the inputs of a token classifier.

    Args:
        model: the model.
        examples: Dataset with a column tokens or words (lists of words) and one of tags (ner_tags, tags, labels, pos_tags or
            label), with a column text (without tags), or with input_ids and optionally labels (-100 = ignored).
        read_text: converts a column text to rows of inputs.
        read_ids: converts a column input_ids to rows of inputs.

    Returns:
        The inputs with "labels" for each token (-100 where no prediction counts; 0 elsewhere if the tags are unknown), the
        number of truncated examples, and the length of the longest in tokens.

    Raises:
        HeadPruneError: if columns are missing, a tag is unknown to the model, or an example has no labeled token.
    """
    columns = examples.column_names
    if "input_ids" in columns:
        rows, truncated, longest = read_ids(model, examples)
        labels = _given_labels(examples) if "labels" in columns else [_counted(model, row["input_ids"]) for row in rows]
    elif set(WORDS) & set(columns):
        rows, labels, truncated, longest = _from_words(model, examples)
    elif "text" in columns:
        rows, truncated, longest = read_text(model, examples)
        labels = [_counted(model, row["input_ids"]) for row in rows]
    else:
        raise HeadPruneError(
            f"the dataset has the columns {', '.join(columns)}; expected tokens (lists of words) and ner_tags, text, or "
            "input_ids and labels"
        )
    if has_targets(model, columns):
        labels = _class_numbers(model, labels, tag_column(columns), examples)
    for i, (row, numbers) in enumerate(zip(rows, labels, strict=True)):
        if len(numbers) != len(row["input_ids"]):
            raise HeadPruneError(f"example {i} has {len(row['input_ids'])} tokens but {len(numbers)} labels")
        if all(number == IGNORED for number in numbers):
            raise HeadPruneError(f"example {i} has no token with a label; remove it")
    return [row | {"labels": numbers} for row, numbers in zip(rows, labels, strict=True)], truncated, longest


def _from_words(model: PrunableModel, examples: datasets.Dataset):
    """Inputs of lists of words, and for each token the tag of the word that it begins, else -100."""
    tokenizer, limit = model.tokenizer, model.max_tokens
    if tokenizer is None or not tokenizer.is_fast:
        raise HeadPruneError(
            f"{model.name} has no fast tokenizer, which is needed to align tags with tokens; pass one, or a Dataset with "
            "input_ids and labels"
        )
    words = [list(row) for row in examples[next(name for name in WORDS if name in examples.column_names)]]
    name = tag_column(examples.column_names)
    tags = [[0] * len(row) for row in words] if name is None else [list(row) for row in examples[name]]
    for i, (row, row_tags) in enumerate(zip(words, tags, strict=True)):
        if len(row) != len(row_tags):
            raise HeadPruneError(f"example {i} has {len(row)} words but {len(row_tags)} tags in the column {name}")
    try:
        encoded = tokenizer(words, is_split_into_words=True, truncation=limit is not None, max_length=limit)
    except (AssertionError, ValueError, TypeError) as error:  # byte-level tokenizers need add_prefix_space
        reason = " ".join(str(error).split())[:160]
        raise HeadPruneError(
            f"the tokenizer of {model.name} cannot read lists of words ({reason}); load it with add_prefix_space=True"
        ) from error
    names = [part for part in ("input_ids", "token_type_ids") if part in encoded]
    rows = [{part: list(encoded[part][i]) for part in names} for i in range(len(words))]
    labels, cut = [], 0
    for i, row_tags in enumerate(tags):
        ids, seen, numbers = encoded.word_ids(i), set(), []
        for word in ids:
            numbers.append(IGNORED if word is None or word in seen else row_tags[word])
            seen.add(word)
        cut += any(word not in seen for word in range(len(row_tags)))
        labels.append(numbers)
    longest = max(len(row["input_ids"]) for row in rows)
    if cut:
        warnings.warn(
            f"{cut} of {len(words)} examples have words without a token (beyond the maximum length of {limit} tokens, or "
            "empty), whose tags are left out.",
            HeadPruneWarning,
            stacklevel=4,
        )
    return rows, labels, cut, longest


def _given_labels(examples: datasets.Dataset) -> list[list]:
    """The labels of given inputs, without those of padding."""
    labels = [list(row) for row in examples["labels"]]
    if "attention_mask" not in examples.column_names:
        return labels
    return [
        [label for label, real in zip(row, mask, strict=True) if real]
        for row, mask in zip(labels, examples["attention_mask"], strict=True)
    ]


def _counted(model: PrunableModel, ids: list[int]) -> list[int]:
    """0 for the tokens of a text and -100 for special tokens; all count if there are only special tokens."""
    special = set() if model.tokenizer is None else set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    marks = [IGNORED if token in special else 0 for token in ids]
    return marks if any(mark == 0 for mark in marks) else [0] * len(ids)


def _class_numbers(model: PrunableModel, labels: list[list], column: str, examples: datasets.Dataset) -> list[list[int]]:
    """Class numbers of the model: by all tags of the column or by name if they are known, else the given numbers."""
    element = getattr(examples.features[column], "feature", None)
    names = element.names if isinstance(element, datasets.ClassLabel) else None
    position = {name.casefold(): i for i, name in enumerate(model.labels)}
    tags = column_labels(element)
    mapping = None if tags is None else map_labels(tags, model.labels, in_lists=True).classes
    if names is not None and all(name.startswith(GENERIC) for name in position) and len(names) == len(position):
        names = None  # the model's classes have no names, so the numbers of the dataset are theirs

    def number(tag) -> int:
        if tag is None or (not isinstance(tag, str) and tag == IGNORED):
            return IGNORED
        if mapping is not None:
            return mapping[str(tag)]
        if names is not None and not isinstance(tag, str) and 0 <= tag < len(names):
            tag = names[tag]
        at = position.get(tag.casefold()) if isinstance(tag, str) else int(tag)
        if at is None or not 0 <= at < len(position):
            raise HeadPruneError(
                f"the column {column} has the tag {tag!r}, which {model.name} does not have; expected -100 or "
                f"{', '.join(f'{i} = {name}' for i, name in enumerate(model.labels))[:300]}"
            )
        return at

    return [[number(tag) for tag in row] for row in labels]
