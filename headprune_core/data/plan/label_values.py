"""The labels of a table before they are mapped to a model's: what they are, and their plain form."""

import re
from dataclasses import dataclass, field

import numpy as np

from headprune_core.errors import HeadPruneError

from ..labels import plain_label


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


def elements(lists, label: str) -> list[tuple | None]:
    """Return lists of labels as tuples of integers or of text; None stays None.

    Args:
        lists: the list of each row, or None.
        label: name of the column.

    Raises:
        HeadPruneError: if a label is a fraction or empty.
    """
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
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,8}", text) else text


def named_class(value, names: tuple[str, ...]) -> str | None:
    """Return the name of the class number in a cell; None for a cell without a label.

    Args:
        value: the cell.
        names: names of the classes.
    """
    return class_named(plain_label(value), names)


def class_named(label, names: tuple[str, ...]) -> str | None:
    """Return the name of a class number; None stays None.

    Args:
        label: the class number, or None.
        names: names of the classes.

    Raises:
        HeadPruneError: if there is no such class.
    """
    if label is None:
        return None
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    raise HeadPruneError(f"label {label!r} is not one of the {len(names)} classes of the dataset")
