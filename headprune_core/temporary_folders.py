"""Temporary folders that a killed process does not leave behind for ever.

A process locks each of its folders while it uses it, and the system releases the lock when the process ends in any way.
Where folders cannot be locked (Windows, some network file systems), a folder counts as used until it is a day old. Whoever
creates a folder first deletes those beside it that are no longer used. Only folders whose names have the form given here are
deleted, and none that holds something whose name begins with ASIDE: it may be the only copy of what was to be replaced.
"""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MAX_AGE_S = 86_400  # age of a folder that is no longer in use, if it cannot be locked
ASIDE = "old-"  # begins the names of files and folders that a process moves aside, until their replacement is complete
_NAME = re.compile(r"(\..{0,40}-)?headprune-[0-9a-f]{16}", re.DOTALL)
_locks: dict[Path, int] = {}  # file descriptors of the folders of this process


def create_folder(parent: Path | None = None, name: str | None = None) -> Path:
    """Create a temporary folder for this process, and delete those beside it that killed processes have left.

    Args:
        parent: an existing folder; None for the system's temporary folder.
        name: name of the file or folder that is written there; it becomes a part of the name, which then begins with a dot.

    Returns:
        The new folder; delete it with `delete_folder`.

    Raises:
        OSError: if it cannot be created.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    delete_leftovers(parent)
    while True:
        folder = parent / f"{'' if name is None else f'.{name[:40]}-'}headprune-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700 if name is None else 0o777)
        lock = _lock(folder, wait=True)
        if lock is not None:
            _locks[folder] = lock
        if folder.exists():  # otherwise another process has deleted it before it was locked
            return folder
        _unlock(folder)


def delete_folder(folder: Path) -> None:
    """Delete a folder of `create_folder`, with its content; errors are ignored.

    Args:
        folder: the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _unlock(folder)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder in the system's temporary folder, and delete it after the block.

    Yields:
        The new folder.
    """
    folder = create_folder()
    try:
        yield folder
    finally:
        delete_folder(folder)


def delete_leftovers(parent: Path | None = None) -> None:
    """Delete the temporary folders that killed processes of this user have left in a folder; errors are ignored.

    Args:
        parent: the folder; None for the system's temporary folder.
    """
    with suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir() if parent is None else parent):
            with suppress(OSError):
                if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False) and _is_own(entry.stat()):
                    _delete_unused(Path(entry.path))


def _is_own(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def _delete_unused(folder: Path) -> None:
    try:
        lock = _lock(folder, wait=False)
    except BlockingIOError:  # in use
        return
    try:
        unused = lock is not None or time.time() - folder.stat().st_mtime > MAX_AGE_S
        if unused and not any(name.startswith(ASIDE) for name in os.listdir(folder)):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, wait: bool) -> int | None:
    """The file descriptor of the locked folder, None if folders cannot be locked here."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(folder: Path) -> None:
    lock = _locks.pop(folder, None)
    if lock is not None:
        os.close(lock)
