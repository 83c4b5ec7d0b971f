"""The SQLite file of the result cache, which several processes share: reading, writing, size limit, replacement of damage.

Rows are numbered in the order in which they were written, so the lowest numbers are the oldest rows, and these lie together:
dropping them frees whole pages. No clock is used. SQLite's rollback journal is used because, unlike its write-ahead log, it
lets a file be read on a full disk and on a read-only or network file system.

A damaged file is never renamed, emptied or deleted, since other processes may have it open, or it may not be HeadPrune's.
A file with the next number replaces it, and every process uses the file with the highest number from then on.
"""

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path

APPLICATION_ID = 0x48505243  # marks files of this format, in SQLite's header
RETRY_S = 30  # seconds before an operation that failed is tried again
SLACK = 1 / 32  # share of the limit by which free pages may exceed it
REPLACEMENTS = 3  # files that one write may replace
_NUMBERED = re.compile(r"results-([0-9]{1,9})\.sqlite")
_SCHEMA = "CREATE TABLE results (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, shape TEXT, data BLOB, crc INTEGER)"
_INSERT = "INSERT OR REPLACE INTO results (key, shape, data, crc) VALUES (?, ?, ?, ?)"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # the last one: other tables or columns
_ROW_BYTES = (
    "2 * (2 * length(key) + coalesce(length(data), 0) + 60)"  # at most what a row takes with its share of free space
)
_abandoned: list[sqlite3.Connection] = []  # of a parent process; closing them here would undo its transactions

Row = tuple[str, str, bytes, int]  # key, shape, data, checksum


class _ForeignFileError(sqlite3.DatabaseError):
    """A database that HeadPrune did not write."""


