"""What the cells of a label column contain: one class per row, a number, a set of labels, or a tag for each word."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

from ..formats.list_cells import column_lists
from ..labels import SHOWN, ClassNames, binary_labels, measured_labels, plain_label
from ..model_labels import ModelLabels
from ..tasks import IGNORED

SEPARATORS = (",", ";", "|")  # between the labels of a set that is written as text
_NO_TAG = (None, "", IGNORED, -1)  # of words whose tag is not known


@dataclass(frozen=True)
class LabelValues:
    """Labels of the rows of a table, before they are mapped to the model's.

    Attributes:
        kind: "class", "number", "set" or "tags".
        values: for each row a label (text or an integer), a tuple of the labels of a set, a tuple with the tag of each word
            (None for words without one), or the number (or a tuple of several); None for rows without a label.
        order: labels of the data in the order of their numbers; None if they have no names.
        vector: length of the vectors of zeros and ones that sets were given as, if the model is not known; else None.
        in_order: whether the labels of sets are those of the model because vectors have their order.
        complete: whether `order` or `vector` names labels without examples too.
        separator: what separates the labels of a set that was detected in cells of text, else None.
        unusable: what is wrong with rows whose labels cannot be used, by position.
        guesses: (setting, sentence) of what is likely but not certain.
    """

    kind: str
    values: list
    order: tuple[str, ...] | None = None
    vector: int | None = None
    in_order: bool = False
    complete: bool = False
    separator: str | None = None
    unusable: dict[int, str] = field(default_factory=dict)
    guesses: list[tuple[str, str]] = field(default_factory=list)


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
        table: the rows.
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
        return _from_columns(table, label, model)
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
        return _lists(lists, label, names, model)
    if task == "multi_label":
        return _sets_as_text(table[label], label, names, model, separator, known)
    return _single(table[label], label, names, task)


def as_number(value) -> float | None:
    """Return a finite number; None if a label is none. Text may contain a number with a decimal point.

    Args:
        value: the label.
    """
    is_text = isinstance(value, str)
    if is_text and not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", value):
        return None
    if not is_text and not isinstance(value, (int, float, np.number)):
        return None
    return float(value) if np.isfinite(float(value)) else None


def _from_columns(table: pd.DataFrame, columns: tuple[str, ...], model: ModelLabels | None) -> LabelValues:
    if model is not None and model.task not in ("multi_label", "language"):
        raise HeadPruneError(f"several label columns need a multi-label model; name one of {', '.join(columns)}")
    read = {name: binary_labels(table[name]) for name in columns}
    if other := [name for name, labels in read.items() if labels is None]:
        raise HeadPruneError(f"column {other[0]!r} must contain zeros and ones if several label columns are named")
    rows = zip(*read.values(), strict=True)
    values = [None if None in row else tuple(n for n, flag in zip(columns, row, strict=True) if flag) for row in rows]
    return LabelValues("set", values, order=columns, complete=True)


def _tags(lists: list[list | None], label: str, words, names: tuple[str, ...] | None) -> LabelValues:
    unusable = {}
    for position, (row, row_words) in enumerate(zip(lists, words, strict=True)):
        if row is not None and len(row) != len(row_words):
            unusable[position] = "with different numbers of words and tags"
    lists = [None if i in unusable or row is None else [_tag(tag) for tag in row] for i, row in enumerate(lists)]
    rows = _elements(lists, label) if names is None else [row and tuple(_named(tag, names) for tag in row) for row in lists]
    values = [row if row and any(tag is not None for tag in row) else None for row in rows]
    return LabelValues("tags", values, names, unusable=unusable)


def _tag(value):
    """The tag, or None for a word without one."""
    return None if value in _NO_TAG or (isinstance(value, float) and math.isnan(value)) else value


def _lists(lists, label: str, names, model: ModelLabels | None) -> LabelValues:
    if any(None in row for row in lists if row):
        raise HeadPruneError(f"column {label!r} has an empty label in a list; remove it")
    if names is not None:
        return LabelValues("set", [row if row is None else tuple(_named(v, names) for v in row) for row in lists], names)
    fractions = any(isinstance(value, float) and not value.is_integer() for row in lists if row for value in row)
    if model.task == "regression" if model is not None else fractions:
        return LabelValues("number", [None if row is None else tuple(row) for row in lists])
    rows = _elements(lists, label)
    count = len(model.names) if model is not None and model.task == "multi_label" else None
    if (length := _vector_length(rows, count)) is not None:
        order = model.names if count else tuple(range(length))
        values = [None if row is None else tuple(n for n, flag in zip(order, row, strict=True) if flag) for row in rows]
        if not count:
            return LabelValues("set", values, vector=length, complete=True)
        said = ("label_mapping", f"Zeros and ones of column {label!r} are in the order of the model's labels.")
        return LabelValues("set", values, order, in_order=True, complete=True, guesses=[said])
    repeated = next((row for row in rows if row and len(set(row)) < len(row) and set(row) <= {0, 1}), None)
    if repeated is not None:
        wanted = f"{count} zeros and ones, or " if count else ""
        raise HeadPruneError(f"column {label!r} must have lists of {wanted}labels without repetition, got {list(repeated)}")
    return LabelValues("set", rows)


def _elements(lists, label: str) -> list[tuple | None]:
    """Lists of labels as tuples of integers or of text; None stays None."""
    try:
        rows = [None if row is None else tuple(None if v is None else _element(v) for v in row) for row in lists]
    except ValueError as error:
        raise HeadPruneError(
            f"column {label!r} has the label {error} in a list; labels must be names, numbers from 0, or zeros and ones"
        ) from None
    kinds = {type(value) for row in rows if row for value in row if value is not None}
    if len(kinds) < 2:
        return rows
    return [None if row is None else tuple(None if v is None else str(v) for v in row) for row in rows]


def _element(value) -> int | str:
    """A label in a list: an integer if it is one, else text."""
    text = str(value).strip()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float) or not text:
        raise ValueError(repr(value))
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _vector_length(rows: list[tuple | None], count: int | None) -> int | None:
    """The length of the rows if they are vectors of zeros and ones.

    With a model, all have an entry for each of its `count` labels. Without, some row must repeat a value: no set does so.
    """
    known = [row for row in rows if row is not None]
    lengths = {len(row) for row in known}
    if len(lengths) != 1 or not all(value in (0, 1) and isinstance(value, int) for row in known for value in row):
        return None
    (length,) = lengths
    if count is None:
        return length if any(len(set(row)) < length for row in known) else None
    return length if length == count else None


def _sets_as_text(column, label: str, names, model: ModelLabels, separator: str | None, known) -> LabelValues:
    """Sets of cells with one label, or with several labels of the model between separators."""
    cells = [plain_label(value) if names is None else _class(value, names) for value in column]
    if names is not None:
        return LabelValues("set", [None if cell is None else (cell,) for cell in cells], names)
    filled = [cell for cell in cells if cell is not None]
    if separator:
        return LabelValues("set", [None if cell is None else _parts(cell, separator) for cell in cells])
    is_known = _known_labels(model, known)
    if model.named and filled and all(isinstance(cell, int) and not is_known(cell) for cell in filled):
        raise HeadPruneError(
            f"column {label!r} has one number per row, but the model predicts label sets of {', '.join(model.names[:5])}; "
            "name the column of the sets, or a column of zeros and ones for each label"
        )
    if not all(map(is_known, filled)) and separator is None:
        for one in SEPARATORS:
            several = any(one in str(cell) for cell in filled)
            if several and all(is_known(part) for cell in filled for part in _parts(cell, one)):
                said = ("label_separator", f"The labels of a set are separated by {one!r} in column {label!r}.")
                values = [None if cell is None else _parts(cell, one) for cell in cells]
                return LabelValues("set", values, separator=one, guesses=[said])
            sets = [parts for cell in filled if len(parts := _parts(cell, one)) > 1 and not is_known(cell)]
            if any(all(map(is_known, parts)) for parts in sets):
                unknown = sorted({part for cell in filled for part in _parts(cell, one) if not is_known(part)})
                raise HeadPruneError(
                    f"column {label!r} has cells with several labels, separated by {one!r}, but the model does not have "
                    f"{', '.join(map(repr, unknown[:SHOWN]))}; name the separator (label_separator={one!r}) and say which "
                    "label of the model each is (label_mapping)"
                )
    return LabelValues("set", [None if cell is None else (cell,) for cell in cells])


def _known_labels(model: ModelLabels, known: Collection[str]):
    """A function that tells whether a text is a label of the model or one that the user has mapped."""
    names, numbers = ClassNames(model.names), () if model.named else set(map(str, range(len(model.names))))
    return lambda label: str(label) in known or str(label) in numbers or names.number(label) is not None


def _parts(cell, separator: str) -> tuple[str, ...]:
    parts = (part.strip() for part in str(cell).split(separator))
    return tuple(part for part in parts if part)


def _single(column, label: str, names, task: str | None) -> LabelValues:
    """One class or number per row."""
    if names is not None:
        values = [_class(value, names) for value in column]
        if task == "regression":
            return LabelValues("number", _checked_numbers(values, label))
        return LabelValues("class", values, names)
    measured = measured_labels(column)
    values = [plain_label(value) for value in column] if measured is None else measured
    if len({type(value) for value in values if value is not None}) > 1:
        values = [None if value is None else str(value) for value in values]
    if task == "regression":
        values = _checked_numbers(values, label)
    return LabelValues("number" if task == "regression" or (task is None and measured is not None) else "class", values)


def _checked_numbers(values: list, label: str) -> list:
    for position, value in enumerate(values):
        if value is not None and as_number(str(value).replace(",", ".")) is None:
            raise HeadPruneError(
                f"column {label!r} has {value!r} in row {position + 1}, but the model predicts numbers; name another label "
                "column, or read the dataset without labels (label_column=False)"
            )
    return values


def _class(value, names: tuple[str, ...]) -> str | None:
    return _named(plain_label(value), names)


def _named(label, names: tuple[str, ...]) -> str | None:
    """The name of a class number; None stays None."""
    if label is None:
        return None
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    raise HeadPruneError(f"label {label!r} is not one of the {len(names)} classes of the dataset")
