"""Calibration and evaluation examples from any supported source, as a `datasets.Dataset`.

Its columns are text, text_pair, tokens (words), label and tags, as far as there are any. The classes alternate, so every
prefix is as balanced as the data allow and smaller sets are subsets of larger ones. A table without splits (a file, pasted
lines) is divided by a fixed shuffle, so "calibration" and "evaluation" never share a row. Tokenizing is left to `encoding`.
"""

import threading
import warnings
from collections.abc import Sequence

import datasets
import numpy as np
import pandas as pd

from headprune_core.arguments import whole_number
from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model import builtin

from .reading_plan import ReadingPlan, plan_examples
from .tasks import WORDS

CALIBRATION_POOL = 256  # maximum number of calibration rows in a table without splits, and at most a third of the table
TEXT = datasets.Value("string")
_MAKING = threading.Lock()  # creating a Dataset hashes it with dill, which replaces sys.stdout for a moment


def load_examples(
    source="embedded",
    *,
    split: str = "calibration",
    size: int = 32,
    seed: int = 0,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | bool | Sequence[str] | None = None,
    subset: str | None = None,
) -> datasets.Dataset:
    """Load labeled or unlabeled examples.

    Rows that are left out, guesses about the source, and splits with fewer examples than requested cause a HeadPruneWarning.

    Args:
        source: "embedded" (or its alias "builtin") for the built-in dataset, a plan from `plan_examples`, or anything that
            `plan_examples` reads: a file, a Hugging Face dataset ID, a Dataset, a DataFrame or a list.
        split: "calibration" or "evaluation"; also "training" for the built-in dataset, and the names of its own splits for a
            Hub dataset.
        size: maximum number of examples.
        seed: seed of the shuffle.
        text_column: name of the text column; None to find it by its usual names.
        text_pair_column: name of the column with the second text of a pair; None to find it.
        label_column: name of the label column, or names of one column of zeros and ones for each label; None to find it,
            False for no labels.
        subset: subset (configuration) of a Hub dataset.

    Returns:
        Dataset with up to `size` rows and the columns text, text_pair (if any), label (if any; lists for label sets), and,
        for words with tags, tokens and tags. With a plan for a model, labels are class numbers of the model.

    Raises:
        HeadPruneError: if the source cannot be read, is ambiguous or has no usable rows.

    Example:
        >>> calibration = load_examples("reviews.csv", size=64)
        >>> evaluation = load_examples("reviews.csv", split="evaluation", size=500)
    """
    columns = (text_column, text_pair_column, label_column)
    examples, notes = read_examples(source, split=split, size=size, seed=seed, columns=columns, subset=subset)
    for note in notes:
        warnings.warn(note, HeadPruneWarning, stacklevel=2)
    return examples


def read_examples(source="embedded", *, split="calibration", size=32, seed=0, columns=(None,) * 3, subset=None):
    """Load examples like `load_examples`, but return the notes instead of issuing warnings.

    Args:
        source: as in `load_examples`.
        split: as in `load_examples`.
        size: as in `load_examples`.
        seed: as in `load_examples`.
        columns: names of the text, text pair and label columns, None for those to be found.
        subset: as in `load_examples`.

    Returns:
        The Dataset, and a list of sentences about rows that are left out and about guesses.

    Raises:
        HeadPruneError: if the source cannot be read, is ambiguous or has no usable rows, or if size or seed is no possible
            number.
    """
    size, seed = whole_number("size", size, 1), whole_number("seed", seed, 0)
    if builtin.is_builtin(source):
        table, notes = builtin.rows(split), []
        features = datasets.Features({"text": TEXT, "label": datasets.ClassLabel(names=list(builtin.LABELS))})
    else:
        if isinstance(source, ReadingPlan):
            plan = source.for_split(split)
        else:
            names = dict(zip(("text_column", "text_pair_column", "label_column"), columns, strict=True))
            plan = plan_examples(source, **names, subset=subset, split=split)
        table, features = plan.table, plan.features
        notes = plan.notes
        if plan.needs_split:
            table = _part_of_table(table, split)
    table = table.iloc[balanced_order(table, seed)[:size]]
    if len(table) < size:
        notes.append(f"Requested {size} examples, but the {split} split has only {len(table)}; using all of them.")
    return _dataset(table, features), notes


def as_examples(texts: Sequence[str]) -> datasets.Dataset:
    """Return texts as an unlabeled Dataset, in their order and without splitting.

    Args:
        texts: the texts.
    """
    return _dataset(pd.DataFrame({"text": list(texts)}), datasets.Features({"text": TEXT}))


def overlap(first: datasets.Dataset, second: datasets.Dataset) -> int:
    """Count the examples of one dataset that are also in another, by their model inputs.

    Args:
        first: a dataset.
        second: another dataset.

    Returns:
        Number of examples of `second` that are in `first`.
    """
    known = set(_contents(first))
    return sum(content in known for content in _contents(second))


def describe_overlap(n_overlap: int) -> str:
    """Describe the overlap of training and evaluation sets as the last part of a sentence.

    Args:
        n_overlap: number of evaluation examples in the training set.
    """
    if n_overlap == 0:
        return "it contains no evaluation examples"
    if n_overlap == 1:
        return "it contains 1 evaluation example"
    return f"it contains {n_overlap} evaluation examples"


def _contents(examples: datasets.Dataset) -> list[str]:
    inputs = ("text", "text_pair", *WORDS, "input_ids", "pixel_values", "image")
    names = [name for name in inputs if name in examples.column_names]
    return [repr([row[name] for name in names]) for row in examples]


def balanced_order(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Shuffle the rows of a table so that the classes alternate; without labels, just shuffle them.

    Args:
        table: table with an optional column label.
        seed: seed of the shuffle.

    Returns:
        Row numbers in their new order.
    """
    shuffled = np.random.default_rng(seed).permutation(len(table))
    if "label" not in table:
        return shuffled
    labels = table.label.iloc[shuffled].map(str)  # a set of labels is a class here
    turn = labels.groupby(labels.to_numpy(), sort=False).cumcount().to_numpy()
    return shuffled[np.argsort(turn, kind="stable")]


def _part_of_table(table: pd.DataFrame, split: str) -> pd.DataFrame:
    order = balanced_order(table, seed=0)
    n_calibration = min(CALIBRATION_POOL, max(1, len(table) // 3))
    part = order[:n_calibration] if split == "calibration" else order[n_calibration:]
    if split not in ("calibration", "evaluation"):
        raise HeadPruneError(f"split of a table must be 'calibration' or 'evaluation', got {split!r}")
    if len(part) == 0:
        raise HeadPruneError(
            f"the table has only {len(table)} usable row; at least 2 are needed for separate calibration and evaluation sets"
        )
    return table.iloc[part].reset_index(drop=True)


def _dataset(table: pd.DataFrame, features: datasets.Features) -> datasets.Dataset:
    return make_dataset({name: table[name].to_list() for name in table}, features)


def make_dataset(columns: dict[str, list], features: datasets.Features | None = None) -> datasets.Dataset:
    """Return a Dataset; unlike `Dataset.from_dict`, threads can call this function at the same time.

    Args:
        columns: the values by column.
        features: types of the columns, or None.
    """
    with _MAKING:
        return datasets.Dataset.from_dict(columns, features=features)
