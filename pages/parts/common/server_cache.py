"""What all browser sessions of a server share: loaded models and finished scores, a few of each, and turns at the CPU.

Values on the shelf are never changed, so one user's work cannot show in another's. Nothing here calls Streamlit, so a
worker thread may use it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import streamlit as st

from headprune_core import ResultCache

WAIT = 0.2  # seconds between looks at whether it is our turn; each look is a chance to cancel


class LRUCache:
    """The last few values by key. Sessions that ask for the same key at once wait for one making of it."""

    def __init__(self, size: int):
        self._size = size
        self._values: OrderedDict[Hashable, object] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], object], progress: Callable[[int, int, str], None]):
        """The value of `key`, made now if it is not there; `progress` is told of waiting, and may cancel it."""
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
        """The value of `key` if it is there; nothing is made, and nobody is waited for."""
        with self._lock:
            return self._values.get(key)


@contextmanager
def hold_lock(lock, progress) -> Iterator[None]:
    """Hold `lock`, telling `progress` while another session has it."""
    while not lock.acquire(timeout=WAIT):
        progress(0, 1, "Waiting for another user's run to finish")
    try:
        yield
    finally:
        lock.release()


class ServerState:
    """The server's shelves and its one turn at heavy work."""

    def __init__(self):
        self.models = LRUCache(2)
        self.scores = LRUCache(16)
        self.curves = LRUCache(16)
        self.ablations = LRUCache(16)
        self.cache = ResultCache.default()  # on disk: outlives the server
        self.heavy = threading.Lock()  # held by the one session that computes


@st.cache_resource(show_spinner=False)
def shared() -> ServerState:
    """The one `ServerState` of this server."""
    return ServerState()
