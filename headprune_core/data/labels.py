"""Labels of the data as classes of the model: by name where names match, by number where there are none, else an error.

The decision uses all labels of the column. A sample of it carries them in the `id` of its feature (`label_feature`).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import datasets
import numpy as np

from headprune_core.errors import HeadPruneError

from .model_labels import GENERIC, ClassNames, listed, plain_name

UNLABELED = frozenset(("-1", "", "-", "none", "nan"))  # by which datasets mark examples without a label
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_MINUS_ONE = re.compile(r"-1(\.0*)?")


@dataclass(frozen=True)
class LabelMapping:
    """Which class of the model each label of the data is.

    Attributes:
        classes: class number of each label, by the text of the label; None for labels whose examples are left out.
        by: "name", "number" or "user", for what decided.
    """

    classes: Mapping[str, int | None]
    by: str


def plain_label(value) -> int | float | str | None:
    """Return a label as an integer if it is one, else as text; None if it marks an example without a label.

    Args:
        value: a label as it stands in the data.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    text = str(value).strip()
    if text.casefold() in UNLABELED:
        return None
    if isinstance(value, bool | np.bool_):
        return int(value)
    if re.fullmatch(r"[-+]?\d+(\.0*)?", text):
        return int(float(text)) if abs(float(text)) < 2**53 else text
    return text


def measured_labels(values: Iterable) -> list[str | None] | None:
    """Return labels that are measurements, such as ratings with fractions, as text with decimal points.

    Args:
        values: the labels of a column.

    Returns:
        The labels, None for empty ones; or None if the column holds class names or class numbers. In a column with
        fractions or numbers below -1, the number -1 is no mark of a missing label.
    """
    texts = [str(value).strip().replace(",", ".") for value in values]
    texts = [None if plain_label(text) is None and not _MINUS_ONE.fullmatch(text) else text for text in texts]
    numbers = [None if text is None else float(text) if _NUMBER.fullmatch(text) else math.nan for text in texts]
    known = [number for number in numbers if number is not None]
    if not known or any(map(math.isnan, known)) or all(number.is_integer() and number >= -1 for number in known):
        return None
    return [None if n is None else str(int(n)) if n.is_integer() else repr(n) for n in numbers]


def is_minus_one(value) -> bool:
    """Return True for -1, which marks an example without a label or is a number.

    Args:
        value: a label as it stands in the data.
    """
    return _MINUS_ONE.fullmatch(str(value).strip()) is not None


def binary_labels(values: Iterable) -> list[int | None] | None:
    """Return labels that are zeros and ones (or true and false), None for empty ones; None if there are others or none.

    Args:
        values: the labels of a column.
    """
    words = {"true": 1, "false": 0}
    labels = [plain_label(value) for value in values]
    labels = [words.get(label.casefold(), label) if isinstance(label, str) else label for label in labels]
    known = {label for label in labels if label is not None}
    return labels if known and known <= {0, 1} else None


def label_feature(labels: Iterable) -> datasets.Value:
    """Return the feature of a label column that also carries all labels, so that a sample of the column keeps them.

    Args:
        labels: all labels of the column, integers or text.
    """
    labels = set(labels)
    dtype = "int64" if all(isinstance(label, int) for label in labels) else "string"
    return datasets.Value(dtype, id=json.dumps(sorted(map(str, labels))))


def column_labels(feature) -> list[str] | None:
    """Return all labels of the column that a sample was drawn from; None if its feature does not carry them.

    Args:
        feature: feature of the column, or of the elements of its lists, from `label_feature`.
    """
    return json.loads(feature.id) if getattr(feature, "id", None) else None


def all_labels(examples: datasets.Dataset) -> tuple[list[str], list[str] | None, bool]:
    """Return all labels of the column that examples were drawn from, as text.

    Args:
        examples: Dataset with a column label.

    Returns:
        The labels, the class names in the order of their numbers (None if the data has none), and whether the labels are
        known to be all of the column rather than those of the examples.
    """
    feature = examples.features["label"]
    if isinstance(feature, datasets.ClassLabel):
        return list(feature.names), list(feature.names), False
    if (labels := column_labels(feature)) is not None:
        return labels, None, True
    found = (plain_label(value) for value in examples["label"])
    return list(dict.fromkeys(str(label) for label in found if label is not None)), None, False


