"""Entities of BIO and IOB2 tags, found by nervaluate, an optional package."""

import importlib
from collections.abc import Sequence

import numpy as np

from headprune_core.model.prunable_model import PrunableModel

INSTALL = "pip install nervaluate"


def entity_tags(model: PrunableModel) -> tuple[str, ...] | None:
    """Return the tags of a token classifier if its entities can be counted, else None.

    Args:
        model: the model.
    """
    return model.labels if _has_bio_tags(model) and _collector() is not None else None


def entity_note(model: PrunableModel) -> str | None:
    """Return why entity F1 is not available for a model with BIO tags, with what to do; None otherwise.

    Args:
        model: the model.
    """
    if not _has_bio_tags(model) or _collector() is not None:
        return None
    return f"Entity F1 is not available, because nervaluate is not installed; run `{INSTALL}`."


def entity_counts(tags: Sequence[str], targets: np.ndarray, predicted: np.ndarray) -> tuple[int, int]:
    """Count the entities of one example that are predicted exactly, with their bounds and type.

    Args:
        tags: names of the classes.
        targets: int (T,), classes of the labeled tokens.
        predicted: int (T,), their predictions.

    Returns:
        The number of entities in both, and the sum of the numbers in each; F1 is twice the first divided by the second.
    """
    collect = _collector()
    found = [{tuple(sorted(one.items())) for one in collect([tags[i] for i in row])} for row in (targets, predicted)]
    return len(found[0] & found[1]), len(found[0]) + len(found[1])


def _has_bio_tags(model: PrunableModel) -> bool:
    others = [name for name in model.labels if name != "O"]
    is_bio = all(name[:2] in ("B-", "I-") for name in others)
    return model.task == "token_classification" and bool(others) and is_bio


def _collector():
    """The function of nervaluate that finds the entities of a list of tags; None if it is not installed."""
    try:
        return importlib.import_module("nervaluate.utils").collect_named_entities
    except (ImportError, AttributeError):
        return None
