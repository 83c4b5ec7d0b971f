"""A user's own ranking of heads, read from a table: lowest goes first, as with every criterion.

Two shapes are taken: a table with the columns row (or layer), head, and score (or rank, or value), one line a head in any
order; and a bare matrix of R lines with H numbers each, without a header.
"""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

ROWS, HEADS, VALUES = ("row", "layer"), ("head",), ("score", "rank", "value")
_EXPECTED = "expected the columns row, head and score, or a matrix of numbers without a header"


def read_ranking(source, grid) -> np.ndarray:
    """The ranking (R, H) in `source`: a DataFrame, the path of a CSV file, or an open one (text or bytes).

    grid: the HeadGrid of the model. Rows go by their numbers or their labels ("encoder 0"). Separators may be commas,
    semicolons or tabs. Raises HeadPruneError where a head is not there, is there twice or is missing, and for what is no
    number.
    """
    if isinstance(source, pd.DataFrame):
        table, cells = source, source.to_numpy()
        names = [str(name).strip().lower() for name in table.columns]
        bare = all(isinstance(name, int) for name in table.columns)
    else:
        cells = _cells(source)
        names = [name.strip().lower() for name in cells[0]]
        bare = all(_is_number(name) for name in names)
        cells = np.array(cells if bare else cells[1:], object).reshape(-1, len(names))
    return _matrix(cells, grid) if bare else _long(cells, names, grid)


def _cells(source) -> list[list[str]]:
    """The lines of a CSV file as lists of one length."""
    try:
        data = Path(source).read_bytes() if isinstance(source, (str, Path)) else source.read()
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except OSError as error:
        raise HeadPruneError(f"the ranking {source} cannot be opened: {error.strerror}; expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise HeadPruneError("the ranking is not text in UTF-8; expected a CSV file") from error
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise HeadPruneError(f"the ranking cannot be read as CSV: {error}") from error
    if not lines:
        raise HeadPruneError(f"the ranking is empty; {_EXPECTED}")
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise HeadPruneError(f"line {number + 1} of the ranking has {len(line)} cells and the first {len(lines[0])}")
    return lines


def _matrix(cells: np.ndarray, grid) -> np.ndarray:
    if cells.shape != tuple(grid.shape):
        raise HeadPruneError(
            f"the ranking is a matrix of {cells.shape[0]} x {cells.shape[1]}; expected {grid.shape[0]} rows x "
            f"{grid.shape[1]} heads, or a header with row, head and score"
        )
    return np.array([[_number(cell, f"row {r}, head {h}") for h, cell in enumerate(line)] for r, line in enumerate(cells)])


def _long(cells: np.ndarray, names: list[str], grid) -> np.ndarray:
    found = [next((names.index(name) for name in wanted if name in names), None) for wanted in (ROWS, HEADS, VALUES)]
    if None in found:
        raise HeadPruneError(f"the ranking has the columns {', '.join(names)}; {_EXPECTED}")
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(getattr(grid, "row_labels", ()))}
    ranking = np.full((rows, heads), np.nan)
    for line in cells:
        row, head, value = (line[column] for column in found)
        r = labels.get(str(row).strip(), _whole(row))
        h = _whole(head)
        if not (r is not None and h is not None and 0 <= r < rows and 0 <= h < heads):
            raise HeadPruneError(
                f"the ranking names row {row}, head {head}, which is not there; expected rows 0 to {rows - 1} and heads 0 "
                f"to {heads - 1}"
            )
        if not np.isnan(ranking[r, h]):
            raise HeadPruneError(f"the ranking has row {r}, head {h} twice; expected every head once")
        ranking[r, h] = _number(value, f"row {r}, head {h}")
    missing = np.argwhere(np.isnan(ranking))
    if len(missing):
        r, h = missing[0]
        raise HeadPruneError(
            f"the ranking has {rows * heads - len(missing)} of {rows * heads} heads, and row {r}, head {h} is the first "
            "that is missing; expected every head once"
        )
    return ranking


def _number(cell, where: str) -> float:
    """A finite number, or an error that says where it is not."""
    if not (_is_number(cell) and np.isfinite(float(cell))):
        raise HeadPruneError(f"the ranking has {str(cell).strip() or 'nothing'!r} at {where}; expected a finite number")
    return float(cell)


def _is_number(cell) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _whole(cell) -> int | None:
    """A whole number, also one that pandas has written as 3.0."""
    return int(float(cell)) if _is_number(cell) and float(cell).is_integer() else None
