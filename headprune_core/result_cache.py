"""Results kept on disk by content: what was computed once, of the same model, text and mask, is looked up the next time.

A key is a digest of everything that a result depends on, so there is nothing to invalidate, and a run that was killed finds
all that it had finished. One SQLite file in a folder of the user's; every value carries its checksum. A file that is damaged
is put aside and begun anew; a disk that takes no more is told once, and work goes on without.
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
MAX_BYTES = 2**30  # beyond this a file is begun anew
COMMIT_INTERVAL_S = 0.5  # seconds between commits while results come in
_SCHEMA = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, shape TEXT, data BLOB, crc INTEGER) WITHOUT ROWID"


class ResultCache:
    """Arrays of float64 by key, in a folder. Many threads and processes may use one at once."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / FILE
        self._lock = threading.RLock()
        self._pending: dict[str, np.ndarray] = {}
        self._connection: sqlite3.Connection | None = None
        self._silent = False
        self._written = time.monotonic()

    @classmethod
    def default(cls) -> "ResultCache":
        """The user's own: $HEADPRUNE_CACHE, or headprune in the folder for caches."""
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(os.environ.get("HEADPRUNE_CACHE") or Path(caches) / "headprune")

    def get(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The values that are there and whole, by key."""
        keys = list(keys)
        with self._lock:
            found = {key: self._pending[key] for key in keys if key in self._pending}
            rows = self._do(lambda connection: _select(connection, keys)) or []
        for key, shape, data, crc in rows:
            if _checksum(shape, data) == crc:
                found[key] = np.frombuffer(data).reshape([int(n) for n in shape.split()])
        return found

    def put(self, key: str, value: np.ndarray) -> None:
        """Keep a value; it is on disk within half a second of more coming in, and after `committing`."""
        with self._lock:
            self._pending[key] = np.ascontiguousarray(value, np.float64)
            if time.monotonic() - self._written > COMMIT_INTERVAL_S:
                self._flush()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """What is put in this block is on disk after it, however it ends."""
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
        """work(connection); a damaged file is begun anew, and what else goes wrong is told once."""
        if self._silent:
            return None
        for again in (True, False):
            try:
                return work(self._open())
            except (sqlite3.Error, OSError) as error:
                self._close()
                if not (again and _damaged(error) and self._put_aside()):
                    self._give_up(error)
                    return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > MAX_BYTES:
                self._put_aside()
            self._connection = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
            self._connection.execute(_SCHEMA)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _put_aside(self) -> bool:
        """Remove the file; False where that cannot be done."""
        try:
            for path in (self.path, *(self.path.with_name(FILE + end) for end in ("-journal", "-wal", "-shm"))):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _give_up(self, error: Exception) -> None:
        self._silent = True
        warnings.warn(
            f"results cannot be kept in {self.path.parent} ({error}); the work goes on without: make room there, or name "
            "another folder in HEADPRUNE_CACHE",
            HeadPruneWarning,
            stacklevel=5,
        )


def _damaged(error: Exception) -> bool:
    """Whether the file is at fault: no database, a malformed one, or one with other columns. Not a full or locked disk."""
    if isinstance(error, sqlite3.OperationalError):
        return "column" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def _checksum(shape: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(shape.encode()))


def _select(connection: sqlite3.Connection, keys: list[str]) -> list[tuple]:
    rows = []
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        marks = ",".join("?" * len(some))
        rows += connection.execute(f"SELECT key, shape, data, crc FROM results WHERE key IN ({marks})", some).fetchall()
    return rows


def _insert(connection: sqlite3.Connection, rows: list[tuple]) -> None:
    with connection:
        connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)


def fingerprint(*parts) -> str:
    """A digest of texts, arrays and tensors, of their types and shapes too."""
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