def map_labels(
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    ordered: Sequence[str] | None = None,
    chosen: Mapping | str | None = None,
    whole_column: bool = True,
    in_lists: bool = False,
) -> LabelMapping:
    """Decide which class of the model each label of the data is.

    Args:
        labels: the labels of the data, as text.
        classes: class names of the model.
        ordered: class names of the data in the order of their numbers, if the data has them.
        chosen: the user's decision for some or all labels: a class name, a class number, or None to exclude it; or "numbers"
            if the labels are the class numbers of the model.
        whole_column: whether `labels` are all of the column; then numbers must include 0, because others may count from 1.
        in_lists: whether labels stand in label sets or are tags of words; then numbers are only accepted if the classes have
            no names, because datasets of words number their tags in many orders.

    Returns:
        The class of each label.

    Raises:
        HeadPruneError: if the labels do not fit the classes; the unknown labels and the classes are named.
    """
    if isinstance(chosen, str):
        return _by_numbers(labels, len(classes), ordered, chosen)
    chosen = {str(label): value for label, value in (chosen or {}).items()}
    if foreign := [label for label in chosen if label not in labels]:
        raise HeadPruneError(f"label {foreign[0]!r} is not in the data, which has the labels {listed(labels)}")
    names = ClassNames(classes)
    decided = {label: names.chosen(value) for label, value in chosen.items()}
    rest = [label for label in labels if label not in decided]
    known = {label: names.number(label) for label in rest if names.number(label) is not None}
    if len(known) == len(rest):
        return LabelMapping(known | decided, "user" if chosen else "name")
    if not known and not chosen:
        numbers = [int(label) if re.fullmatch(r"\d+", label) else len(classes) for label in rest]
        nameless = all(map(GENERIC.fullmatch, names.names))
        if max(numbers) < len(classes) and (0 in numbers or not whole_column):
            if in_lists and not nameless:
                raise HeadPruneError(
                    f"the data has label numbers, but the model's classes have names: {names.described()}. Say that they "
                    "are its class numbers (label_mapping='numbers'), or which class each is (label_mapping)"
                )
            return LabelMapping(dict(zip(rest, numbers, strict=True)), "number")
        if ordered and len(ordered) == len(classes) and nameless:
            return LabelMapping({label: ordered.index(label) for label in rest}, "number")
    unknown = [label for label in rest if label not in known]
    plural = "a label" if len(unknown) == 1 else "labels"
    raise HeadPruneError(
        f"the data has {plural} that the model does not have: {listed(unknown)}; the model's classes are "
        f"{names.described()}. Say which class each is, or exclude it with None (label_mapping), or use no labels "
        "(label_column=False)"
    )


def _by_numbers(labels: Sequence[str], count: int, ordered: Sequence[str] | None, chosen: str) -> LabelMapping:
    if chosen != "numbers":
        raise HeadPruneError(f"label_mapping must be a dictionary or 'numbers', got {chosen!r}")
    position = {str(i): i for i in range(count)} if ordered is None else {name: i for i, name in enumerate(ordered[:count])}
    if other := [label for label in labels if label not in position]:
        raise HeadPruneError(f"label_mapping='numbers' needs class numbers from 0 to {count - 1}, got {listed(other)}")
    return LabelMapping({label: position[label] for label in labels}, "number")


def suggested_class(label: str, classes: Sequence[str]) -> int | None:
    """Return the only class whose name begins like a label ("pos" and "positive"), or None.

    Args:
        label: a label of the data.
        classes: class names of the model.
    """
    text = plain_name(label)
    alike = (name.startswith(text) or text.startswith(name) for name in map(plain_name, classes))
    found = [number for number, flag in enumerate(alike) if flag and len(text) > 2]
    return found[0] if len(found) == 1 else None
