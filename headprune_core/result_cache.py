"""On-disk result cache.

Keys are content hashes of everything a result depends on, so entries never become stale and interrupted runs can resume.
Values are stored with checksums in one SQLite file. A damaged file is put aside with a warning, and a new one is started;
if the disk is full, a warning is issued once and caching is turned off.
"""

import hashlib
import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from .errors import HeadPruneWarning

FILE = "results.sqlite"
DAMAGED = "results-damaged.sqlite"  # new name of a damaged file
MAX_BYTES = 2**30  # a larger file is deleted and started again
COMMIT_INTERVAL_S = 0.5  # seconds between two commits while results are added
_SCHEMA = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, shape TEXT, data BLOB, crc INTEGER) WITHOUT ROWID"


class ResultCache:
    """Persistent mapping from keys to float64 arrays, safe for several threads and processes.

    Args:
        folder: folder of the cache file; it is created when needed.

    Attributes:
        path: the SQLite file.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / FILE
        self._lock = threading.RLock()
        self._pending: dict[str, np.ndarray] = {}
        self._connection: sqlite3.Connection | None = None
        self._disabled = False
        self._written = time.monotonic()

    @classmethod
    def default(cls) -> "ResultCache":
        """Return the user's cache: $HEADPRUNE_CACHE, else headprune in the user's cache folder."""
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(os.environ.get("HEADPRUNE_CACHE") or Path(caches) / "headprune")

    def get(self, keys: Iterable[str], *, shape: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
        """Look up keys.

        Args:
            keys: content hashes from `fingerprint`.
            shape: shape that the values must have; None for any shape.

        Returns:
            The stored values by key. Missing keys and values with a wrong checksum are left out.
        """
        keys = list(keys)
        with self._lock:
            values = {key: self._pending[key] for key in keys if key in self._pending}
            return values | (self._do(lambda connection: _values(_select(connection, keys), shape)) or {})

    def put(self, key: str, value: np.ndarray) -> None:
        """Store a value.

        It is written to disk with the first `put` more than COMMIT_INTERVAL_S later, or at the end of a `committing` block.

        Args:
            key: content hash from `fingerprint`.
            value: numeric array of any shape, stored as float64.
        """
        with self._lock:
            self._pending[key] = np.ascontiguousarray(value, np.float64)
            if time.monotonic() - self._written > COMMIT_INTERVAL_S:
                self._flush()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Write everything stored in this block to disk when the block ends, also if it ends with an error."""
        try:
            yield
        finally:
            with self._lock:
                self._flush()

    def _flush(self) -> None:
        rows = []
        for key, value in self._pending.items():
            shape, data = " ".join(map(str, value.shape)), value.tobytes()
            rows.append((key, shape, data, _checksum(shape, data)))
        if rows:
            self._do(lambda connection: _insert(connection, rows))
        self._pending.clear()
        self._written = time.monotonic()

    def _do(self, work):
        """Return work(connection); replace a corrupt file once, and turn the cache off after any other error."""
        if self._disabled:
            return None
        for retry in (True, False):
            try:
                return work(self._open())
            except (sqlite3.Error, OSError) as error:
                self._close()
                if not (retry and _is_corrupt(error) and self._put_aside()):
                    self._disable(error)
                    return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > MAX_BYTES:
                self._delete_file()
            self._connection = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
            self._connection.execute(_SCHEMA)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _put_aside(self) -> bool:
        """Rename a damaged file, with a warning; False if that is impossible."""
        try:
            os.replace(self.path, self.path.with_name(DAMAGED))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        warnings.warn(
            f"the results file {self.path} was damaged and is now named {DAMAGED}; its results are computed again",
            HeadPruneWarning,
            stacklevel=5,
        )
        return self._delete_file()

    def _delete_file(self) -> bool:
        """Delete the file; False if that is impossible."""
        try:
            for path in (self.path, *(self.path.with_name(FILE + end) for end in ("-journal", "-wal", "-shm"))):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _disable(self, error: Exception) -> None:
        self._disabled = True
        warnings.warn(
            f"cannot write to the cache in {self.path.parent} ({error}); continuing without it. Free disk space or set "
            "HEADPRUNE_CACHE to another folder",
            HeadPruneWarning,
            stacklevel=5,
        )


def _is_corrupt(error: Exception) -> bool:
    """Whether the file itself is corrupt (not a database, or one with other columns), not the disk full or locked."""
    if isinstance(error, sqlite3.OperationalError):
        return "column" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def _values(rows: list[tuple], wanted: tuple[int, ...] | None) -> dict[str, np.ndarray]:
    """Values by key; a value with a right checksum but of another form was not written here, so the file is corrupt."""
    values = {}
    for key, shape, data, crc in rows:
        try:
            if _checksum(shape, data) == crc:
                values[key] = np.frombuffer(data).reshape([int(n) for n in shape.split()])
                if wanted is not None and values[key].shape != wanted:
                    raise ValueError(f"shape {shape}, expected {wanted}")
        except (AttributeError, TypeError, ValueError) as error:
            raise sqlite3.DatabaseError(f"the value of {key} has another form ({error})") from error
    return values


def _checksum(shape: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(shape.encode()))


def _select(connection: sqlite3.Connection, keys: list[str]) -> list[tuple]:
    rows = []
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        marks = ",".join("?" * len(chunk))
        rows += connection.execute(f"SELECT key, shape, data, crc FROM results WHERE key IN ({marks})", chunk).fetchall()
    return rows


def _insert(connection: sqlite3.Connection, rows: list[tuple]) -> None:
    with connection:
        connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)


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
