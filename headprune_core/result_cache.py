"""On-disk result cache.

Keys are content hashes of everything a result depends on, so entries never become stale and interrupted runs can resume.
Values are stored with checksums in one SQLite file, which several servers and commands may use at once.

Size: when the file exceeds its limit, results are dropped, oldest first and no more than needed. The age of a result counts
from its last write. A result that is used while it is in the older half of a file more than half full is written again. So a
result written in the last hour is dropped only if the results of the last hour alone exceed the limit.

Failures: if the file is locked or the disk full, results are held in memory and written later, while look-ups go on. A value
that does not have the expected form counts as missing. A damaged file is replaced by a new one. Each spell of failed writes
and each replacement is reported by one HeadPruneWarning and by `ResultCache.notice`.
"""

import hashlib
import math
import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .errors import HeadPruneError, HeadPruneWarning
from .result_file import RETRY_S, ResultFile, Row, newest_file, used_bytes

MAX_BYTES = 2**30  # size limit of the file
LEAST_BYTES = 2**16  # smallest limit that leaves space for results beside SQLite's own pages
MAX_PENDING_BYTES = 2**26  # size limit of results in memory that could not be written yet
WRITE_BYTES = 2**18  # size of the results in one transaction, which must fit on a disk that is almost full
COMMIT_INTERVAL_S = 0.5  # seconds between two commits while results are added
READ_TIMEOUT_S, WRITE_TIMEOUT_S = 1, 10  # seconds to wait for another process's lock
_CHUNK = 500  # keys per query


class CacheUsage(NamedTuple):
    """Folder of a result cache, number of stored results, size of the file and its limit in bytes."""

    folder: Path
    n_results: int
    n_bytes: int
    max_bytes: int


