"""What the cells of a label column contain: one class per row, a number, a set of labels, or a tag for each word."""

import math
from collections.abc import Collection, Sequence

import pandas as pd

from headprune_core.errors import HeadPruneError

from ..formats.list_cells import column_lists
from ..labels import is_minus_one, measured_labels, plain_label
from ..model_labels import ModelLabels
from ..tasks import IGNORED
from .label_sets import sets_of_columns, sets_of_lists, sets_of_text
from .label_values import LabelValues, as_number, class_named, elements, named_class

_NO_TAG = (None, "", IGNORED, -1)  # of words whose tag is not known


def read_labels(
    table: pd.DataFrame,
    label: str | tuple[str, ...],
    names: tuple[str, ...] | None,
    *,
    words: Sequence[Sequence[str]] | None = None,
    model: ModelLabels | None = None,
    separator: str | None = None,
    known: Collection[str] = (),
) -> LabelValues:
    """Read the labels of all rows.

    Args:
        table: the rows, with their numbers as the index.
        label: the label column, or one column of zeros and ones for each label.
        names: names of the classes if the column contains class numbers, else None.
        words: the words of each row, if the text is given as lists of words.
        model: the labels of the model, or None if they are not known.
        separator: what separates the labels of a set that is written as text; None to detect it, "" for nothing.
        known: labels of the data that the user has mapped.

    Returns:
        The labels.

    Raises:
        HeadPruneError: if labels are of another form than the model needs.
    """
    task = None if model is None else model.task
    if isinstance(label, tuple):
        return sets_of_columns(table, label, model)
    lists = column_lists(table[label])
    if words is not None and lists is not None and task in (None, "token_classification"):
        return _tags(lists, label, words, names)
    if task == "token_classification":
        raise HeadPruneError(
            f"column {label!r} has no tag for each word, but the model tags words; name a column of lists of words and one "
            "of their tags, or read the dataset without labels (label_column=False)"
        )
    if lists is not None:
        if task in ("classification", "translation"):
            raise HeadPruneError(
                f"column {label!r} has lists, but the model predicts one {'class' if model.names else 'text'} per example; "
                "name another label column, or read the dataset without labels (label_column=False)"
            )
        return sets_of_lists(lists, label, names, model)
    if task == "multi_label":
        return sets_of_text(table[label], names, model, separator, known)
    return _single(table[label], names, task)


def _tags(lists: list[list | None], label: str, words, names: tuple[str, ...] | None) -> LabelValues:
    unusable = {}
    for position, (row, row_words) in enumerate(zip(lists, words, strict=True)):
        if row is not None and len(row) != len(row_words):
            unusable[position] = "with different numbers of words and tags"
    lists = [None if i in unusable or row is None else [_tag(tag) for tag in row] for i, row in enumerate(lists)]
    rows = elements(lists, label)
    if names is not None:
        rows = [None if row is None else tuple(class_named(tag, names) for tag in row) for row in rows]
    values = [row if row and any(tag is not None for tag in row) else None for row in rows]
    return LabelValues("tags", values, names, unusable=unusable)


def _tag(value):
    """The tag, or None for a word without one."""
    return None if value in _NO_TAG or (isinstance(value, float) and math.isnan(value)) else value


def _single(column: pd.Series, names, task: str | None) -> LabelValues:
    """One class or number per row."""
    if names is not None:
        values = [named_class(value, names) for value in column]
        if task == "regression":
            return LabelValues("number", _checked_numbers(values, column))
        return LabelValues("class", values, names)
    measured = measured_labels(column)
    values, guesses = [plain_label(value) for value in column] if measured is None else measured, []
    if task == "regression" and measured is None and any(value is not None for value in values):
        values = [-1 if is_minus_one(cell) else value for cell, value in zip(column, values, strict=True)]
        if -1 in values:
            guesses = [("label_column", f"-1 in column {column.name!r} is a number, not the mark of a missing label.")]
    if len({type(value) for value in values if value is not None}) > 1:
        values = [None if value is None else str(value) for value in values]
    if task == "regression":
        values = _checked_numbers(values, column)
    kind = "number" if task == "regression" or (task is None and measured is not None) else "class"
    return LabelValues(kind, values, guesses=guesses)


def _checked_numbers(values: list, column: pd.Series) -> list:
    for row, value in zip(column.index, values, strict=True):
        if value is not None and as_number(str(value).replace(",", ".")) is None:
            raise HeadPruneError(
                f"column {column.name!r} has {value!r} in row {row}, but the model predicts numbers; name another label "
                "column, or read the dataset without labels (label_column=False)"
            )
    return values
