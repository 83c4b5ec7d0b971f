"""Calibration and evaluation examples, from wherever the user has them, as one kind of `datasets.Dataset`.

Columns: text, text_pair where there is one, label where there is one. Rows come with the classes in turn, so every
prefix is balanced as far as the data allow and smaller sets nest in larger ones. A table of one piece (a file, pasted
lines) is cut in two by a fixed shuffle, so that "calibration" and "evaluation" never share a row. Tokens are not made here.
"""

import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model import builtin

from .table_io import SUFFIXES, read_table

LONGEST_CELL = 100_000  # characters; a longer one is a whole file in a cell, not a text
CALIBRATION_POOL = 256  # rows of a one-piece table that calibration may draw from, at most a third of it
_TEXT = ("text", "sentence", "sentence1", "premise", "question", "content", "review", "tweet", "comment", "document")
_PAIRS = {"sentence1": "sentence2", "premise": "hypothesis", "question1": "question2", "question": "sentence"}
_LABEL = ("label", "labels", "sentiment", "class", "category", "target", "airline_sentiment")


_MAKING = threading.Lock()  # a new Dataset is hashed with dill, which puts another sys.stdout in place for a moment


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are the text, its second part and the label."""

    text: str
    pair: str | None = None
    label: str | None = None


def load_examples(
    source="embedded",
    *,
    split: str = "calibration",
    size: int = 32,
    seed: int = 0,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    subset: str | None = None,
) -> datasets.Dataset:
    """Up to `size` examples of `split` as a Dataset with columns text (and text_pair) and label.

    source: "embedded", a file, a Hugging Face data set id, a pandas DataFrame, or a list of texts (or of (text, label)).
    split: "calibration" or "evaluation"; for a Hub data set also its own split names.
    Warns (HeadPruneWarning) about what was left out; raises HeadPruneError where nothing usable is left.
    """
    columns = (text_column, text_pair_column, label_column)
    examples, notes = read_examples(source, split=split, size=size, seed=seed, columns=columns, subset=subset)
    for note in notes:
        warnings.warn(note, HeadPruneWarning, stacklevel=2)
    return examples


def read_examples(source="embedded", *, split="calibration", size=32, seed=0, columns=(None,) * 3, subset=None):
    """`load_examples` for callers that show notes themselves: returns (Dataset, list of sentences)."""
    if size < 1:
        raise HeadPruneError(f"{size} examples were asked for; expected at least 1")
    if isinstance(source, str) and source == "embedded":
        table, names, notes = builtin.rows(split), builtin.LABELS, []
    else:
        table, names, division = _table(source, subset, split)
        table, notes = clean(table, guess_columns(table, *columns))
        if division:
            table = _half(table, split)
    table = table.iloc[balanced_order(table, seed)[:size]]
    if len(table) < size:
        notes.append(f"{size} examples were asked for, the {split} split has {len(table)}: all of them are used.")
    return _dataset(table, names), notes


def as_examples(texts: Sequence[str]) -> datasets.Dataset:
    """Texts as they are, in their order, without labels and with none set apart."""
    return _dataset(pd.DataFrame({"text": list(texts)}), None)


def overlap(first: datasets.Dataset, second: datasets.Dataset) -> int:
    """How many examples of `second` are in `first` too, by what the model reads of them."""
    known = set(_contents(first))
    return sum(content in known for content in _contents(second))


def describe_overlap(shared: int) -> str:
    """How many of the examples measured on are among those learned from, as the end of a sentence."""
    if shared == 0:
        return "no text that was measured on is among them"
    if shared == 1:
        return "1 text that was measured on is among them"
    return f"{shared} texts that were measured on are among them"


def _contents(examples: datasets.Dataset) -> list[str]:
    names = [n for n in ("text", "text_pair", "input_ids", "pixel_values", "image") if n in examples.column_names]
    return [repr([row[name] for name in names]) for row in examples]


def guess_columns(table: pd.DataFrame, text=None, pair=None, label=None) -> Columns:
    """Take the columns given and find the others by their usual names."""
    there = list(table.columns)
    for asked in (text, pair, label):
        if asked is not None and asked not in there:
            raise HeadPruneError(f"there is no column {asked!r}; the table has {', '.join(there)}")
    if text is None:
        strings = [c for c in there if _is_text(table[c])]
        labels = [c for c in strings if c.lower() in _LABEL]
        usual = [c for name in _TEXT for c in strings if c.lower() == name]
        rest = [c for c in strings if c not in labels]
        if not usual and len(rest) != 1:
            found = ", ".join(there)
            raise HeadPruneError(f"no column of text was found among {found}; expected one named text, or say which")
        text = (usual or rest)[0]
        pair = pair or (_PAIRS[text] if _PAIRS.get(text) in there else None)
    if not _is_text(table[text]):
        raise HeadPruneError(f"column {text!r} holds {table[text].dtype} values; expected text")
    label = label or next((c for name in _LABEL for c in there if c.lower() == name and c != text), None)
    return Columns(text, pair, label)


def clean(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, list[str]]:
    """Columns text (text_pair, label) without empty, unlabelled and repeated rows, and a note on each kind left out."""
    parts = {"text": table[columns.text]} | ({"text_pair": table[columns.pair]} if columns.pair else {})
    texts = pd.DataFrame({name: part.fillna("").astype(str).str.strip() for name, part in parts.items()})
    texts = texts.reset_index(drop=True)
    longest = texts.apply(lambda column: column.str.len()).max(axis=1)
    if longest.max() > LONGEST_CELL:
        raise HeadPruneError(
            f"row {longest.idxmax() + 1} holds a text of {longest.max():,} characters; expected at most {LONGEST_CELL:,}: "
            "split it into single texts"
        )
    notes, keep = [], (texts != "").all(axis=1)
    _note(notes, ~keep, "without text")
    if columns.label:
        texts["label"] = table[columns.label].reset_index(drop=True)
        unlabelled = keep & texts.label.isna()
        _note(notes, unlabelled, "without a label")
        keep &= ~unlabelled
    texts = texts[keep]
    repeated = texts.duplicated(list(parts))
    _note(notes, repeated, "that repeat another")
    texts = texts[~repeated].reset_index(drop=True)
    if texts.empty:
        raise HeadPruneError(f"none of the {len(table)} rows can be used; expected text in column {columns.text!r}")
    if columns.label:
        labels = [_plain_label(value) for value in texts.label]
        mixed = len({type(value) for value in labels}) > 1  # numbers beside names: a column has one type
        texts["label"] = [str(value) for value in labels] if mixed else labels
    return texts, notes


def balanced_order(table: pd.DataFrame, seed: int) -> np.ndarray:
    """A shuffle of the row numbers that takes the classes in turn; without labels a plain shuffle."""
    shuffled = np.random.default_rng(seed).permutation(len(table))
    if "label" not in table:
        return shuffled
    turn = table.label.iloc[shuffled].groupby(table.label.iloc[shuffled].to_numpy(), sort=False).cumcount().to_numpy()
    return shuffled[np.argsort(turn, kind="stable")]


def _table(source, subset, split) -> tuple[pd.DataFrame, tuple[str, ...] | None, bool]:
    """The rows, the class names where the source has them, and whether the rows still have to be cut in two."""
    if isinstance(source, pd.DataFrame):
        return source.rename(columns=str), None, True
    if isinstance(source, list | tuple):
        pairs = [(row, None) if isinstance(row, str) else row for row in source]
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise HeadPruneError(
                "a list holds something that is neither a text nor a pair of text and label; expected these alone"
            )
        table = pd.DataFrame(pairs, columns=["text", "label"])
        return (table.drop(columns="label") if table.label.isna().all() else table), None, True
    path = Path(str(source)).expanduser()
    if path.is_file():
        return read_table(path.name, path.read_bytes()), None, True
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or str(source).startswith((".", "~")):
        kinds = ", ".join(SUFFIXES)
        raise HeadPruneError(f"there is no file {source}; expected 'embedded', a file ({kinds}) or a Hub data set id")
    return _hub_table(str(source), subset, split)


def _hub_table(name: str, subset: str | None, split: str):
    try:
        there = datasets.get_dataset_split_names(name, subset)
        own = _own_split(there, split)
        rows = datasets.load_dataset(name, subset, split=own)
    except HeadPruneError:
        raise
    except Exception as error:  # network, missing repository, missing subset and loader errors have no common base
        text = " ".join(str(error).split())
        if re.search("doesn't exist|not found|404|401", text, re.I):
            reason = f"the Hub has no data set {name} that can be read without signing in; check the spelling"
        elif "onfig name" in text or "BuilderConfig" in text:
            reason = f"the data set {name} has several subsets; name one: {text[:160]}"
        else:
            reason = f"the data set {name} could not be fetched ({text[:120]}); check the network, or upload a file"
        raise HeadPruneError(reason) from error
    names = {c: f.names for c, f in rows.features.items() if isinstance(f, datasets.ClassLabel)}
    return rows.to_pandas(), tuple(next(iter(names.values()))) if len(names) == 1 else None, own != split and len(there) == 1


def _own_split(there: list[str], split: str) -> str:
    """A data set's own name for `split`: calibration comes from training rows, evaluation from the others."""
    wanted = {"calibration": ("train",), "evaluation": ("validation", "test")}.get(split, ())
    found = [name for name in (split, *wanted) if name in there]
    if found or (len(there) == 1 and wanted):
        return (found or there)[0]
    raise HeadPruneError(f"the data set has no split {split!r}; expected one of {', '.join(there)}")


