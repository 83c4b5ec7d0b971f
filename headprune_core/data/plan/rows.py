"""The rows of a reading plan: those with a text and a label, and their labels as classes of the model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import datasets
import pandas as pd

from headprune_core.errors import HeadPruneError

from ..columns import Columns
from ..formats.list_cells import column_lists
from ..labels import label_feature, map_labels
from ..model_labels import ModelLabels
from ..source_tables import Source
from ..table_io import MAX_BAD, LeftOut
from ..tasks import IGNORED
from .label_reader import read_labels
from .label_values import LabelValues

LONGEST_CELL = 100_000  # characters; a longer text is probably a complete file in one cell
_SHORT = 60  # characters of a text that is shown as an example


@dataclass(frozen=True)
class PlannedLabel:
    """What happens to one label of the data.

    Attributes:
        label: the label as it stands in the data.
        count: number of its examples, or of the words with this tag.
        number: class number of the model; None if no model was given, or if the label is excluded: then its examples are
            left out, it is dropped from the sets, or words with this tag have no target.
        class_name: name of that class, or None.
    """

    label: str
    count: int
    number: int | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class Rows:
    """Rows with their labels.

    Attributes:
        table: columns text, text_pair, tokens, label or tags (each but text only if there is one) and row.
        labels: their labels; None without labels.
        left_out: rows that are left out.
    """

    table: pd.DataFrame
    labels: LabelValues | None
    left_out: tuple[LeftOut, ...]

    @property
    def column(self) -> str:
        """Name of the column of the labels."""
        return "tags" if self.labels is not None and self.labels.kind == "tags" else "label"


def usable_rows(
    found: Source,
    columns: Columns,
    guesses: list[tuple[str, str]],
    **reading,
) -> Rows:
    """Return the rows with a text and a label, once each.

    Args:
        found: all rows.
        columns: the columns of text and labels.
        guesses: list to which guesses are added, for example that no row has a label.
        **reading: model, separator and known, as in `read_labels`.

    Returns:
        The rows.

    Raises:
        HeadPruneError: if no row is usable, a text is too long, or labels are of another form than the model needs.
    """
    table = found.table.reset_index(drop=True)
    rows, words = _texts(table, columns)
    longest = rows.apply(lambda column: column.str.len()).max(axis=1)
    if longest.max() > LONGEST_CELL:
        raise HeadPruneError(
            f"row {found.rows[longest.idxmax()]} has {longest.max():,} characters; the limit is {LONGEST_CELL:,}. Split it "
            "into shorter examples"
        )
    parts, left_out = list(rows), []
    rows["row"] = found.rows
    if words is not None:
        rows["tokens"] = pd.Series(words, index=rows.index, dtype=object)
    labels = None
    if columns.label:
        single = columns.label if isinstance(columns.label, str) else None
        names = found.class_names.get(single)
        labels = read_labels(table.set_axis(found.rows), columns.label, names, words=words, **reading)
        guesses += labels.guesses
        if len(labels.unusable) > max(1, MAX_BAD * len(table)):
            position, reason = next(iter(labels.unusable.items()))
            raise HeadPruneError(f"{len(labels.unusable)} rows are {reason} (the first is row {found.rows[position]})")
        if all(value is None for value in labels.values) and not labels.unusable:
            said = f"No row has a label in column {_name(columns)}: examples are read without labels."
            guesses.append(("label_column", said))
            labels = None
    column = "tags" if labels is not None and labels.kind == "tags" else "label"
    if labels is not None:
        rows[column] = pd.Series(labels.values, index=rows.index, dtype=object)

    def leave_out(drop: pd.Series, reason: str) -> None:
        nonlocal rows
        if drop.any():
            left_out.append(_left_out(rows[drop], reason))
        rows = rows[~drop]

    leave_out((rows[parts] == "").any(axis=1), "without text")
    if labels is not None:
        for reason in dict.fromkeys(labels.unusable.values()):
            leave_out(pd.Series([labels.unusable.get(i) == reason for i in rows.index], rows.index, dtype=bool), reason)
        leave_out(rows[column].isna(), "without a label" if labels.kind != "tags" else "without a tag")
    leave_out(rows.duplicated([*parts, "tokens"] if words is not None else parts), "with the text of an earlier row")
    if rows.empty:
        raise HeadPruneError(f"none of the {len(table)} rows is usable; column {columns.text!r} must contain text")
    return Rows(rows.reset_index(drop=True), labels, tuple(left_out))


def _texts(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, list[tuple[str, ...]] | None]:
    """The texts, and the words of each text if it is given as words."""
    parts = {"text": columns.text} | ({"text_pair": columns.pair} if columns.pair else {})
    words = None
    if columns.words:
        words = [tuple(row or ()) for row in column_lists(table[columns.text])]
        table = table.assign(**{columns.text: [" ".join(row) for row in words]})
    return pd.DataFrame({name: table[column].fillna("").astype(str).str.strip() for name, column in parts.items()}), words


def _name(columns: Columns) -> str:
    return " and ".join(map(repr, [columns.label] if isinstance(columns.label, str) else columns.label))


def _left_out(rows: pd.DataFrame, reason: str) -> LeftOut:
    first = rows.iloc[0]
    return LeftOut(reason, len(rows), int(first["row"]), _shortened(first.text))


def _shortened(text: str) -> str:
    text = " ".join(str(text).split())
    return repr(text if len(text) <= _SHORT else text[: _SHORT - 1] + "…") if text else ""


def counted_labels(rows: Rows) -> tuple[PlannedLabel, ...]:
    """Count the labels; numbers have none to count.

    Args:
        rows: rows with labels.
    """
    labels = rows.labels
    if labels.kind == "number":
        return ()
    counts = Counter(str(label) for value in rows.table[rows.column] for label in _each(labels.kind, value))
    if labels.complete:
        ordered = map(str, range(labels.vector) if labels.order is None else labels.order)
    elif labels.order is not None:
        ordered = [name for name in labels.order if name in counts]
    else:
        ordered = sorted(counts, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label))
    return tuple(PlannedLabel(label, counts[label]) for label in ordered)


def _each(kind: str, value) -> tuple:
    return (value,) if kind == "class" else tuple(label for label in value if label is not None)


def label_range(rows: Rows) -> tuple[float, float] | None:
    """Return the minimum and maximum of labels that are numbers; None for other labels.

    Args:
        rows: the rows.
    """
    if rows.labels is None or rows.labels.kind != "number":
        return None
    numbers = [float(n) for value in rows.table.label for n in (value if isinstance(value, tuple) else (value,))]
    return min(numbers), max(numbers)


def mapped_rows(
    rows: Rows, planned: tuple[PlannedLabel, ...], model: ModelLabels, chosen: Mapping | str | None
) -> tuple[Rows, tuple[PlannedLabel, ...], str]:
    """Map labels to the classes of a model.

    Args:
        rows: rows with labels that are no numbers.
        planned: their labels with counts.
        model: the labels of the model.
        chosen: the user's decision for some or all labels, as in `map_labels`.

    Returns:
        Rows with class numbers (lists of them for sets, and for tags, where -100 means no target), the labels with their
        classes, and "name", "number", "order" or "user", for what decided.

    Raises:
        HeadPruneError: if the labels do not fit the classes, or if nothing is left.
    """
    kind, table, left_out = rows.labels.kind, rows.table, []
    labels = [one.label for one in planned]
    mapping = map_labels(labels, model.names, ordered=rows.labels.order, chosen=chosen, in_lists=kind != "class")
    number = mapping.classes
    if kind == "class":
        values = [number[str(label)] for label in table.label]
        drop = [value is None for value in values]
        for one in planned:
            if number[one.label] is None:
                left_out.append(_left_out(table[table.label.map(str) == one.label], f"labeled {one.label!r}"))
    elif kind == "set":
        sets = ({number[str(label)] for label in labels} - {None} for labels in table.label)
        values = list(map(sorted, sets))
        drop = [bool(planned) and set(number.values()) == {None}] * len(values)
    else:
        target = {tag: IGNORED if one is None else one for tag, one in number.items()}
        values = [[IGNORED if tag is None else target[str(tag)] for tag in row] for row in table.tags]
        drop = [set(row) == {IGNORED} for row in values]
        if any(drop):
            left_out.append(_left_out(table[drop], "without a tag of the model"))
    if all(drop):
        raise HeadPruneError("label_mapping leaves out all examples; keep at least one label")
    table = table.assign(**{rows.column: pd.Series(values, index=table.index, dtype=object)})
    table = table[[not flag for flag in drop]].reset_index(drop=True)
    if kind == "class":
        table["label"] = table.label.astype(int)
    names = {label: None if n is None else model.names[n] for label, n in number.items()}
    named = tuple(replace(one, number=number[one.label], class_name=names[one.label]) for one in planned)
    by = "order" if rows.labels.in_order and mapping.by == "name" else mapping.by
    return Rows(table, rows.labels, (*rows.left_out, *left_out)), named, by


def row_features(rows: Rows, class_names: tuple[str, ...] | None, *, mapped: bool) -> datasets.Features:
    """Return the features of a Dataset of the rows, which keep all labels of the column if no model is known.

    Args:
        rows: the rows.
        class_names: names of the classes that label numbers refer to, or None.
        mapped: whether labels are class numbers of a model.
    """
    features = datasets.Features({name: datasets.Value("string") for name in rows.table.columns.drop("row")})
    if "tokens" in features:
        features["tokens"] = datasets.List(datasets.Value("string"))
    if rows.labels is not None:
        features[rows.column] = _label_feature(rows, class_names, mapped)
    return features


def _label_feature(rows: Rows, class_names, mapped: bool):
    kind, values = rows.labels.kind, rows.table[rows.column]
    if kind == "tags" and mapped:
        return datasets.List(datasets.Value("int64"))
    if class_names is not None:
        feature = datasets.ClassLabel(names=list(class_names))
        return feature if kind == "class" else datasets.List(feature)
    if kind == "number" and isinstance(values.iloc[0], tuple):
        return datasets.List(datasets.Value("float64"))
    if kind in ("class", "number"):
        return label_feature(values)
    if rows.labels.vector is not None:
        return datasets.List(datasets.Value("int64"))
    return datasets.List(label_feature(label for value in values for label in _each(kind, value)))
