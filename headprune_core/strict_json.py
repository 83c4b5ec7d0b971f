"""Strict JSON for results and settings: NumPy values become plain numbers, and NaN and infinities become null."""

import dataclasses
import json
import math
from collections.abc import Mapping

import numpy as np


def as_json(value, *, indent: int | None = 1, ascii_only: bool = False) -> str:
    """Convert a value to strict JSON.

    Args:
        value: any combination of dataclasses, mappings, sequences, NumPy arrays and scalars. Other objects are converted
            to strings, NaN and infinities to null.
        indent: number of spaces per indentation level; None writes one line.
        ascii_only: whether other characters are escaped, so that the text can be printed in every encoding.

    Returns:
        The JSON text.
    """
    return json.dumps(_plain(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _plain(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