def _half(table: pd.DataFrame, split: str) -> pd.DataFrame:
    order = balanced_order(table, seed=0)
    cut = min(CALIBRATION_POOL, max(1, len(table) // 3))
    half = order[:cut] if split == "calibration" else order[cut:]
    if split not in ("calibration", "evaluation"):
        raise HeadPruneError(f"this table has no split {split!r}; expected 'calibration' or 'evaluation'")
    if len(half) == 0:
        raise HeadPruneError(
            f"the table has {len(table)} usable row, and it is used for the scores; expected at least 2, so that accuracy "
            "is measured on other rows"
        )
    return table.iloc[half].reset_index(drop=True)


def _dataset(table: pd.DataFrame, names: tuple[str, ...] | None) -> datasets.Dataset:
    columns = {name: table[name].to_list() for name in table}
    features = None
    if names and "label" in columns and all(isinstance(value, int) for value in columns["label"]):
        features = datasets.Features({name: datasets.Value("string") for name in columns})
        features["label"] = datasets.ClassLabel(names=list(names))
    with _MAKING:
        return datasets.Dataset.from_dict(columns, features=features)


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dropna().infer_objects())


def _plain_label(value):
    """Numbers as int, everything else as text."""
    if isinstance(value, bool | np.bool_ | int | np.integer) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return str(value).strip()


def _note(notes: list[str], rows: pd.Series, what: str) -> None:
    if rows.any():
        notes.append(f"{int(rows.sum())} of {len(rows)} rows {what} were left out.")