class ResultCache:
    """Persistent mapping from keys to float64 arrays, safe for several threads and processes.

    Args:
        folder: folder of the cache file; it is created when needed.
        max_bytes: size limit of the file.

    Raises:
        HeadPruneError: if `max_bytes` is smaller than LEAST_BYTES.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int = MAX_BYTES):
        if max_bytes < LEAST_BYTES:
            raise HeadPruneError(f"max_bytes must be at least {LEAST_BYTES}, got {max_bytes}")
        self._folder, self._max_bytes = Path(folder).absolute(), max_bytes
        self._lock = threading.RLock()  # of pending results and the reader
        self._write_lock = threading.RLock()  # of the writer; look-ups do not wait for it
        self._reader = ResultFile(self._folder, READ_TIMEOUT_S, self._report_damage)
        self._writer = ResultFile(self._folder, WRITE_TIMEOUT_S, self._report_damage)
        self._pending: dict[str, np.ndarray] = {}
        self._written = time.monotonic()
        self._retry_at = -math.inf
        self._damage = self._failure = ""

    @classmethod
    def default(cls) -> "ResultCache":
        """Return the user's cache: $HEADPRUNE_CACHE, else headprune in the user's cache folder."""
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(os.environ.get("HEADPRUNE_CACHE") or Path(caches) / "headprune")

    @property
    def path(self) -> Path:
        """The SQLite file in use."""
        return newest_file(self._folder)

    @property
    def notice(self) -> str:
        """What users should know: that a damaged file was replaced, or that results cannot be written; "" if all is well."""
        return "; ".join(text for text in (self._damage, self._failure) if text)

    def get(self, keys: Iterable[str], *, shape: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
        """Look up keys.

        Args:
            keys: content hashes from `fingerprint`.
            shape: shape that the values must have; None for any shape.

        Returns:
            The stored values by key. Missing keys and values of another form or with a wrong checksum are left out.
        """
        keys = list(keys)
        with self._lock:
            values = {key: self._pending[key] for key in keys if key in self._pending}
            values = {key: value for key, value in values.items() if shape is None or value.shape == shape}
            wanted = [key for key in keys if key not in values]
            rows, middle = self._reader.read(lambda connection: self._select(connection, wanted), ([], 0))
            ages = {}
            for number, *row in rows:
                value = _value(row, shape)
                if value is not None:
                    values[row[0]], ages[row[0]] = value, number
            renewed = {key: values[key] for key, number in ages.items() if number < middle}
            self._pending = renewed | self._pending
        if renewed:
            self._flush_if_due()
        return values

    def put(self, key: str, value: np.ndarray) -> None:
        """Store a value.

        It is written to disk with the first `put` more than COMMIT_INTERVAL_S later, or at the end of a `committing` block.

        Args:
            key: content hash from `fingerprint`.
            value: numeric array of any shape, stored as float64.
        """
        with self._lock:
            self._pending.pop(key, None)  # the newest result comes last
            self._pending[key] = np.ascontiguousarray(value, np.float64)
        self._flush_if_due()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Write everything stored in this block to disk when the block ends, also if it ends with an error."""
        try:
            yield
        finally:
            with self._write_lock:
                self._flush()

    def usage(self) -> CacheUsage:
        """Return the number and size of the stored results."""

        def count(connection: sqlite3.Connection) -> int:
            return connection.execute("SELECT count(*) FROM results").fetchone()[0]

        with self._lock:
            n_results = self._reader.read(count, 0)
        size = self.path.stat().st_size if self.path.is_file() else 0
        return CacheUsage(self._folder, n_results, size, self._max_bytes)

    def clear(self) -> int:
        """Remove all results; other processes may have the cache open, and they continue to use it.

        Returns:
            The number of results removed from the file.

        Raises:
            HeadPruneError: if the file is locked or cannot be written.
        """
        with self._write_lock:
            with self._lock:
                self._pending.clear()
            try:
                return self._writer.clear()
            except (sqlite3.Error, OSError) as error:
                raise HeadPruneError(
                    f"cannot clear the result cache in {self._folder} ({error}); close other programs that use it and retry"
                ) from error

    def _select(self, connection: sqlite3.Connection, keys: list[str]) -> tuple[list[tuple], int]:
        """Rows (number, key, shape, data, checksum), and the number below which rows that are used are written again."""
        rows = []
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT id, key, shape, data, crc FROM results WHERE key IN ({marks})"
            rows += connection.execute(query, chunk).fetchall()
        if not rows or used_bytes(connection) <= self._max_bytes // 2:
            return rows, 0
        oldest, newest = (connection.execute(f"SELECT {name}(id) FROM results").fetchone()[0] for name in ("min", "max"))
        return rows, ((oldest or 0) + (newest or 0)) // 2  # an unlocked read may find no rows any more

    def _flush_if_due(self) -> None:
        """Write pending results if the last write is long enough ago and no other thread is writing."""
        if time.monotonic() - self._written > COMMIT_INTERVAL_S and self._write_lock.acquire(blocking=False):
            try:
                self._flush()
            finally:
                self._write_lock.release()

    def _flush(self) -> None:
        """Write pending results; after a failure, not before RETRY_S seconds have passed."""
        now = time.monotonic()
        with self._lock:
            pending = dict(self._pending)
        if not pending or now < self._retry_at:
            if now - self._written > COMMIT_INTERVAL_S:
                self._limit_pending()
                self._written = now
            return
        try:
            while pending:
                part = _first_bytes(pending, WRITE_BYTES)
                self._writer.write([_row(key, value) for key, value in part.items()], self._max_bytes)
                with self._lock:
                    for key, value in part.items():
                        del pending[key]
                        if self._pending.get(key) is value:
                            del self._pending[key]
        except (sqlite3.Error, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            self._limit_pending()
            self._report_failure(error)
        else:
            self._failure = ""
        finally:
            self._written = time.monotonic()

    def _limit_pending(self) -> None:
        """Drop the oldest pending results beyond MAX_PENDING_BYTES."""
        with self._lock:
            excess = sum(value.nbytes for value in self._pending.values()) - MAX_PENDING_BYTES
            while excess > 0:
                excess -= self._pending.pop(next(iter(self._pending))).nbytes

    def _report_failure(self, error: Exception) -> None:
        """Warn once until a write succeeds."""
        if self._failure:
            return
        reason = getattr(error, "strerror", None) or error
        self._failure = (
            f"cannot write to the cache in {self._folder} ({reason}); results are not stored at present. Free disk space or "
            "set HEADPRUNE_CACHE to another folder"
        )
        warnings.warn(self._failure, HeadPruneWarning, stacklevel=4)

    def _report_damage(self, old: Path, new: Path) -> None:
        self._damage = (
            f"the results file {old} is damaged, or HeadPrune did not write it; its results are computed again and stored "
            f"in {new.name}"
        )
        warnings.warn(self._damage, HeadPruneWarning, stacklevel=5)


def _first_bytes(values: dict[str, np.ndarray], n_bytes: int) -> dict[str, np.ndarray]:
    """The first values up to a total size, and at least one."""
    sizes = np.cumsum([value.nbytes for value in values.values()])
    return dict(islice(values.items(), max(1, int((sizes <= n_bytes).sum()))))


def _row(key: str, value: np.ndarray) -> Row:
    shape, data = " ".join(map(str, value.shape)), value.tobytes()
    return key, shape, data, _checksum(key, shape, data)


def _value(row: list, wanted: tuple[int, ...] | None) -> np.ndarray | None:
    """The value of a row, or None if it does not have the form that `_row` gives it."""
    key, shape, data, checksum = row
    if not (isinstance(key, str) and isinstance(shape, str) and isinstance(data, bytes)):
        return None
    sizes = [int(size) for size in shape.split() if size.isascii() and size.isdigit() and len(size) < 20]
    if " ".join(map(str, sizes)) != shape or 8 * math.prod(sizes) != len(data) or _checksum(key, shape, data) != checksum:
        return None
    return np.frombuffer(data).reshape(sizes) if wanted is None or tuple(sizes) == wanted else None


def _checksum(key: str, shape: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(f"{key} {shape}".encode()))


def fingerprint(*parts) -> str:
    """Hash values by content.

    Args:
        *parts: strings, NumPy arrays, tensors and other values with a faithful `str`. Types, dtypes and shapes count too.

    Returns:
        A hexadecimal digest of 160 bits.
    """
    total = hashlib.blake2b(digest_size=20)
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().contiguous()
            about, content = f"{part.dtype} {tuple(part.shape)}", part.reshape(-1).view(torch.uint8).numpy()
        elif isinstance(part, np.ndarray):
            about, content = f"{part.dtype} {part.shape}", np.ascontiguousarray(part)
        else:
            about, content = type(part).__name__, str(part).encode()
        total.update(f"{about} ".encode())
        total.update(content)
    return total.hexdigest()
