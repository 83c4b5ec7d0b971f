"""A mask as a file, and back: JSON for programs, CSV for people, both in the original head numbers.

    {"version": 1, "model": name, "chosen": in words, "shape": [R, H], "row_names": [...], "kept": [[true, ...], ...]}

The CSV has the columns row, head and kept, a line a head. What is read was brought by somebody: it is data of a limited
size, checked head by head against the model it is for.
"""

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid

VERSION = 1
LARGEST = 4 * 2**20  # bytes; a mask of ten thousand heads takes a fiftieth of it
TRUTHS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}  # how spreadsheets write them
_ANOTHER = "choose a mask that was made for this model"
_COLUMNS = "expected the columns row, head and kept, a line for each head"


def mask_json(mask, *, row_names: Sequence[str] = (), model: str = "", chosen: str = "") -> str:
    """The mask (R, H), True = kept, as JSON. row_names: `HeadGrid.row_names`; model, chosen: its name, and how, in words."""
    mask = _checked(mask)
    document = {"version": VERSION, "model": model, "chosen": chosen, "shape": list(mask.shape)}
    head = json.dumps(document | {"row_names": list(row_names)}, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(row) for row in mask.tolist())
    return f'{head},\n "kept": [\n  {lines}\n ]\n}}\n'


def mask_csv(mask) -> str:
    """The mask (R, H), True = kept, as CSV."""
    lines = [f"{row},{head},{str(bool(kept)).lower()}" for (row, head), kept in np.ndenumerate(_checked(mask))]
    return "\n".join(["row,head,kept", *lines]) + "\n"


def read_mask(data: bytes, name: str, grid: HeadGrid) -> np.ndarray:
    """The mask, bool (R, H), True = kept, in a file of `mask_json` or `mask_csv`, for a model of that grid.

    name: what the file is called, which says what it is; it is not opened. Raises HeadPruneError, in one sentence, for any
    file that is no mask of this model, and where no head that the model still has would be left.
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix not in ("json", "csv"):
        raise HeadPruneError(f"{name} is neither .json nor .csv; expected a mask.json or mask.csv as HeadPrune writes them")
    if len(data) > LARGEST:
        raise HeadPruneError(
            f"{name} has more than {LARGEST:,} bytes; expected a mask, which takes less: choose another file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeadPruneError(f"{name} is not text in UTF-8; expected a mask in {suffix.upper()}: export it again") from error
    mask = (_from_json if suffix == "json" else _from_csv)(text, name, grid)
    if not (mask & grid.kept).any():
        there = "" if grid.kept.all() else f" that the model still has ({grid.kept.sum()} of {mask.size})"
        raise HeadPruneError(
            f"{name} removes every head{there}; expected a mask that keeps at least one: keep a head, or choose another file"
        )
    return mask


def _checked(mask) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size or not np.isin(mask, (0, 1)).all():
        raise HeadPruneError(f"the mask has shape {mask.shape} and type {mask.dtype}; expected (R, H) of true and false")
    return mask.astype(bool)


def _from_json(text: str, name: str, grid: HeadGrid) -> np.ndarray:
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(f"{name} is not JSON ({reason}); expected a mask.json as HeadPrune writes it") from error
    if not isinstance(document, dict) or not {"version", "kept"} <= document.keys():
        found = (
            f"the names {', '.join(map(_told, list(document)[:5])) or 'none'}" if isinstance(document, dict) else "no names"
        )
        raise HeadPruneError(f"{name} has {found[:120]}; expected version, shape and kept, as mask_json writes them")
    version, kept = document["version"], document["kept"]
    if type(version) is not int or version != VERSION:
        newer = ": update HeadPrune" if type(version) is int and version > VERSION else ": export the mask again"
        raise HeadPruneError(f"{name} has version {str(version)[:20]!r}; expected {VERSION}{newer}")
    if not isinstance(kept, list) or not all(isinstance(row, list) for row in kept):
        raise HeadPruneError(f"{name} has no matrix under kept; expected {_size(grid)}, a list for each row")
    widths = sorted({len(row) for row in kept})
    if len(kept) != grid.shape[0] or widths != [grid.shape[1]]:
        heads = " or ".join(map(str, widths[:3])) or "no"
        raise HeadPruneError(f"{name} has {len(kept)} rows of {heads} heads; expected {_size(grid)}: {_ANOTHER}")
    names, shape = document.get("row_names") or [], document.get("shape", list(grid.shape))
    if shape != list(grid.shape):
        raise HeadPruneError(
            f"{name} says that its shape is {_told(shape)[:40]} and holds {_size(grid)}; expected the two alike"
        )
    if names and names != list(grid.row_names):
        raise HeadPruneError(
            f"{name} was made for a model whose rows are called {str(names)[:60]}; expected {grid.row_names[0]} and so on: "
            f"{_ANOTHER}"
        )
    return np.array([[_json_truth(value, name, r, h) for h, value in enumerate(row)] for r, row in enumerate(kept)], bool)


def _once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object in which no name comes twice: which of the two was meant, nobody can say."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in it")
    return found


def _json_truth(value, name: str, row: int, head: int) -> bool:
    if value is not True and value is not False and not (type(value) is int and value in (0, 1)):
        raise _no_truth(name, json.dumps(value), row, head)
    return bool(value)


def _from_csv(text: str, name: str, grid: HeadGrid) -> np.ndarray:
    try:
        separator = max(",;\t", key=text.partition("\n")[0].count)
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise HeadPruneError(f"{name} cannot be read as CSV ({error}); {_COLUMNS}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if sorted(header) != ["head", "kept", "row"]:
        raise HeadPruneError(f"{name} has the columns {_told(', '.join(header))[:80] or 'none'}; {_COLUMNS}")
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(grid.row_labels)}
    values = np.full((rows, heads), -1)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != 3:
            raise HeadPruneError(f"{name} has {len(line)} cells in line {number}; expected 3: {', '.join(header)}")
        cells = {column: cell.strip() for column, cell in zip(header, line, strict=True)}
        row, head = labels.get(cells["row"], _whole(cells["row"])), _whole(cells["head"])
        if row not in range(rows) or head not in range(heads):
            found = f"row {_told(cells['row'])[:20]}, head {_told(cells['head'])[:20]}"
            raise HeadPruneError(
                f"{name} names {found}, which is not there; expected {_size(grid)}, numbered from 0: {_ANOTHER}"
            )
        if values[row, head] >= 0:
            raise HeadPruneError(f"{name} has row {row}, head {head} twice; expected every head once: leave one line out")
        truth = TRUTHS.get(cells["kept"].lower())
        if truth is None:
            raise _no_truth(name, repr(cells["kept"][:20]), row, head)
        values[row, head] = truth
    missing = np.argwhere(values < 0)
    if len(missing):
        raise HeadPruneError(
            f"{name} has {values.size - len(missing)} of {values.size} heads, and row {missing[0][0]}, head "
            f"{missing[0][1]} is the first that is missing; expected {_size(grid)}: {_ANOTHER}"
        )
    return values.astype(bool)


def _whole(cell: str) -> int | None:
    """A whole number from 0, also one that a spreadsheet has written as 3.0."""
    digits = cell.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _told(value) -> str:
    """What a file says, on one line and with letters that can be written anywhere."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _size(grid: HeadGrid) -> str:
    return f"{grid.shape[0]} rows of {grid.shape[1]} heads"


def _no_truth(name: str, found: str, row: int, head: int) -> HeadPruneError:
    return HeadPruneError(f"{name} has {found[:40]} at row {row}, head {head}; expected true or false, whether it is kept")
