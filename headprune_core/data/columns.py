"""Text and label columns of tables: finding them by their usual names, and removing unusable rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

LONGEST_CELL = 100_000  # characters; a longer text is probably a complete file in one cell
_TEXT = ("text", "sentence", "sentence1", "premise", "question", "content", "review", "tweet", "comment", "document")
_PAIRS = {"sentence1": "sentence2", "premise": "hypothesis", "question1": "question2", "question": "sentence"}
_LABEL = ("label", "labels", "sentiment", "class", "category", "target", "airline_sentiment")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table that contain the examples.

    Attributes:
        text: column of the text.
        pair: column of the second text of a pair, or None.
        label: column of the label, or None.
    """

    text: str
    pair: str | None = None
    label: str | None = None


def guess_columns(table: pd.DataFrame, text=None, pair=None, label=None) -> Columns:
    """Find the text, text pair and label columns of a table by their usual names.

    Args:
        table: the table.
        text: name of the text column; None to find it.
        pair: name of the column with the second text of a pair; None to find it.
        label: name of the label column; None to find it.

    Returns:
        The names of the columns.

    Raises:
        HeadPruneError: if a named column does not exist, or if the text column is ambiguous or contains no text.
    """
    available = list(table.columns)
    for name in (text, pair, label):
        if name is not None and name not in available:
            raise HeadPruneError(f"column {name!r} not found; the table has the columns {', '.join(available)}")
    if text is None:
        strings = [c for c in available if _is_text(table[c])]
        labels = [c for c in strings if c.lower() in _LABEL]
        usual = [c for name in _TEXT for c in strings if c.lower() == name]
        rest = [c for c in strings if c not in labels]
        if not usual and len(rest) != 1:
            raise HeadPruneError(f"no text column found in {', '.join(available)}; name one with text_column")
        text = (usual or rest)[0]
        pair = pair or (_PAIRS[text] if _PAIRS.get(text) in available else None)
    if not _is_text(table[text]):
        raise HeadPruneError(f"column {text!r} must contain text, got {table[text].dtype} values")
    label = label or next((c for name in _LABEL for c in available if c.lower() == name and c != text), None)
    return Columns(text, pair, label)


def clean(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, list[str]]:
    """Remove empty, unlabeled and duplicate rows.

    Args:
        table: the table.
        columns: names of its columns.

    Returns:
        A table with the columns text, text_pair (if any) and label (if any), and a sentence about each kind of skipped rows.

    Raises:
        HeadPruneError: if no usable rows remain or if a text is too long.
    """
    parts = {"text": table[columns.text]} | ({"text_pair": table[columns.pair]} if columns.pair else {})
    texts = pd.DataFrame({name: part.fillna("").astype(str).str.strip() for name, part in parts.items()})
    texts = texts.reset_index(drop=True)
    longest = texts.apply(lambda column: column.str.len()).max(axis=1)
    if longest.max() > LONGEST_CELL:
        raise HeadPruneError(
            f"row {longest.idxmax() + 1} has {longest.max():,} characters; the limit is {LONGEST_CELL:,}. Split it into "
            "shorter examples"
        )
    notes, keep = [], (texts != "").all(axis=1)
    _note(notes, ~keep, "without text")
    if columns.label:
        texts["label"] = table[columns.label].reset_index(drop=True)
        unlabeled = keep & texts.label.isna()
        _note(notes, unlabeled, "without a label")
        keep &= ~unlabeled
    texts = texts[keep]
    repeated = texts.duplicated(list(parts))
    _note(notes, repeated, "that duplicate another")
    texts = texts[~repeated].reset_index(drop=True)
    if texts.empty:
        raise HeadPruneError(f"none of the {len(table)} rows is usable; column {columns.text!r} must contain text")
    if columns.label:
        labels = [_plain_label(value) for value in texts.label]
        mixed = len({type(value) for value in labels}) > 1  # numbers and names together; a column has one type
        texts["label"] = [str(value) for value in labels] if mixed else labels
    return texts, notes


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dropna().infer_objects())


def _plain_label(value):
    """The label as int if it is an integer, else as text."""
    if isinstance(value, bool | np.bool_ | int | np.integer) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return str(value).strip()


def _note(notes: list[str], rows: pd.Series, what: str) -> None:
    if rows.any():
        notes.append(f"{int(rows.sum())} of {len(rows)} rows {what} were skipped.")
