"""Write masks to JSON and CSV files, and read them. Both use the original positions of the heads.

    {"version": 1, "model": name, "chosen": description, "shape": [R, H], "row_names": [...], "kept": [[true, ...], ...]}

The CSV has the columns row, head and kept, with one line per head. Files that are read may come from anyone: their size is
limited, and every head is checked against the model.
"""

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

from headprune_core.checked_mask import checked_mask
from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid

VERSION = 1
LARGEST = 4 * 2**20  # bytes; a mask of ten thousand heads has about a fiftieth of this size
TRUTHS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}  # as spreadsheets write them
_OTHER_MODEL = "choose a mask that was made for this model"
_COLUMNS = "expected the columns row, head and kept, with one line per head"


def mask_json(mask, *, row_names: Sequence[str] = (), model: str = "", chosen: str = "") -> str:
    """Return a mask as JSON text.

    Args:
        mask: bool (R, H), True = kept.
        row_names: `HeadGrid.row_names` of the model; checked when the file is read.
        model: Name of the model.
        chosen: Description of how the mask was chosen.

    Returns:
        The JSON text.
    """
    mask = checked_mask(mask)
    document = {"version": VERSION, "model": model, "chosen": chosen, "shape": list(mask.shape)}
    head = json.dumps(document | {"row_names": list(row_names)}, indent=1).removesuffix("\n}")
    rows = ",\n  ".join(json.dumps(row) for row in mask.tolist())
    return f'{head},\n "kept": [\n  {rows}\n ]\n}}\n'


def mask_csv(mask) -> str:
    """Return a mask (R, H), True = kept, as CSV text."""
    lines = [f"{row},{head},{str(bool(kept)).lower()}" for (row, head), kept in np.ndenumerate(checked_mask(mask))]
    return "\n".join(["row,head,kept", *lines]) + "\n"


def read_mask(data: bytes, name: str, grid: HeadGrid) -> np.ndarray:
    """Read a mask from the content of a file written by `mask_json` or `mask_csv`.

    Args:
        data: Content of the file.
        name: Name of the file, whose ending (.json or .csv) determines the format. The file is not opened.
        grid: The HeadGrid of the model.

    Returns:
        bool (R, H), True = kept.

    Raises:
        HeadPruneError: If the file is not a mask for this model, or if the mask keeps none of the model's heads.
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix not in ("json", "csv"):
        raise HeadPruneError(f"mask file must end in .json or .csv, got {name}")
    if len(data) > LARGEST:
        raise HeadPruneError(f"{name} must have at most {LARGEST:,} bytes, got {len(data):,}; choose a mask file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeadPruneError(f"{name} is not UTF-8 text; export the mask again as {suffix.upper()}") from error
    mask = (_from_json if suffix == "json" else _from_csv)(text, name, grid)
    if not (mask & grid.kept).any():
        remaining = "" if grid.kept.all() else f" of the {grid.kept.sum()} of {mask.size} that the model still has"
        raise HeadPruneError(f"{name} prunes every head{remaining}; choose a mask that keeps at least one head")
    return mask


def _from_json(text: str, name: str, grid: HeadGrid) -> np.ndarray:
    try:
        document = json.loads(text, object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(f"{name} is not valid JSON ({reason}); export the mask again") from error
    if not isinstance(document, dict) or not {"version", "kept"} <= document.keys():
        names = ", ".join(map(_printable, list(document)[:5])) if isinstance(document, dict) else ""
        raise HeadPruneError(f"{name} must have the keys version, shape and kept, got {names[:120] or 'none'}")
    version, kept = document["version"], document["kept"]
    if type(version) is not int or version != VERSION:
        action = "update HeadPrune" if type(version) is int and version > VERSION else "export the mask again"
        raise HeadPruneError(f"{name} must have version {VERSION}, got {str(version)[:20]!r}; {action}")
    if not isinstance(kept, list) or not all(isinstance(row, list) for row in kept):
        raise HeadPruneError(f"kept in {name} must be a list of {_size(grid)}, one list per row")
    widths = sorted({len(row) for row in kept})
    if len(kept) != grid.shape[0] or widths != [grid.shape[1]]:
        heads = " or ".join(map(str, widths[:3])) or "no"
        raise HeadPruneError(f"{name} must have {_size(grid)}, got {len(kept)} rows of {heads} heads; {_OTHER_MODEL}")
    names, shape = document.get("row_names") or [], document.get("shape", list(grid.shape))
    if shape != list(grid.shape):
        raise HeadPruneError(f"shape in {name} must match its {_size(grid)}, got {_printable(shape)[:40]}")
    if names and names != list(grid.row_names):
        raise HeadPruneError(
            f"{name} was made for a model with rows named {str(names)[:60]}, not {grid.row_names[0]}, ...; {_OTHER_MODEL}"
        )
    return np.array([[_json_bool(value, name, r, h) for h, value in enumerate(row)] for r, row in enumerate(kept)], bool)


def _unique_names(pairs: list[tuple[str, object]]) -> dict:
    """Return a JSON object, and refuse one with a duplicate name, because either value could be meant."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("duplicate name")
    return document


