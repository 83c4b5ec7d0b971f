"""Read a custom ranking of heads from a table. As with every criterion, the lowest value is pruned first.

Two formats are accepted: a table with the columns row (or layer), head, and score (or rank, or value), with one line per
head in any order; and a matrix of R lines with H numbers each, without a header.
"""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

ROWS, HEADS, VALUES = ("row", "layer"), ("head",), ("score", "rank", "value")
LARGEST = 4 * 2**20  # bytes; a ranking of ten thousand heads has about a tenth of this size
_LONGEST = 40  # characters of a name or value in an error message
_EXPECTED = "expected the columns row, head and score, or a matrix of numbers without a header"


def read_ranking(source, grid) -> np.ndarray:
    """Read a custom ranking.

    Args:
        source: A DataFrame, the path of a CSV file, or an open one (text or bytes). Separators may be commas, semicolons or
            tabs; rows may be given by number or by label ("encoder 0").
        grid: The HeadGrid of the model.

    Returns:
        The ranking (R, H), float64; the lowest value is pruned first.

    Raises:
        HeadPruneError: If the source cannot be read or is too large, if a head is unknown, duplicate or missing, or if a
            value is not a finite number.
    """
    if isinstance(source, pd.DataFrame):
        table, cells = source, source.to_numpy()
        names = [str(name).strip().lower() for name in table.columns]
        is_matrix = all(isinstance(name, int) for name in table.columns)
    else:
        cells = _cells(source)
        names = [name.strip().lower() for name in cells[0]]
        is_matrix = all(_is_number(name) for name in names)
        cells = np.array(cells if is_matrix else cells[1:], object).reshape(-1, len(names))
    return _from_matrix(cells, grid) if is_matrix else _from_table(cells, names, grid)


def _cells(source) -> list[list[str]]:
    """Return the lines of a CSV file as lists of the same length."""
    try:
        if isinstance(source, (str, Path)):
            with Path(source).open("rb") as file:
                data = file.read(LARGEST + 1)
        else:
            data = source.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise HeadPruneError(
                f"the ranking must have at most {LARGEST:,} bytes; choose a CSV file with one line per head"
            )
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise HeadPruneError("the ranking is not UTF-8 text; choose a CSV file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise HeadPruneError(f"cannot open the ranking {repr(str(source))[1:-1]}: {reason}; choose a CSV file") from error
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise HeadPruneError(f"the ranking is not valid CSV: {error}") from error
    if not lines:
        raise HeadPruneError(f"the ranking is empty; {_EXPECTED}")
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise HeadPruneError(
                f"line {number + 1} of the ranking must have {len(lines[0])} cells, as the first, got {len(line)}"
            )
    return lines


def _from_matrix(cells: np.ndarray, grid) -> np.ndarray:
    if cells.shape != tuple(grid.shape):
        raise HeadPruneError(
            f"the ranking must have {grid.shape[0]} rows x {grid.shape[1]} heads, got a matrix of {cells.shape[0]} x "
            f"{cells.shape[1]}; change it, or add a header with row, head and score"
        )
    return np.array([[_number(cell, f"row {r}, head {h}") for h, cell in enumerate(line)] for r, line in enumerate(cells)])


def _from_table(cells: np.ndarray, names: list[str], grid) -> np.ndarray:
    columns = [next((names.index(name) for name in wanted if name in names), None) for wanted in (ROWS, HEADS, VALUES)]
    if None in columns:
        raise HeadPruneError(f"the ranking has the columns {_short(', '.join(names))}; {_EXPECTED}")
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(getattr(grid, "row_labels", ()))}
    ranking = np.full((rows, heads), np.nan)
    for line in cells:
        row, head, value = (line[column] for column in columns)
        r = labels.get(str(row).strip(), _integer(row))
        h = _integer(head)
        if not (r is not None and h is not None and 0 <= r < rows and 0 <= h < heads):
            raise HeadPruneError(
                f"the ranking lists row {_short(row)}, head {_short(head)}, but the model has rows 0 to {rows - 1} and "
                f"heads 0 to {heads - 1}"
            )
        if not np.isnan(ranking[r, h]):
            raise HeadPruneError(f"the ranking lists row {r}, head {h} twice; remove one of the two lines")
        ranking[r, h] = _number(value, f"row {r}, head {h}")
    missing = np.argwhere(np.isnan(ranking))
    if len(missing):
        r, h = missing[0]
        raise HeadPruneError(
            f"the ranking lists {rows * heads - len(missing)} of {rows * heads} heads, the first missing one is row {r}, "
            f"head {h}; add a line for every head"
        )
    return ranking


def _number(cell, position: str) -> float:
    """Return the cell as a finite number, or raise HeadPruneError with its position."""
    if not (_is_number(cell) and np.isfinite(float(cell))):
        value = _short(cell) or "nothing"
        raise HeadPruneError(f"the ranking must hold finite numbers, got {value!r} for {position}")
    return float(cell)


def _is_number(cell) -> bool:
    if isinstance(cell, str) and ("_" in cell or not cell.isascii()):  # Python reads 1_1 and other digits as numbers
        return False
    try:
        float(cell)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _short(value) -> str:
    """The beginning of a text from a file, on one line and without characters that cannot be printed."""
    text = "".join(c if c.isprintable() else "?" for c in str(value).strip()[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _integer(cell) -> int | None:
    """Return a whole number, also if pandas has written it as 3.0, or None."""
    return int(float(cell)) if _is_number(cell) and float(cell).is_integer() else None
