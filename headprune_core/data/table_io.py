"""Files that users bring, read as tables: CSV, TSV, JSON lines, JSON, Parquet and plain lines, from bytes. Data only, never
unpickled.

What a file is called and what it holds must agree; where they do not, the error says which of the two it looks like.
Which column is text and which rows count is decided in `examples`.
"""

import io
from pathlib import Path

import pandas as pd

from headprune_core.errors import HeadPruneError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt")
_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or an Office document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}


def read_table(name: str, data: bytes) -> pd.DataFrame:
    """The table in `data`, by the ending of `name`. Raises HeadPruneError where it is not what its name says."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise HeadPruneError(f"{name} ends in {suffix or 'nothing'}; expected a file ending in {', '.join(SUFFIXES)}")
    if not data.strip():
        raise HeadPruneError(f"{name} is empty; expected a table with a column of text")
    looks_like = next((what for magic, what in _MAGIC.items() if data.startswith(magic)), None)
    if looks_like is None and b"\0" in data[:65536] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        looks_like = "binary data"
    expected = "a Parquet file" if suffix == ".parquet" else None
    if looks_like != expected:
        raise HeadPruneError(
            f"{name} holds {looks_like or 'plain text'}; expected {expected or 'text'}, as its name says: "
            "rename it to what it is, or export it again"
        )
    try:
        table = _READERS[suffix](data)
    except HeadPruneError as error:
        raise HeadPruneError(f"{name}: {error}") from error
    except Exception as error:  # pandas and pyarrow raise a dozen types for a malformed file
        raise HeadPruneError(f"{name} cannot be read as {suffix[1:]}: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise HeadPruneError(f"{name} has no rows; expected at least one text")
    table.columns = [str(column) for column in table.columns]
    return table


def lines_table(text: str) -> pd.DataFrame:
    """Lines as a table: one text a line, its label after a tab where there is one."""
    lines = [line.rsplit("\t", 1) for line in text.splitlines() if line.strip()]
    if not lines:
        raise HeadPruneError("there is no line of text; expected one text a line, its label after a tab if there is one")
    labelled = sum(len(line) == 2 for line in lines)
    if 0 < labelled < len(lines):
        raise HeadPruneError(f"{labelled} of {len(lines)} lines have a label after a tab; expected all of them or none")
    return pd.DataFrame(lines, columns=["text", "label"][: 2 if labelled else 1])


def _text(data: bytes) -> io.StringIO:
    for encoding in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            return io.StringIO(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    raise ValueError("its letters are in none of UTF-8, UTF-16 and Windows-1252")


def _delimited(data: bytes, separator: str) -> pd.DataFrame:
    # an empty cell is missing; the words None, null and NA are text like any other
    table = pd.read_csv(_text(data), sep=separator, keep_default_na=False, na_values=[""])
    if not isinstance(table.index, pd.RangeIndex):  # pandas would take the first values for row names and shift the rest
        raise ValueError("its rows have more values than its header has names; put text that holds a separator in quotes")
    return table


_READERS = {
    ".csv": lambda data: _delimited(data, ","),
    ".tsv": lambda data: _delimited(data, "\t"),
    ".jsonl": lambda data: pd.read_json(_text(data), lines=True),
    ".json": lambda data: pd.read_json(_text(data)),
    ".parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
    ".txt": lambda data: lines_table(_text(data).read()),
}
