"""Reading of uploaded files as tables: CSV, TSV, JSON lines, JSON, Parquet and plain text, without unpickling.

The content of a file must match its extension; otherwise the error names the detected format. Choosing columns and rows is
left to `examples`.
"""

import io
from pathlib import Path

import pandas as pd

from headprune_core.errors import HeadPruneError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt")
_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or an Office document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}


def read_table(name: str, data: bytes) -> pd.DataFrame:
    """Read a file as a table.

    Args:
        name: file name, whose extension determines the format.
        data: content of the file.

    Returns:
        The table, with at least one row.

    Raises:
        HeadPruneError: if the extension is not supported, or the content is empty, invalid or of another format.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise HeadPruneError(f"file extension of {name} must be one of {', '.join(SUFFIXES)}, got {suffix or 'none'}")
    if not data.strip():
        raise HeadPruneError(f"{name} is empty; it must contain a table with a text column")
    looks_like = next((what for magic, what in _MAGIC.items() if data.startswith(magic)), None)
    if looks_like is None and b"\0" in data[:65536] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        looks_like = "binary data"
    expected = "a Parquet file" if suffix == ".parquet" else None
    if looks_like != expected:
        raise HeadPruneError(
            f"{name} looks like {looks_like or 'plain text'}, not {expected or 'plain text'}; fix the file extension or "
            "export it again"
        )
    try:
        table = _READERS[suffix](data)
    except HeadPruneError as error:
        raise HeadPruneError(f"{name}: {error}") from error
    except Exception as error:  # pandas and pyarrow raise a dozen types for a malformed file
        raise HeadPruneError(f"{name} cannot be read as {suffix[1:]}: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise HeadPruneError(f"{name} has no rows; at least 1 is needed")
    table.columns = [str(column) for column in table.columns]
    return table


def lines_table(text: str) -> pd.DataFrame:
    """Parse lines of text, optionally with labels.

    Args:
        text: one example per line, optionally followed by a tab and its label.

    Returns:
        Table with a column text and, if the lines have labels, label.

    Raises:
        HeadPruneError: if there are no lines, or only some of them have labels.
    """
    lines = [line.rsplit("\t", 1) for line in text.splitlines() if line.strip()]
    if not lines:
        raise HeadPruneError("no text found; enter one example per line, optionally followed by a tab and its label")
    labeled = sum(len(line) == 2 for line in lines)
    if 0 < labeled < len(lines):
        raise HeadPruneError(f"{labeled} of {len(lines)} lines have a label after a tab; label all lines or none")
    return pd.DataFrame(lines, columns=["text", "label"][: 2 if labeled else 1])


def _text(data: bytes) -> io.StringIO:
    for encoding in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            return io.StringIO(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    raise ValueError("its encoding is not UTF-8, UTF-16 or Windows-1252")


def _delimited(data: bytes, separator: str) -> pd.DataFrame:
    # An empty cell is a missing value; the words None, null and NA are ordinary text.
    table = pd.read_csv(_text(data), sep=separator, keep_default_na=False, na_values=[""])
    if not isinstance(table.index, pd.RangeIndex):  # pandas would use the first values as row names
        raise ValueError("its rows have more values than its header has names; quote text that contains the separator")
    return table


_READERS = {
    ".csv": lambda data: _delimited(data, ","),
    ".tsv": lambda data: _delimited(data, "\t"),
    ".jsonl": lambda data: pd.read_json(_text(data), lines=True),
    ".json": lambda data: pd.read_json(_text(data)),
    ".parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
    ".txt": lambda data: lines_table(_text(data).read()),
}
