"""Files as tables: CSV, TSV, JSON lines, JSON, Parquet, plain text and one word per line, without unpickling.

The content of a file must match its extension; otherwise the error names the detected format. The size of the table is
limited before it is built. Choosing columns and rows is left to `reading_plan`.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError

from .columns import HEADER_NAMES
from .formats import word_lines
from .formats.delimited import Dialect, read_delimited
from .formats.json_rows import read_json, read_json_lines
from .formats.parquet import read_parquet
from .formats.text_decoding import DecodedText, decode, has_bad_bytes, numbered_lines
from .formats.word_lines import WordLines, read_word_lines
from .limits import Limits, Progress, local_limits, no_progress

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", *word_lines.SUFFIXES)
LINES = ("examples", "words")  # what a line of a text file contains
MAX_BAD = 0.1  # share of damaged rows from which a file was misread
_USUAL = {".csv": ",", ".tsv": "\t"}
_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or an Office document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself (run: git lfs pull)",
}


@dataclass(frozen=True)
class LeftOut:
    """Rows that are not read.

    Attributes:
        reason: what is wrong with them, as in "without text".
        count: number of rows.
        row: number of the first one in the file or table, from 1 (of its line, for text files).
        example: the first one, shortened.
    """

    reason: str
    count: int
    row: int
    example: str

    def describe(self, *, example: bool = True) -> str:
        """Describe the rows in a sentence.

        Args:
            example: whether to quote the first one.
        """
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        place = f"{'' if self.count == 1 else 'first: '}row {self.row:,}"
        place += f", {self.example}" if example and self.example else ""
        return f"{rows} {self.reason} {'was' if self.count == 1 else 'were'} left out ({place})."


@dataclass(frozen=True)
class FileTable:
    """The rows of a file, before columns are chosen.

    Attributes:
        frame: one row for each row of the file; cells of CSV, TSV and plain text are text, and empty if missing.
        rows: number of each row in the file, from 1 (of its line, for text files).
        file_type: the extension without its dot.
        encoding: the encoding of a text file, else None.
        dialect: how the values of a line are separated, for CSV and TSV files and files of one word per line, else None.
        left_out: damaged rows.
        guesses: (setting, sentence) of what is likely but not certain.
    """

    frame: pd.DataFrame
    rows: list[int]
    file_type: str
    encoding: str | None = None
    dialect: Dialect | WordLines | None = None
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[tuple[str, str], ...] = ()


def read_table(
    name: str,
    data: bytes,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    quoted: bool | None = None,
    header: bool | None = None,
    lines: str | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> FileTable:
    """Read a file as a table.

    Args:
        name: file name, whose extension determines the format.
        data: content of the file.
        encoding: encoding of a text file; None to detect it.
        delimiter: delimiter of a CSV or TSV file; None to detect it.
        quoted: whether double quotes enclose values in a CSV or TSV file; None to detect it.
        header: whether a CSV or TSV file has the names of its columns in the first row; None to detect it.
        lines: "examples" or "words", for what a line of a text file contains; None to detect it. Sentences of words become
            rows with the columns tokens and tags.
        limits: the largest table that is read; None for what the free memory holds.
        progress: called with (done, all, note); may raise `Cancelled`.

    Returns:
        The table, with at least one row, and how it was read.

    Raises:
        HeadPruneError: if the extension is not supported, or the content is empty, invalid, ambiguous, too large or of
            another format.
    """
    limits = limits or local_limits()
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise HeadPruneError(f"file extension of {name} must be one of {', '.join(SUFFIXES)}, got {suffix or 'none'}")
    if not data.strip():
        raise HeadPruneError(f"{name} is empty; it must contain a table with a text column")
    if lines not in (None, *LINES):
        raise HeadPruneError(f"lines must be 'examples' or 'words', got {lines!r}")
    looks_like = next((what for magic, what in _MAGIC.items() if data.startswith(magic)), None)
    if looks_like is None and suffix == ".parquet" and b"\0" in data:
        looks_like = "binary data"
    expected = "a Parquet file" if suffix == ".parquet" else None
    if looks_like != expected:
        raise HeadPruneError(
            f"{name} looks like {looks_like or 'plain text'}, not {expected or 'plain text'}; fix the file extension or "
            "export it again"
        )
    try:
        limits.check("unpacked", len(data))
        if suffix == ".parquet":
            frame = read_parquet(data, limits, progress)
            table = FileTable(frame, list(range(1, len(frame) + 1)), "parquet")
        else:
            progress(0, 1, "Decoding the text")
            options = {"delimiter": delimiter, "quoted": quoted, "header": header}
            table = _text_table(suffix, decode(data, encoding), options, lines, limits, progress)
        table.frame.columns = [str(column).strip() for column in table.frame.columns]
        limits.check_names(table.frame.columns)
        _check_cells(table.frame, limits, progress)
    except Cancelled:
        raise
    except HeadPruneError as error:
        raise HeadPruneError(f"{name}: {error}") from error
    except Exception as error:  # pandas and pyarrow raise a dozen types for a malformed file
        raise HeadPruneError(f"{name} cannot be read as {suffix[1:]}: {' '.join(str(error).split())[:160]}") from error
    if table.frame.empty:
        raise HeadPruneError(f"{name} has no rows; at least 1 is needed")
    return table


def lines_table(text: str, limits: Limits | None = None) -> pd.DataFrame:
    r"""Parse lines of text, optionally with labels.

    Args:
        text: one example per line, optionally followed by a tab and its label; lines end in \n, \r\n or \r.
        limits: the largest table that is read; None for what the free memory holds.

    Returns:
        Table with a column text and, if the lines have labels, label.

    Raises:
        HeadPruneError: if there are no lines, if only some of them have labels, or if there are too many.
    """
    limits = limits or local_limits()
    limits.check("unpacked", len(text))
    limits.check_text(text, one_per_line=True)
    return _lines(text, limits)[0]


def _lines(text: str, limits: Limits) -> tuple[pd.DataFrame, list[int]]:
    filled = ((number, line) for number, line in numbered_lines(text) if line.strip())
    numbered = list(islice(filled, limits.rows + 1))
    limits.check("rows", len(numbered), at_least=True)
    lines = [line.rsplit("\t", 1) for _, line in numbered]
    if not lines:
        raise HeadPruneError("no text found; enter one example per line, optionally followed by a tab and its label")
    labeled = sum(len(line) == 2 for line in lines)
    if 0 < labeled < len(lines):
        raise HeadPruneError(f"{labeled} of {len(lines)} lines have a label after a tab; label all lines or none")
    return pd.DataFrame(lines, columns=["text", "label"][: 2 if labeled else 1]), [number for number, _ in numbered]


def _text_table(
    suffix: str, decoded: DecodedText, options: dict, lines: str | None, limits: Limits, progress: Progress
) -> FileTable:
    guesses = [] if decoded.certain else [("encoding", f"The encoding is likely {decoded.encoding}; check the letters.")]
    dialect, bad = None, []
    limits.check_text(decoded.text, one_per_line=suffix not in (*_USUAL, ".json"))
    if (words := _word_lines(suffix, decoded.text, options, lines, limits, progress)) is not None:
        frame, rows = pd.DataFrame({"tokens": words.words, "tags": words.tags}), words.rows
        dialect, bad, guesses = words.layout, words.bad, guesses + words.guesses
    elif suffix in _USUAL:
        known = {"usual": _USUAL[suffix], "known_names": HEADER_NAMES, "limits": limits, "progress": progress}
        found = read_delimited(decoded.text, **known, **options)
        frame, rows = pd.DataFrame(found.values, columns=found.names, dtype=object), found.lines
        dialect, bad, guesses = found.dialect, found.bad, guesses + found.guesses
    elif suffix == ".json":
        frame = read_json(decoded.text, limits)
        rows = list(range(1, len(frame) + 1))
    elif suffix == ".jsonl":
        frame, rows, bad = read_json_lines(decoded.text, limits, progress)
    else:
        frame, rows = _lines(decoded.text, limits)
    progress(0, 1, "Checking rows")
    spoiled = np.zeros(len(frame), bool)
    if has_bad_bytes(decoded.text):
        spoiled |= frame.map(_is_spoiled).any(axis=1).to_numpy(bool)
    bad = bad + [(row, f"a byte that is not {decoded.encoding}") for row, flag in zip(rows, spoiled, strict=True) if flag]
    if len(bad) > max(1, MAX_BAD * (len(rows) + len(bad))):
        raise HeadPruneError(
            f"{len(bad)} rows are damaged (the first is row {bad[0][0]}: {bad[0][1]}); export the file again"
        )
    left_out = [LeftOut(f"with {reason}", 1, row, "") for row, reason in bad]
    kept = [row for row, flag in zip(rows, spoiled, strict=True) if not flag]
    frame = frame[~spoiled].reset_index(drop=True)
    return FileTable(frame, kept, suffix[1:], decoded.encoding, dialect, tuple(left_out), tuple(guesses))


def _word_lines(suffix: str, text: str, options: dict, lines: str | None, limits: Limits, progress: Progress):
    """The sentences of a file of one word per line; None for any other file."""
    certain = lines == "words" or (lines is None and suffix in word_lines.SUFFIXES)
    possible = lines is None and suffix in (".txt", ".tsv") and set(options.values()) == {None}
    if not certain and not possible:
        return None
    return read_word_lines(text, known_names=HEADER_NAMES, certain=certain, limits=limits, progress=progress)


def _check_cells(frame: pd.DataFrame, limits: Limits, progress: Progress) -> None:
    """Check the length of texts and lists, unless all of the content is shorter than the limit."""
    if limits.cell >= limits.unpacked:
        return
    for number, name in enumerate(frame):
        progress(number, frame.shape[1], "Checking columns")
        column = frame[name] if frame.columns.is_unique else frame.iloc[:, number]
        if not pd.api.types.is_numeric_dtype(column):
            limits.check("cell", max((len(cell) for cell in column if hasattr(cell, "__len__")), default=0))


def _is_spoiled(cell) -> bool:
    if isinstance(cell, list):
        return any(map(_is_spoiled, cell))
    return isinstance(cell, str) and has_bad_bytes(cell)
