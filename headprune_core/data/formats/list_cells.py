"""Lists in table cells: of JSON, Parquet and Datasets, and list literals in text, which are parsed but never evaluated."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

_VALUES = (tokenize.STRING, tokenize.NUMBER, tokenize.NAME)
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
_NEIGHBORS = re.compile(r"""['"\w.]\s*['"]|[\w.]\s+[\w.'"]""")  # possibly two values without a comma between them
_SCALARS = (str, bool, int, float, type(None))


def column_lists(cells: Iterable) -> list[list | None] | None:
    """Return the lists of a column whose cells are lists.

    Args:
        cells: the cells of a column.

    Returns:
        A list of plain Python values for each cell, None for an empty cell; or None if some cell is something else, or if
        all are empty.
    """
    lists, found = [], False
    for cell in cells:
        values = None if is_empty(cell) else cell_list(cell)
        if values is None and not is_empty(cell):
            return None
        found |= values is not None
        lists.append(values)
    return lists if found else None


def cell_list(cell) -> list | None:
    """Return the list in a cell; None if it is no flat list.

    Args:
        cell: a list, tuple, set, array, or text with a list literal of JSON, Python or NumPy, such as "['joy', 'fear']".
    """
    if isinstance(cell, str):
        cell = _literal(cell.strip())
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if isinstance(cell, set | frozenset):
        cell = sorted(cell, key=str)
    if not isinstance(cell, list | tuple):
        return None
    values = [value.item() if hasattr(value, "item") else value for value in cell]
    return values if all(isinstance(value, _SCALARS) for value in values) else None


def is_empty(cell) -> bool:
    """Return True for None, NaN and blank text.

    Args:
        cell: a cell.
    """
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())


@lru_cache(maxsize=1 << 14)  # the same few label sets stand in many rows
def _literal(text: str) -> list | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return _python_literal(text)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
        return None


def _python_literal(text: str) -> list | None:
    """The list of a Python literal, or of an array as NumPy prints it, which has no commas between its values.

    Python joins neighboring strings, so that ['a' 'b'] would be one label. They are separate values here, or the text is no
    list if other values are separated by commas.
    """
    if not _NEIGHBORS.search(text):
        return ast.literal_eval(text)
    inner = list(tokenize.generate_tokens(io.StringIO(text).readline))[1:]
    inner = [token for token in inner if token.type not in _LAYOUT]
    neighbors = any(one.type in _VALUES and other.type in _VALUES for one, other in pairwise(inner))
    if not neighbors:
        return ast.literal_eval(text)
    if inner[-1].string != "]" or any(token.type not in _VALUES for token in inner[:-1]):
        return None
    return [ast.literal_eval(token.string) for token in inner[:-1]]
