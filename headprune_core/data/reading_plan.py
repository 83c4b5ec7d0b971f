"""How a dataset will be read: file format, columns, labels and the rows that are left out, decided before it is loaded.

A plan is made from all rows. What is certain is taken, what is likely is stated as a guess, and what is ambiguous is an
error that names the choices.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import datasets
import pandas as pd

from headprune_core.errors import HeadPruneError

from .columns import Columns, guess_columns
from .delimited import Dialect
from .labels import LabelMapping, label_feature, map_labels, measured_labels, plain_label
from .source_tables import Source, read_source
from .table_io import LeftOut

LONGEST_CELL = 100_000  # characters; a longer text is probably a complete file in one cell
_SHORT = 60  # characters of a text that is shown as an example


@dataclass(frozen=True)
class PlannedLabel:
    """What happens to one label of the data.

    Attributes:
        label: the label as it stands in the data.
        count: number of its examples.
        number: class number of the model, or None if its examples are left out or no model was given.
        class_name: name of that class, or None.
    """

    label: str
    count: int
    number: int | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class ReadingPlan:
    """How a dataset is read, from `plan_examples`; `load_examples` reads it.

    Attributes:
        source: the file name, dataset ID or kind of the source.
        file_type: "csv", "tsv", "jsonl", "json", "parquet", "txt", "hub" or "memory".
        columns: columns of the text, the second text and the label.
        n_rows: number of rows of the source.
        n_examples: number of rows that can be used.
        encoding: encoding of a text file, else None.
        dialect: how the values of a CSV or TSV file are separated, else None.
        labels: the labels with their counts and classes; empty without labels.
        mapped_by: "name", "number" or "user", for how labels become classes; None without a model or labels.
        left_out: the rows that are left out, by reason.
        guesses: (setting, sentence) of what is likely but not certain. The settings are arguments of `plan_examples`.
        split: the split that the plan was made from, for a Hub dataset.
    """

    source: str
    file_type: str
    columns: Columns
    n_rows: int
    n_examples: int
    encoding: str | None = None
    dialect: Dialect | None = None
    labels: tuple[PlannedLabel, ...] = ()
    mapped_by: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[tuple[str, str], ...] = ()
    split: str | None = None
    rows: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    class_names: tuple[str, ...] | None = None
    needs_split: bool = True
    arguments: Mapping = field(default_factory=dict, repr=False, compare=False)

    def preview(self, count: int = 5) -> pd.DataFrame:
        """Return the first rows as they will be read, with class names for labels.

        Args:
            count: number of rows.
        """
        table = self.table.head(count)
        if "label" in table and self.mapped_by:
            table["label"] = [self.class_names[number] for number in table.label]
        return table

    def describe(self, *, examples: bool = True) -> list[str]:
        """Return the plan as sentences: format, columns, labels, rows that are left out, and guesses.

        Args:
            examples: whether to quote an example of the rows that are left out.
        """
        form = [self.file_type if self.file_type in ("hub", "memory") else self.file_type.upper()]
        form += [self.encoding] if self.encoding else []
        form += [self.dialect.describe()] if self.dialect else []
        named = {"text": self.columns.text, "second text": self.columns.pair, "labels": self.columns.label}
        columns = ", ".join(f"{what} in {name!r}" for what, name in named.items() if name is not None)
        lines = [
            f"{self.source}: {self.n_examples:,} of {self.n_rows:,} rows can be used ({'; '.join(form)}).",
            f"Columns: {columns}{'' if self.columns.label else '; no labels'}.",
        ]
        if self.labels:
            by = {"name": ", matched by name", "number": ", class numbers counted from 0", "user": "", None: ""}[
                self.mapped_by
            ]
            shown = ", ".join(_label_line(planned, mapped=self.mapped_by is not None) for planned in self.labels[:20])
            lines.append(f"Labels{by}: {shown}{' …' if len(self.labels) > 20 else ''}.")
        lines += [part.describe(example=examples) for part in self.left_out]
        return lines + [f"Guess: {sentence}" for _, sentence in self.guesses]

    @property
    def table(self) -> pd.DataFrame:
        """The rows that can be used, with the columns text, text_pair (if any) and label (if any)."""
        return self.rows.drop(columns="row")

    @property
    def label_feature(self) -> datasets.Value | datasets.ClassLabel | None:
        """The feature of the label column of a Dataset of the rows; None without labels."""
        if "label" not in self.rows:
            return None
        if self.class_names is not None:
            return datasets.ClassLabel(names=list(self.class_names))
        return label_feature(self.rows.label)

    @property
    def settings(self) -> dict[str, object]:
        """Arguments of `plan_examples` that give this plan again, without the source and the model."""
        fixed = {"text_column": self.columns.text, "text_pair_column": self.columns.pair}
        fixed["label_column"] = self.columns.label or False
        stated = {setting for setting, _ in self.guesses}
        detected = {"encoding": self.encoding} | (vars(self.dialect) if self.dialect else {})
        fixed |= {name: value for name, value in detected.items() if name in stated}
        named = {name: value for name, value in self.arguments.items() if name not in ("source", "model", *fixed)}
        return {name: value for name, value in (fixed | named).items() if value is not None}

    def for_model(self, model) -> "ReadingPlan":
        """Return the plan with labels mapped to the classes of a model, if it was made without one.

        Args:
            model: a PrunableModel.

        Raises:
            HeadPruneError: if the labels do not fit the classes.
        """
        classes = _class_names(model)
        if "label" not in self.rows or classes is None or self.mapped_by is not None:
            return self
        mapped = _with_labels(self, classes, self.arguments["label_mapping"])
        return replace(mapped, arguments={**self.arguments, "model": model})

    def for_split(self, split: str) -> "ReadingPlan":
        """Return the plan for another split: a dataset that has splits of its own is read again in the same way.

        Args:
            split: "calibration", "evaluation", or the name of one of the dataset's own splits.

        Raises:
            HeadPruneError: if there is no such split, or if it cannot be read in this way.
        """
        if self.split is None or split == self.split:
            return self
        source = self.arguments["source"]
        source = source.name if isinstance(source, Source) else source
        return plan_examples(source, model=self.arguments["model"], split=split, **self.settings)

    @property
    def notes(self) -> list[str]:
        """Sentences about rows that are left out and about guesses."""
        return [part.describe() for part in self.left_out] + [sentence for _, sentence in self.guesses]


def plan_examples(
    source,
    *,
    model=None,
    text_column: str | None = None,
    text_pair_column: str | bool | None = None,
    label_column: str | bool | None = None,
    label_mapping: Mapping | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quoted: bool | None = None,
    header: bool | None = None,
    subset: str | None = None,
    split: str = "calibration",
) -> ReadingPlan:
    r"""Plan how a dataset is read.

    Args:
        source: a file (CSV, TSV, JSON, JSON lines, Parquet or plain text; its path, or an open binary file with a name), a
            Hugging Face dataset ID, a Dataset, a pandas DataFrame, or a list of texts or (text, label) pairs.
        model: a PrunableModel or the class names of a model, to which labels are mapped; None to keep labels as they are.
        text_column: name of the text column; None to find it.
        text_pair_column: name of the column with the second text of a pair; None to find it, False for single texts.
        label_column: name of the label column; None to find it, False for no labels.
        label_mapping: class (name or number) of some or all labels of the data, None for those whose examples are left out;
            without a model it is applied by `for_model`.
        encoding: encoding of a text file; None to detect it.
        delimiter: delimiter of a CSV or TSV file; None to detect it.
        quoted: whether double quotes enclose values in a CSV or TSV file; None to detect it.
        header: whether a CSV or TSV file has column names in its first row; None to detect it.
        subset: subset (configuration) of a Hub dataset.
        split: "calibration", "evaluation", or the name of a Hub dataset's own split.

    Returns:
        The plan.

    Raises:
        HeadPruneError: if the source cannot be read, has no usable rows, or is ambiguous; the choices are named.

    Example:
        >>> plan = plan_examples("reviews.csv", model=model, label_mapping={"mixed": None})
        >>> print(*plan.describe(), sep="\n")
        >>> calibration = load_examples(plan, size=64)
    """
    reading = {"encoding": encoding, "delimiter": delimiter, "quoted": quoted, "header": header}
    found = read_source(source, subset, split, reading)
    columns, guesses = guess_columns(found.table, text_column, text_pair_column, label_column)
    rows, left_out = _usable(found, columns, guesses)
    class_names = found.class_names.get(columns.label)
    named = {"text_column": text_column, "text_pair_column": text_pair_column, "label_column": label_column}
    named |= {"label_mapping": label_mapping, "subset": subset}
    plan = ReadingPlan(
        source=found.name,
        file_type=found.file_type,
        columns=columns if "label" in rows or not columns.label else replace(columns, label=None),
        n_rows=len(found.table) + sum(part.count for part in found.left_out),
        n_examples=len(rows),
        encoding=found.encoding,
        dialect=found.dialect,
        left_out=(*found.left_out, *left_out),
        guesses=(*found.guesses, *guesses),
        split=split if not found.needs_split else None,
        rows=rows,
        class_names=class_names,
        needs_split=found.needs_split,
        arguments={"source": source, "model": model} | named | reading,
    )
    if "label" not in rows:
        return plan
    return _with_labels(plan, _class_names(model), label_mapping)


def _with_labels(plan: ReadingPlan, classes: tuple[str, ...] | None, chosen: Mapping | None) -> ReadingPlan:
    """The plan with its labels counted and, if the classes of a model are known, mapped to them."""
    counts = Counter(map(str, plan.rows.label))
    if plan.class_names is not None:
        labels = [name for name in plan.class_names if name in counts]
    else:
        labels = sorted(counts, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label))
    if classes is None:
        return replace(plan, labels=tuple(PlannedLabel(label, counts[label]) for label in labels))
    mapping = map_labels(labels, classes, ordered=plan.class_names, chosen=chosen)
    return _mapped(plan, labels, counts, mapping, classes)


def _mapped(plan, labels, counts, mapping: LabelMapping, classes) -> ReadingPlan:
    numbers = [mapping.classes[str(label)] for label in plan.rows.label]
    keep = pd.Series([number is not None for number in numbers], index=plan.rows.index)
    out = []
    for label in labels:
        if mapping.classes[label] is None:
            first = plan.rows[[str(one) == label for one in plan.rows.label]].iloc[0]
            out.append(LeftOut(f"labeled {label!r}", counts[label], int(first["row"]), _shortened(first.text)))
    rows = plan.rows.assign(label=numbers)[keep].reset_index(drop=True)
    if rows.empty:
        raise HeadPruneError("label_mapping leaves out all examples; keep at least one label")
    planned = [
        PlannedLabel(label, counts[label], number, None if number is None else str(classes[number]))
        for label, number in ((label, mapping.classes[label]) for label in labels)
    ]
    return replace(
        plan,
        labels=tuple(planned),
        mapped_by=mapping.by,
        left_out=(*plan.left_out, *out),
        rows=rows.assign(label=rows.label.astype(int)),
        n_examples=len(rows),
        class_names=tuple(map(str, classes)),
    )


def _class_names(model) -> tuple[str, ...] | None:
    """The class names of a model; None if it has none, or if there is no model."""
    if model is None:
        return None
    if hasattr(model, "labels"):
        return tuple(map(str, model.labels)) if model.task == "classification" else None
    return tuple(map(str, model))


def _usable(found: Source, columns: Columns, guesses: list) -> tuple[pd.DataFrame, list[LeftOut]]:
    """The rows with a text and a label, once each, as columns text, text_pair, label and row; and those left out.

    If no row has a label, the examples have none, which is added to the guesses.
    """
    table = found.table.reset_index(drop=True)
    parts = {"text": columns.text} | ({"text_pair": columns.pair} if columns.pair else {})
    texts = pd.DataFrame({name: table[column].fillna("").astype(str).str.strip() for name, column in parts.items()})
    longest = texts.apply(lambda column: column.str.len()).max(axis=1)
    if longest.max() > LONGEST_CELL:
        raise HeadPruneError(
            f"row {found.rows[longest.idxmax()]} has {longest.max():,} characters; the limit is {LONGEST_CELL:,}. Split it "
            "into shorter examples"
        )
    rows, left_out = texts.assign(row=found.rows), []

    def leave_out(drop: pd.Series, reason: str) -> None:
        nonlocal rows
        if drop.any():
            first = rows[drop].iloc[0]
            left_out.append(LeftOut(reason, int(drop.sum()), int(first["row"]), _shortened(first.text)))
        rows = rows[~drop]

    if columns.label:
        names = found.class_names.get(columns.label)
        values = table[columns.label]
        labels = measured_labels(values) if names is None else None
        labels = [_named(value, names) for value in values] if labels is None else labels
        if any(label is not None for label in labels):
            if len({type(label) for label in labels if label is not None}) > 1:
                labels = [None if label is None else str(label) for label in labels]
            rows["label"] = pd.Series(labels, index=rows.index, dtype=object)
        else:
            guesses.append(
                ("label_column", f"No row has a label in column {columns.label!r}: examples are read without labels.")
            )
    leave_out((rows[list(parts)] == "").any(axis=1), "without text")
    if "label" in rows:
        leave_out(rows.label.isna(), "without a label")
    leave_out(rows.duplicated(list(parts)), "with the text of an earlier row")
    if rows.empty:
        raise HeadPruneError(f"none of the {len(table)} rows is usable; column {columns.text!r} must contain text")
    return rows.reset_index(drop=True), left_out


def _named(value, names: tuple[str, ...] | None):
    """The label in plain form; a number with class names becomes its name."""
    label = plain_label(value)
    if names is None or label is None:
        return label
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    raise HeadPruneError(f"label {value!r} is not one of the {len(names)} classes of the dataset")


def _label_line(planned: PlannedLabel, *, mapped: bool) -> str:
    if not mapped:
        return f"{planned.label} ({planned.count:,})"
    return f"{planned.label} → {planned.class_name or 'left out'} ({planned.count:,})"


def _shortened(text: str) -> str:
    text = " ".join(str(text).split())
    return repr(text if len(text) <= _SHORT else text[: _SHORT - 1] + "…") if text else ""
