"""How a dataset will be read: file format, columns, labels and the rows that are left out, decided before it is loaded.

A plan is made from all rows. What is certain is taken, what is likely is stated as a guess, and what is ambiguous is an
error that names the choices.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import datasets
import pandas as pd

from .columns import Columns, guess_columns
from .formats.delimited import Dialect
from .formats.word_lines import WordLines
from .model_labels import ModelLabels
from .plan.rows import PlannedLabel, Rows, counted_labels, label_range, mapped_rows, row_features, usable_rows
from .plan.sentences import columns_sentence, labels_sentences, preview
from .source_tables import HubDataset, Source, read_source
from .table_io import LeftOut

_READING = ("encoding", "delimiter", "quoted", "header", "lines")  # arguments of `read_table`


@dataclass(frozen=True)
class ReadingPlan:
    """How a dataset is read, from `plan_examples`; `load_examples` reads it.

    Attributes:
        source: the file name, dataset ID or kind of the source.
        file_type: "csv", "tsv", "jsonl", "json", "parquet", "txt", "conll", "bio", "iob", "hub" or "memory".
        columns: columns of the text, the second text and the label.
        n_rows: number of rows of the source.
        n_examples: number of rows that can be used.
        encoding: encoding of a text file, else None.
        dialect: how the values of a line are separated, for CSV and TSV files and files of one word per line, else None.
        labels: the labels with their counts and classes; empty without labels, and for numbers.
        label_kind: "class" (one per example), "number", "set" (of labels), "tags" (one per word), or None without labels.
        mapped_by: "name", "number", "order" (of zeros and ones) or "user", for how labels become classes; None without a
            model or labels.
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
    dialect: Dialect | WordLines | None = None
    labels: tuple[PlannedLabel, ...] = ()
    label_kind: str | None = None
    mapped_by: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[tuple[str, str], ...] = ()
    split: str | None = None
    class_names: tuple[str, ...] | None = None
    needs_split: bool = True
    usable: Rows | None = field(default=None, repr=False, compare=False)
    found: Source | None = field(default=None, repr=False, compare=False)
    arguments: Mapping = field(default_factory=dict, repr=False, compare=False)

    def preview(self, count: int = 5) -> pd.DataFrame:
        """Return the first rows as they will be read, with names for labels and words with their tags.

        Args:
            count: number of rows.
        """
        names = self.class_names if self.mapped_by else None
        return preview(self.usable, names, count)

    def describe(self, *, examples: bool = True) -> list[str]:
        """Return the plan as sentences: format, columns, labels, rows that are left out, and guesses.

        Args:
            examples: whether to quote an example of the rows that are left out.
        """
        form = [self.file_type if self.file_type in ("hub", "memory") else self.file_type.upper()]
        form += [self.encoding] if self.encoding else []
        form += [self.dialect.describe()] if self.dialect else []
        lines = [
            f"{self.source}: {self.n_examples:,} of {self.n_rows:,} rows can be used ({'; '.join(form)}).",
            columns_sentence(self.columns, tags=self.label_kind == "tags"),
            *labels_sentences(self.usable, self.labels, self.mapped_by),
        ]
        lines += [part.describe(example=examples) for part in self.left_out]
        return lines + [f"Guess: {sentence}" for _, sentence in self.guesses]

    @property
    def label_range(self) -> tuple[float, float] | None:
        """Minimum and maximum of labels that are numbers; None for other labels."""
        return label_range(self.usable)

    @property
    def rows(self) -> pd.DataFrame:
        """The rows that can be used, with their labels and their numbers in the source."""
        return self.usable.table

    @property
    def table(self) -> pd.DataFrame:
        """The rows that can be used, with the columns text, text_pair, tokens, label and tags, as far as there are any."""
        table = self.rows.drop(columns="row")
        vector = None if self.usable.labels is None or self.mapped_by else self.usable.labels.vector
        if vector is not None:
            table["label"] = [[int(i in labels) for i in range(vector)] for labels in table.label]
        return table

    @property
    def features(self) -> datasets.Features:
        """The features of a Dataset of the rows."""
        return row_features(self.usable, self.class_names, mapped=self.mapped_by is not None)

    @property
    def settings(self) -> dict[str, object]:
        """Arguments of `plan_examples` that give this plan again, without the source and the model."""
        fixed = {"text_column": self.columns.text, "text_pair_column": self.columns.pair}
        fixed["label_column"] = self.columns.label or False
        stated = {setting for setting, _ in self.guesses}
        detected = {"encoding": self.encoding} | (vars(self.dialect) if self.dialect else {})
        detected["label_separator"] = None if self.usable.labels is None else self.usable.labels.separator
        fixed |= {name: value for name, value in detected.items() if name in stated}
        named = {name: value for name, value in self.arguments.items() if name not in ("source", "model", "split", *fixed)}
        return {name: value for name, value in (fixed | named).items() if value is not None}

    def for_model(self, model) -> "ReadingPlan":
        """Return the plan with labels read and mapped as a model needs them, if it was made without this model.

        Args:
            model: a PrunableModel, or anything else that `plan_examples` takes as a model.

        Raises:
            HeadPruneError: if the labels do not fit the model.
        """
        if ModelLabels.of(model) in (None, ModelLabels.of(self.arguments["model"])):
            return self
        return _mapped(_read(self.found, {**self.arguments, "model": model}))

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
        arguments = {**dict.fromkeys(self.arguments), **self.settings, "model": self.arguments["model"], "split": split}
        arguments["source"] = HubDataset(source.name) if isinstance(source, Source) else source
        return _mapped(_read(_source(arguments), arguments), strict=False)

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
    label_column: str | bool | Sequence[str] | None = None,
    label_mapping: Mapping | str | None = None,
    label_separator: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quoted: bool | None = None,
    header: bool | None = None,
    lines: str | None = None,
    subset: str | None = None,
    split: str = "calibration",
) -> ReadingPlan:
    r"""Plan how a dataset is read.

    Label sets of multi-label models are lists of names or numbers, vectors of zeros and ones, names in one cell, or one
    column of zeros and ones for each label. Token classifiers need a column of lists of words and one of their tags, or a
    file with one word and its tag per line.

    Args:
        source: a file (CSV, TSV, JSON, JSON lines, Parquet, plain text or CoNLL; its path, or an open binary file with a
            name), a Hugging Face dataset ID, a Dataset, a pandas DataFrame, or a list of texts or (text, label) pairs.
        model: a PrunableModel or the class names of a model, to which labels are mapped; None to keep labels as they are.
        text_column: name of the column of the text or of lists of words; None to find it.
        text_pair_column: name of the column with the second text of a pair; None to find it, False for single texts.
        label_column: name of the label column, or names of one column of zeros and ones for each label; None to find it,
            False for no labels.
        label_mapping: class (name or number) of some or all labels of the data. None excludes a label: its examples are
            left out, it is dropped from sets, or words with this tag have no target. "numbers" if the labels are the class
            numbers of the model. Without a model it is applied by `for_model`.
        label_separator: what separates the labels of a set in a cell of text; None to detect it, "" for nothing.
        encoding: encoding of a text file; None to detect it.
        delimiter: delimiter of a CSV or TSV file; None to detect it.
        quoted: whether double quotes enclose values in a CSV or TSV file; None to detect it.
        header: whether a CSV or TSV file has column names in its first row; None to detect it.
        lines: "examples" or "words" (with their tags), for what a line of a text file contains; None to detect it.
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
    arguments = dict(locals())
    return _mapped(_read(_source(arguments), arguments))


def plan_unmapped(source, *, model, **arguments) -> ReadingPlan:
    """Plan how a dataset is read for a model, but leave its labels as they are.

    Args:
        source: as in `plan_examples`.
        model: as in `plan_examples`.
        **arguments: other arguments of `plan_examples`.

    Returns:
        The plan, whose labels may not fit the model.

    Raises:
        HeadPruneError: as in `plan_examples`, except for unknown labels.
    """
    arguments = {**inspect.getfullargspec(plan_examples).kwonlydefaults, **arguments, "source": source, "model": model}
    return _read(_source(arguments), arguments)


def _source(arguments: Mapping) -> Source:
    reading = {name: arguments[name] for name in _READING}
    return read_source(arguments["source"], arguments["subset"], arguments["split"], reading)


def _read(found: Source, arguments: Mapping) -> ReadingPlan:
    """The plan for rows that have been read, with labels as they are."""
    model = ModelLabels.of(arguments["model"])
    named = (arguments[name] for name in ("text_column", "text_pair_column", "label_column"))
    columns, guesses = guess_columns(found.table, *named, model)
    known = arguments["label_mapping"] or ()
    if isinstance(known, str):
        known = range(0 if model is None else len(model.names))
    rows = usable_rows(
        found,
        columns,
        guesses,
        model=model,
        separator=arguments["label_separator"],
        known=frozenset(map(str, known)),
    )
    labels = rows.labels
    return ReadingPlan(
        source=found.name,
        file_type=found.file_type,
        columns=columns if labels is not None else replace(columns, label=None),
        n_rows=len(found.table) + sum(part.count for part in found.left_out),
        n_examples=len(rows.table),
        encoding=found.encoding,
        dialect=found.dialect,
        labels=() if labels is None else counted_labels(rows),
        label_kind=None if labels is None else labels.kind,
        left_out=(*found.left_out, *rows.left_out),
        guesses=(*found.guesses, *guesses),
        split=None if found.needs_split else arguments["split"],
        class_names=None if labels is None else labels.order,
        needs_split=found.needs_split,
        usable=rows,
        found=found,
        arguments=arguments,
    )


def _mapped(plan: ReadingPlan, *, strict: bool = True) -> ReadingPlan:
    """The plan with labels mapped to the classes of its model, if it has any.

    Without `strict`, labels that the user has mapped but that do not occur are no error.
    """
    model, chosen = ModelLabels.of(plan.arguments["model"]), plan.arguments["label_mapping"]
    if model is None or model.task in ("language", "translation", "regression") or plan.label_kind is None:
        return plan
    if isinstance(chosen, Mapping) and not strict:
        chosen = {label: number for label, number in chosen.items() if str(label) in {one.label for one in plan.labels}}
    rows, labels, by = mapped_rows(plan.usable, plan.labels, model, chosen)
    return replace(
        plan,
        labels=labels,
        mapped_by=by,
        left_out=(*plan.found.left_out, *rows.left_out),
        usable=rows,
        n_examples=len(rows.table),
        class_names=model.names,
    )
