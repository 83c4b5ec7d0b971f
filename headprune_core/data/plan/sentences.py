"""A reading plan in words: its columns, what its labels become, and its first rows."""

from collections.abc import Sequence

import pandas as pd

from ..columns import Columns
from .rows import PlannedLabel, Rows, label_range

_SHOWN = 20  # labels of a sentence
_KINDS = {"class": "Labels", "set": "Label sets", "tags": "Tags of words"}
_EXCLUDED = {"class": "left out", "set": "dropped from the sets", "tags": "no target"}
_BY = {
    "name": ", matched by name",
    "number": ", class numbers counted from 0",
    "order": ", in the order of the model's labels",
    "user": "",
    None: "",
}


def columns_sentence(columns: Columns, *, tags: bool) -> str:
    """Name the columns.

    Args:
        columns: the columns.
        tags: whether the labels are tags of words.
    """
    named = {"words" if columns.words else "text": columns.text, "second text": columns.pair}
    named["tags" if tags else "labels"] = columns.label
    listed = ", ".join(f"{what} in {_quoted(name)}" for what, name in named.items() if name is not None)
    return f"Columns: {listed}{'' if columns.label else '; no labels'}."


def labels_sentences(rows: Rows, planned: Sequence[PlannedLabel], mapped_by: str | None) -> list[str]:
    """Say what the labels are and what they become; an empty list without labels.

    Args:
        rows: the rows.
        planned: their labels.
        mapped_by: what decided the classes, or None.
    """
    if (numbers := label_range(rows)) is not None:
        return [f"Labels: numbers from {numbers[0]:g} to {numbers[1]:g}."]
    if not planned:
        return []
    kind = rows.labels.kind
    shown = ", ".join(_label_line(one, kind, mapped=mapped_by is not None) for one in planned[:_SHOWN])
    line = f"{_KINDS[kind]}{_BY[mapped_by]}: {shown}{' …' if len(planned) > _SHOWN else ''}"
    empty = sum(len(labels) == 0 for labels in rows.table.label) if kind == "set" else 0
    return [f"{line}; {empty:,} of {len(rows.table):,} sets are empty." if empty else f"{line}."]


def preview(rows: Rows, names: Sequence[str] | None, count: int) -> pd.DataFrame:
    """Return the first rows, with names for labels and words with their tags.

    Args:
        rows: the rows.
        names: names of the classes if labels are class numbers, else None.
        count: number of rows.
    """
    first = rows.table.head(count)
    table = first.drop(columns=["row", "tokens", "tags"], errors="ignore")
    kind = None if rows.labels is None else rows.labels.kind
    if kind == "class" and names is not None:
        table["label"] = [names[number] for number in first.label]
    if kind == "set":
        sets = ([str(one) if names is None else names[one] for one in labels] for labels in first.label)
        table["label"] = [", ".join(labels) or "no label" for labels in sets]
    if kind == "tags":
        table["words"] = [tagged_words(*row, names) for row in zip(first.tokens, first.tags, strict=True)]
        table = table.drop(columns="text")
    return table


def tagged_words(words: Sequence[str], tags: Sequence, names: Sequence[str] | None) -> str:
    """Return words with their tags as one text, as in "Ann/B-PER lives/O".

    Args:
        words: the words.
        tags: the tag of each word; None or -100 for a word without one.
        names: names of the tags if they are numbers, else None.
    """
    if names is not None:
        tags = [tag if tag is None or isinstance(tag, str) else names[tag] if tag >= 0 else None for tag in tags]
    return " ".join(word if tag is None else f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))


def _quoted(name: str | tuple[str, ...]) -> str:
    if isinstance(name, str):
        return repr(name)
    return f"{', '.join(map(repr, name))} (zeros and ones)"


def _label_line(planned: PlannedLabel, kind: str, *, mapped: bool) -> str:
    if not mapped:
        return f"{planned.label} ({planned.count:,})"
    return f"{planned.label} → {planned.class_name or _EXCLUDED[kind]} ({planned.count:,})"
