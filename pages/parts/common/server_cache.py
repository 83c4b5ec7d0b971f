"""State that all browser sessions of a server share: recently used models and results, and turns at computing.

Cached values are never changed, so one session's work cannot show in another. Worker threads may use everything but
`shared`, because nothing else calls Streamlit.
"""

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from huggingface_hub import hf_hub_download

from headprune_core import HeadPruneError, PrunableModel, ResultCache
from headprune_core.model.formats.library_calls import silence_transformers
from headprune_core.model.formats.safe_json import read_json
from headprune_core.model.loading import is_hub_id
from headprune_core.model.smollm2 import SMOLLM2
from headprune_core.temporary_folders import delete_leftovers

from .turns import Turns

INSTALLED = ("embedded", "builtin", SMOLLM2)  # models of packages, which do not change while a server runs
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
        progress(0, 1, "Waiting for another session that computes the same")
    try:
        yield
    finally:
        lock.release()


class ServerState:
    """The server's caches, and the turns of its sessions at computing."""

    def __init__(self):
        self.models = LRUCache(2)
        self.scores = LRUCache(16)
        self.curves = LRUCache(16)
        self.ablations = LRUCache(16)
        self.traits = LRUCache(16)
        self.distances = LRUCache(4)
        self.cache = ResultCache.default()  # on disk, so it survives a restart
        self.turns = Turns()
        delete_leftovers()  # of servers that were killed

    def model(self, source: str, revision: str | None, progress) -> tuple[PrunableModel, str]:
        """Return a model, loaded again if its content has changed since it was loaded last, and the version of the content.

        Args:
            source: A Hub ID, a folder, or "embedded" for the built-in model.
            revision: The Hub revision.
            progress: Called while another session loads the same model.

        Raises:
            HeadPruneError: If the model cannot be loaded, or if its files change in the meantime.
        """
        version = model_version(source, revision)

        def load() -> PrunableModel:
            model = PrunableModel.from_pretrained(source, revision=revision, progress=progress)
            for tensor in (*model.model.parameters(), *model.model.buffers()):
                tensor.data = tensor.data.clone()  # loaded weights are a view of the file, which may be written in place
            if os.path.isdir(os.path.expanduser(source)) and model_version(source, revision) != version:
                raise HeadPruneError(f"the files in {source} changed while they were loaded; load the model again")
            return model

        return self.models.get((source, revision, version), load, progress), version


def model_version(source: str, revision: str | None = None) -> str:
    """Return a text that changes whenever the content of a model changes.

    Args:
        source: A Hub ID, a folder, or the name of an installed model.
        revision: The Hub revision.

    Returns:
        For a folder the names, sizes and times of its files and of the base model of an adapter; for a Hub ID the commit;
        empty for an installed model; a new text at every call if the files or the commit cannot be read.
    """
    if source in INSTALLED:
        return ""
    try:
        folder = Path(os.path.expanduser(source))
        if source and os.path.isdir(folder):
            return repr([_files(folder), _files(_base_model(folder))])
        if is_hub_id(source):
            with silence_transformers():
                return Path(hf_hub_download(source, "config.json", revision=revision)).parent.name
    except Exception:  # whatever the file system or the client raises; the loading that follows reports it
        pass
    return secrets.token_hex(8)


def _files(folder: Path | None) -> list[tuple]:
    """Name, size, times and number of every file in a folder; rewriting a file changes at least one of them."""
    if folder is None or not folder.is_dir():
        return []
    files = [(entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file()]
    return sorted((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in files)


def _base_model(folder: Path) -> Path | None:
    """The base model of an adapter folder as a path; None for any other model."""
    config = folder / "adapter_config.json"
    return Path(read_json(config)["base_model_name_or_path"]) if config.is_file() else None


@st.cache_resource(show_spinner=False)
def shared() -> ServerState:
    """Return the `ServerState` of this server."""
    return ServerState()
