"""Targets of multi-label and regression models from a label column."""

from collections.abc import Sequence

import datasets
import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.model.prunable_model import PrunableModel

from .labels import column_labels, map_labels
from .plan.label_values import as_number

GENERIC = "label_"  # beginning of the names that Transformers gives to labels without names


def example_targets(model: PrunableModel, examples: datasets.Dataset) -> list[list[float]] | None:
    """Return the targets of a multi-label or regression model.

    Args:
        model: the model.
        examples: Dataset with the column label. Multi-label: lists of C zeros and ones in the order of the model's labels,
            or lists of label names or numbers (from 0), or the name of one label. Regression: numbers, or lists of C
            numbers.

    Returns:
        C numbers for each example; None if every label is None.

    Raises:
        HeadPruneError: if a label is missing, or is not of this form.
    """
    values, feature = list(examples["label"]), examples.features["label"]
    values = [value.tolist() if hasattr(value, "tolist") else value for value in values]  # of a Dataset with torch format
    missing = [i for i, value in enumerate(values) if value is None]
    if len(missing) == len(values):
        return None
    if missing:
        raise HeadPruneError(
            f"{len(missing)} of {len(values)} examples have no label (the first is example {missing[0]}); label or remove "
            "them"
        )
    return _label_sets(model, values, feature) if model.task == "multi_label" else _numbers(model, values, feature)


def format_numbers(value) -> str:
    """Return a regression label, a number or several, as text."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return ", ".join(v if isinstance(v, str) else f"{v:g}" for v in values)


def _label_sets(model: PrunableModel, values: list, feature) -> list[list[float]]:
    """Zeros and ones by label. Lists are vectors if all have C entries that are 0 or 1, else they hold names or numbers."""
    count, nameless = len(model.labels), all(name.lower().startswith(GENERIC) for name in model.labels)
    if isinstance(feature, datasets.ClassLabel) and not nameless:
        values = [feature.names[value] for value in values]
    # One class is a set of one label. Its number alone says which one only if the labels of the model have no names.
    is_class = [isinstance(value, str) or (nameless and isinstance(value, int)) for value in values]
    values = [[value] if single else value for value, single in zip(values, is_class, strict=True)]
    odd = next((i for i, value in enumerate(values) if not isinstance(value, Sequence)), None)
    if odd is not None:
        raise HeadPruneError(
            f"{model.name} is a multi-label model, so each label must be a list of {count} zeros and ones, or of label "
            f"names or numbers, or the name of one label; example {odd} has {values[odd]!r}"
        )
    element = getattr(feature, "feature", None)
    named, labels = isinstance(element, datasets.ClassLabel), column_labels(element)
    if not named and labels is None and all(len(value) == count and all(_is_binary(v) for v in value) for value in values):
        return [[float(v) for v in value] for value in values]
    position = {name.casefold(): i for i, name in enumerate(model.labels)}
    mapping = None if labels is None else map_labels(labels, model.labels, in_lists=True).classes
    rows = []
    for number, value in enumerate(values):
        names = [element.names[v] for v in value] if named else value
        if not named and len(set(value)) < len(value) and all(_is_binary(v) for v in value):
            raise HeadPruneError(
                f"example {number} has {value}; expected a vector of {count} zeros and ones, or label numbers without "
                "repetition"
            )
        row = [0.0] * count
        for name in names:
            if mapping is not None:
                row[mapping[str(name)]] = 1.0
                continue
            at = position.get(name.casefold()) if isinstance(name, str) else _class_number(name, count)
            if at is None:
                raise HeadPruneError(
                    f"example {number} has the label {name!r}, which {model.name} does not have; expected lists of {count} "
                    f"zeros and ones, of numbers from 0 to {count - 1}, or of some of {', '.join(model.labels)[:300]}"
                )
            row[at] = 1.0
        rows.append(row)
    return rows


def _numbers(model: PrunableModel, values: list, feature) -> list[list[float]]:
    """C finite numbers for each example; a class is the number that is its name."""
    count, rows = model.model.config.num_labels, []
    if isinstance(feature, datasets.ClassLabel):
        values = [feature.names[value] for value in values]
    for number, value in enumerate(values):
        parts = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        row = [as_number(part) for part in parts]
        if len(row) != count or None in row:
            expected = "a finite number" if count == 1 else f"a list of {count} finite numbers"
            raise HeadPruneError(
                f"{model.name} is a regression model, so each label must be {expected}; example {number} has {value!r}"
            )
        rows.append(row)
    return rows


def _is_binary(value) -> bool:
    return isinstance(value, (bool, int, float, np.number)) and value in (0, 1)


def _class_number(value, count: int) -> int | None:
    return int(value) if isinstance(value, (int, np.integer)) and 0 <= value < count else None
