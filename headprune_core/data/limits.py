"""Limits on the size of tables, which are checked before anything is built from a file.

A program that reads its user's own files refuses only what cannot work: more than the free memory holds. An app that reads
the files of others has narrower limits.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.memory import available_memory

MAX_COLUMNS = 10_000  # columns of local tables; each is searched for texts and labels
MAX_NAME = 1_000  # characters of the name of a column
_COPIES = 4  # copies of the content in memory while it is read
_CELL_BYTES = 64  # memory of a cell as a Python object, with its pointer


@dataclass(frozen=True)
class Limits:
    """The largest table that is read.

    Attributes:
        unpacked: bytes of the content, without compression.
        rows: number of rows.
        columns: number of columns.
        cells: number of cells, elements of lists included; also of the lines of a text file.
        cell: characters of a text, or elements of a list.
        advice: another way to read a larger table, for error messages.
    """

    unpacked: int
    rows: int
    columns: int
    cells: int
    cell: int
    advice: str = ""

    def check(self, what: str, found: int, *, at_least: bool = False) -> None:
        """Check a number against its limit.

        Args:
            what: name of the limit, an attribute of this class.
            found: the number.
            at_least: whether counting stopped at `found`.

        Raises:
            HeadPruneError: if the number is too large.
        """
        limit = getattr(self, what)
        if found <= limit:
            return
        number, most = (f"{size / 1e6:,.1f} MB" if what == "unpacked" else f"{size:,}" for size in (found, limit))
        measured, action = _WORDS[what]
        more = "at least " if at_least else ""
        raise HeadPruneError(f"{measured.format(more + number)}, at most {most} can be read; {action}{self.advice}")

    def check_table(self, rows: int, columns: int) -> None:
        """Check the numbers of rows, columns and cells.

        Args:
            rows: number of rows.
            columns: number of columns.

        Raises:
            HeadPruneError: if one is too large.
        """
        self.check("columns", columns)
        self.check("rows", rows)
        self.check("cells", rows * columns)

    def check_names(self, names: Iterable[str]) -> None:
        """Check the number and length of the names of columns.

        Args:
            names: the names.

        Raises:
            HeadPruneError: if there are too many, or if one is too long.
        """
        names = list(names)
        self.check("columns", len(names))
        longest = max(map(len, names), default=0)
        if longest > MAX_NAME:
            raise HeadPruneError(
                f"a column name has {longest:,} characters, at most {MAX_NAME:,} can be read; rename the column"
            )

    def check_text(self, text: str, *, one_per_line: bool) -> None:
        r"""Check the number of lines of a text and, for a file with one example or object per line, their length.

        Args:
            text: the text; lines end in \n, \r\n or \r.
            one_per_line: whether a line is an example, a word or an object.

        Raises:
            HeadPruneError: if there are too many lines, or if one is too long.
        """
        lines = text.count("\n") + text.count("\r") - text.count("\r\n") + 1
        if lines > self.cells:
            raise HeadPruneError(
                f"it has {lines:,} lines, at most {self.cells:,} can be read; keep fewer lines{self.advice}"
            )
        if one_per_line and len(text) > self.cell and (long := re.search(rf"[^\r\n]{{{self.cell + 1},}}", text)):
            self.check("cell", long.end() - long.start())


_WORDS = {
    "unpacked": ("its unpacked content has {}", "keep fewer rows or columns"),
    "rows": ("it has {} rows", "keep fewer rows"),
    "columns": ("it has {} columns", "delete columns that are not needed"),
    "cells": ("it has {} cells", "keep fewer rows or columns"),
    "cell": ("a text or list has a length of {}", "divide or shorten it"),
}

UPLOAD = Limits(
    unpacked=100_000_000,
    rows=250_000,
    columns=1_000,
    cells=3_000_000,
    cell=1_000_000,
    advice=", or read the file with Python or the command line, which allow more",
)


def local_limits() -> Limits:
    """Return the limits for the user's own tables, from the free memory."""
    free = available_memory()
    cells = free // _CELL_BYTES
    return Limits(unpacked=free // _COPIES, rows=cells, columns=MAX_COLUMNS, cells=cells, cell=free // _COPIES)


Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, note: str) -> None:
    """Ignore a progress report."""


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Put the name of a source in front of the errors of a block.

    Args:
        name: the name.

    Raises:
        HeadPruneError: if the block raises one.
    """
    try:
        yield
    except Cancelled:
        raise
    except HeadPruneError as error:
        raise HeadPruneError(f"{name}: {error}") from error