def _json_bool(value, name: str, row: int, head: int) -> bool:
    if value is not True and value is not False and not (type(value) is int and value in (0, 1)):
        raise _not_boolean(name, json.dumps(value), row, head)
    return bool(value)


def _from_csv(text: str, name: str, grid: HeadGrid) -> np.ndarray:
    try:
        separator = max(",;\t", key=text.partition("\n")[0].count)
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise HeadPruneError(f"{name} is not valid CSV ({error}); {_COLUMNS}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if sorted(header) != ["head", "kept", "row"]:
        raise HeadPruneError(f"{name} has the columns {_printable(', '.join(header))[:80] or 'none'}; {_COLUMNS}")
    rows, heads = grid.shape
    labels = {label: row for row, label in enumerate(grid.row_labels)}
    values = np.full((rows, heads), -1)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != 3:
            raise HeadPruneError(f"line {number} of {name} must have 3 cells ({', '.join(header)}), got {len(line)}")
        cells = {column: cell.strip() for column, cell in zip(header, line, strict=True)}
        row, head = labels.get(cells["row"], _index(cells["row"])), _index(cells["head"])
        if row not in range(rows) or head not in range(heads):
            unknown = f"row {_printable(cells['row'])[:20]}, head {_printable(cells['head'])[:20]}"
            raise HeadPruneError(
                f"the model has no {unknown}, which {name} lists; it has {_size(grid)}, numbered from 0: {_OTHER_MODEL}"
            )
        if values[row, head] >= 0:
            raise HeadPruneError(f"{name} lists row {row}, head {head} twice; remove one of the two lines")
        kept = TRUTHS.get(cells["kept"].lower())
        if kept is None:
            raise _not_boolean(name, repr(cells["kept"][:20]), row, head)
        values[row, head] = kept
    missing = np.argwhere(values < 0)
    if len(missing):
        raise HeadPruneError(
            f"{name} lists {values.size - len(missing)} of {values.size} heads, the first missing one is row "
            f"{missing[0][0]}, head {missing[0][1]}; {_OTHER_MODEL}"
        )
    return values.astype(bool)


def _index(cell: str) -> int | None:
    """Return a whole number from 0, also if a spreadsheet has written it as 3.0, or None."""
    digits = cell.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _printable(value) -> str:
    """Return text from a file on one line, without characters that cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _size(grid: HeadGrid) -> str:
    return f"{grid.shape[0]} rows of {grid.shape[1]} heads"


def _not_boolean(name: str, value: str, row: int, head: int) -> HeadPruneError:
    return HeadPruneError(f"kept in {name} must be true or false, got {value[:40]} for row {row}, head {head}")
