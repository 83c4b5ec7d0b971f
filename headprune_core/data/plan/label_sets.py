"""Label sets: lists of names or numbers, vectors of zeros and ones, names in one cell, and one column for each label."""

from collections.abc import Collection

import pandas as pd

from headprune_core.errors import HeadPruneError

from ..labels import binary_labels, plain_label
from ..model_labels import SHOWN, ClassNames, ModelLabels
from .label_values import LabelValues, class_named, elements, named_class

SEPARATORS = (",", ";", "|")  # between the labels of a set that is written as text


def sets_of_columns(table: pd.DataFrame, columns: tuple[str, ...], model: ModelLabels | None) -> LabelValues:
    """Read label sets from one column of zeros and ones for each label.

    Args:
        table: the rows.
        columns: the columns, which are named as the labels.
        model: the labels of the model, or None if they are not known.

    Raises:
        HeadPruneError: if the model predicts no label sets, or if a column has other values.
    """
    if model is not None and model.task not in ("multi_label", "language"):
        raise HeadPruneError(f"several label columns need a multi-label model; name one of {', '.join(columns)}")
    read = {name: binary_labels(table[name]) for name in columns}
    if other := [name for name, labels in read.items() if labels is None]:
        raise HeadPruneError(f"column {other[0]!r} must contain zeros and ones if several label columns are named")
    rows = zip(*read.values(), strict=True)
    values = [None if None in row else tuple(n for n, flag in zip(columns, row, strict=True) if flag) for row in rows]
    return LabelValues("set", values, order=columns, complete=True)


def sets_of_lists(lists: list[list | None], label: str, names, model: ModelLabels | None) -> LabelValues:
    """Read label sets from lists of names or numbers or from vectors of zeros and ones.

    Args:
        lists: the list of each row; None for rows without labels.
        label: name of the column.
        names: names of the classes if the lists contain class numbers, else None.
        model: the labels of the model, or None if they are not known.

    Returns:
        The sets; or numbers, if the model predicts numbers, or if it is not known and there are fractions.

    Raises:
        HeadPruneError: if lists are neither sets nor vectors.
    """
    if any(None in row for row in lists if row):
        raise HeadPruneError(f"column {label!r} has an empty label in a list; remove it")
    if names is not None:
        values = [None if row is None else tuple(class_named(v, names) for v in row) for row in lists]
        return LabelValues("set", values, names)
    fractions = any(isinstance(value, float) and not value.is_integer() for row in lists if row for value in row)
    if model.task == "regression" if model is not None else fractions:
        return LabelValues("number", [None if row is None else tuple(row) for row in lists])
    rows = elements(lists, label)
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


def sets_of_text(column: pd.Series, names, model: ModelLabels, separator: str | None, known: Collection[str]) -> LabelValues:
    """Read label sets from cells with one label, or with several labels of the model between separators.

    Args:
        column: the cells.
        names: names of the classes if the column contains class numbers, else None.
        model: the labels of the model.
        separator: what separates labels; None to detect it, "" for nothing.
        known: labels of the data that the user has mapped.

    Raises:
        HeadPruneError: if each row has one number, or if only some of the separated labels are the model's.
    """
    cells = [plain_label(value) if names is None else named_class(value, names) for value in column]
    if names is not None:
        return LabelValues("set", [None if cell is None else (cell,) for cell in cells], names)
    filled = [cell for cell in cells if cell is not None]
    if separator:
        sets = [None if cell is None else tuple(filter(None, _parts(cell, separator))) for cell in cells]
        return LabelValues("set", sets)
    is_known = _known_labels(model, known)
    if model.named and filled and all(isinstance(cell, int) and not is_known(cell) for cell in filled):
        raise HeadPruneError(
            f"column {column.name!r} has one number per row, but the model predicts sets of {', '.join(model.names[:5])}; "
            "name the column of the sets, or a column of zeros and ones for each label"
        )
    single = all(map(is_known, filled))
    fitting = [one for one in SEPARATORS if separator is None and _separates(one, filled, is_known)]
    if len(fitting) + single > 1:
        choices = " or ".join(f"label_separator={one!r}" for one in [*fitting, ""][: len(fitting) + single])
        raise HeadPruneError(f"the cells of column {column.name!r} are label sets in several ways; say which ({choices})")
    if fitting:
        said = ("label_separator", f"The labels of a set are separated by {fitting[0]!r} in column {column.name!r}.")
        values = [None if cell is None else _parts(cell, fitting[0]) for cell in cells]
        return LabelValues("set", values, separator=fitting[0], guesses=[said])
    if not single and separator is None:
        _check_no_separator(filled, is_known, column.name)
    return LabelValues("set", [None if cell is None else (cell,) for cell in cells])


def _separates(separator: str, cells: list, is_known) -> bool:
    """Whether some cells have several labels between separators, and all labels are known."""
    sets = [_parts(cell, separator) for cell in cells]
    return any(separator in str(cell) for cell in cells) and all(is_known(part) for parts in sets for part in parts)


def _check_no_separator(cells: list, is_known, name: str) -> None:
    """Refuse cells with several labels of which only some are known."""
    for one in SEPARATORS:
        sets = [_parts(cell, one) for cell in cells if not is_known(cell)]
        if any(len(parts) > 1 and all(map(is_known, parts)) for parts in sets):
            unknown = sorted({part for parts in sets for part in parts if not is_known(part)})
            raise HeadPruneError(
                f"column {name!r} has cells with several labels, separated by {one!r}, of which the model lacks "
                f"{', '.join(map(repr, unknown[:SHOWN]))}; name the separator (label_separator={one!r}) and say which "
                "label of the model each is (label_mapping)"
            )


def _known_labels(model: ModelLabels, known: Collection[str]):
    """A function that tells whether a text is a label of the model or one that the user has mapped."""
    names, numbers = ClassNames(model.names), () if model.named else set(map(str, range(len(model.names))))
    return lambda label: str(label) in known or str(label) in numbers or names.number(label) is not None


def _parts(cell, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(cell).split(separator))
