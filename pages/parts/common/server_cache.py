"""State that all browser sessions of a server share: recently used models and results, and a lock for heavy work.

Cached values are never changed, so one session's work cannot show in another. Worker threads may use everything but
`shared`, because nothing else calls Streamlit.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import streamlit as st

from headprune_core import ResultCache

WAIT = 0.2  # seconds between attempts to take a lock; a job can be cancelled between two attempts


class LRUCache:
    """The most recently used values by key; sessions that need the same new value at once compute it one time."""

    def __init__(self, size: int):
        self._size = size
        self._values: OrderedDict[Hashable, object] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], object], progress: Callable[[int, int, str], None]):
        """Return the value of `key`, computed by `make` if it is missing; `progress` is called while waiting."""
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        with hold_lock(turn, progress):
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
                while len(self._values) > self._size:
                    oldest, _ = self._values.popitem(last=False)
                    self._making.pop(oldest, None)
        return value

    def peek(self, key: Hashable) -> object | None:
        """Return the value of `key`, or None if it is missing; never computes or waits."""
        with self._lock:
            return self._values.get(key)


@contextmanager
def hold_lock(lock, progress) -> Iterator[None]:
    """Hold `lock`; call `progress` while another session holds it."""
    while not lock.acquire(timeout=WAIT):
        progress(0, 1, "Waiting for another session's job to finish")
    try:
        yield
    finally:
        lock.release()


class ServerState:
    """The server's caches, and the lock that one session at a time holds for heavy work."""

    def __init__(self):
        self.models = LRUCache(2)
        self.scores = LRUCache(16)
        self.curves = LRUCache(16)
        self.ablations = LRUCache(16)
        self.cache = ResultCache.default()  # on disk, so it survives a restart
        self.heavy = threading.Lock()


@st.cache_resource(show_spinner=False)
def shared() -> ServerState:
    """Return the `ServerState` of this server."""
    return ServerState()
