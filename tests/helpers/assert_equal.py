"""Bitwise comparison of results."""

import dataclasses

import numpy as np
import pandas as pd


def same(first, second) -> bool:
    """Return True if two results are bitwise identical: DataFrames, dataclasses, dicts, lists and arrays; NaN equals NaN."""
    if type(first) is not type(second):
        return False
    if isinstance(first, pd.DataFrame):
        return first.equals(second) and list(first.dtypes) == list(second.dtypes)
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first) if field.name not in ("grid", "settings")]
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, np.ndarray):
        floats = np.issubdtype(first.dtype, np.floating)
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=floats)
    return first == second or (first != first and second != second)