class ResultFile:
    """One connection to the newest results file of a folder; one thread at a time may use it.

    Args:
        folder: folder of the file; the first `write` creates both.
        timeout: seconds to wait while another process locks the file.
        on_damage: called with the damaged file and the new one when a file is replaced.
    """

    def __init__(self, folder: Path, timeout: float, on_damage: Callable[[Path, Path], None]):
        self._folder, self._timeout, self._on_damage = folder, timeout, on_damage
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple | None = None
        self._path = newest_file(folder)
        self._locked_until = -float("inf")

    def read(self, work: Callable[[sqlite3.Connection], object], default: object) -> object:
        """Return what `work` reads.

        If the file is locked, or cannot be opened because its folder cannot be written, it is read without a lock. The
        caller must verify what it gets, because another process may be writing.

        Args:
            work: called with a connection.
            default: returned if there is no readable file.
        """
        if time.monotonic() >= self._locked_until:
            try:
                connection = self._open()
                return work(connection) if connection is not None and _has_table(connection) else default
            except (sqlite3.Error, OSError) as error:
                self.close()
                if _is_damage(error):
                    self._replace()
                    return default
                if _code(error) == sqlite3.SQLITE_BUSY:
                    self._locked_until = time.monotonic() + RETRY_S
        address = f"{newest_file(self._folder).as_uri()}?immutable=1&mode=ro"
        try:
            with closing(_connect(address, self._timeout, uri=True)) as unlocked:
                return work(unlocked) if _has_table(unlocked) else default
        except (sqlite3.Error, OSError):
            return default

    def write(self, rows: Iterable[Row], limit: int) -> None:
        """Add or replace rows in one transaction, and drop the oldest rows beyond the size limit.

        Args:
            rows: key, shape, data and checksum of each result.
            limit: largest size of the file in bytes.

        Raises:
            sqlite3.Error: if the file is locked or cannot be written.
            OSError: if the folder cannot be created.
        """
        for attempt in range(REPLACEMENTS):
            try:
                connection = self._open(create=True)
                _create_table(connection, self._path)
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(
                        "INSERT OR REPLACE INTO results (key, shape, data, crc) VALUES (?, ?, ?, ?)", rows
                    )
                    _drop_oldest(connection, limit)
                _shrink(connection, limit)
            except (sqlite3.Error, OSError) as error:
                self.close()
                if not (_is_damage(error) and self._replace()) or attempt == REPLACEMENTS - 1:
                    raise
            else:
                if newest_file(self._folder) == self._path:  # otherwise another process has replaced the file meanwhile
                    return

    def clear(self) -> int:
        """Delete all rows, also on a full disk and while other processes have the file open.

        Returns:
            The number of deleted rows.

        Raises:
            sqlite3.Error: if the file is locked or cannot be written.
            OSError: if the folder cannot be read.
        """
        try:
            connection = self._open()
            if connection is None or not _has_table(connection):
                return 0
            connection.execute("PRAGMA journal_mode = MEMORY")  # a journal on disk needs free space
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                count = connection.execute("DELETE FROM results").rowcount
            _shrink(connection, 0)
            return count
        except sqlite3.Error as error:
            if not (_is_damage(error) and self._replace()):
                raise
            return 0
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next operation opens the newest file."""
        if self._connection is not None:
            if self._identity is None or self._identity[0] == os.getpid():
                self._connection.close()
            else:
                _abandoned.append(self._connection)
        self._connection = None

    def _open(self, create: bool = False) -> sqlite3.Connection | None:
        """The connection to the newest file; None if there is no file and `create` is False."""
        path = newest_file(self._folder)
        if self._connection is not None and self._identity != _identity(path):  # replaced, deleted, or this is a fork
            self.close()
        if self._connection is None:
            self._path = path
            if create:
                self._folder.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                return None
            self._connection = _connect(path, self._timeout)
            self._identity = _identity(path)
        return self._connection

    def _replace(self) -> bool:
        """Start a file with the next number after a damaged one; False if that is impossible."""
        self.close()
        new = _numbered(self._folder, _number(self._path) + 1)
        try:
            new.touch()  # SQLite takes an empty file for an empty database
        except OSError:
            return False
        self._on_damage(self._path, new)
        return True


def newest_file(folder: Path) -> Path:
    """Return the path of the results file in use: that with the highest number, results.sqlite if there is none.

    Args:
        folder: folder of the result cache.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        names = []
    return _numbered(folder, max((_number(Path(name)) for name in names), default=1))


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of all pages that hold data.

    Args:
        connection: connection to a results file.
    """
    return (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _pragma(connection, "page_size")


def _numbered(folder: Path, number: int) -> Path:
    return folder / ("results.sqlite" if number == 1 else f"results-{number}.sqlite")


def _number(path: Path) -> int:
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else 1


def _identity(path: Path) -> tuple | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return os.getpid(), path, status.st_dev, status.st_ino


def _connect(path: Path | str, timeout: float, **options) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False, **options)
    connection.text_factory = lambda text: text.decode(errors="replace")  # damaged text must not stop a look-up
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _has_table(connection: sqlite3.Connection) -> bool:
    """Whether the file has HeadPrune's table, False if it is new; any other file raises an error that counts as damage."""
    if _pragma(connection, "application_id") == APPLICATION_ID:
        return True
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _ForeignFileError("HeadPrune did not write this file")
    return False


def _create_table(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # ignored after anything was read
    if _has_table(connection):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _has_table(connection):  # another process may have created it meanwhile
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _drop_oldest(connection: sqlite3.Connection, limit: int) -> None:
    """Delete the oldest rows beyond the limit, and as few as possible."""
    while (excess := used_bytes(connection) - limit) > 0:
        last = None  # sizes are overestimated, so that the last few rows are deleted one by one
        for number, size in connection.execute(f"SELECT id, {_ROW_BYTES} FROM results ORDER BY id"):
            last, excess = number, excess - size
            if excess <= 0:
                break
        if last is None:
            break
        connection.execute("DELETE FROM results WHERE id <= ?", (last,))


def _shrink(connection: sqlite3.Connection, limit: int) -> None:
    """Give free pages beyond the limit back to the file system; if that fails now, the next write does it."""
    pages = _pragma(connection, "page_count") - limit // _pragma(connection, "page_size")
    if pages > SLACK * limit // _pragma(connection, "page_size"):  # the next results fill what is left
        with suppress(sqlite3.OperationalError):  # `execute` would stop after the first page
            connection.executescript(f"PRAGMA incremental_vacuum({pages})")


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is at fault, not the disk or a lock."""
    return isinstance(error, _ForeignFileError) or _code(error) in _DAMAGE
