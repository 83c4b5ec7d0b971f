"""Atomic writing of files, over plain files only.

A file is written under a temporary name and then renamed, so the final name never refers to an incomplete file. A device,
pipe, socket or link with the final name is left as it is.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import HeadPruneError
from .temporary_folders import create_folder, delete_folder

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def atomic_file(file: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    The block writes to a temporary path, which is renamed to `file` if the block succeeds. Files beside it whose names begin
    with its name (its external data) are moved too; everything else in the temporary folder is deleted.

    Args:
        file: final name of the file; an earlier plain file is replaced.

    Yields:
        The temporary path.

    Raises:
        HeadPruneError: if `file` is anything but a plain file, or cannot be written.
    """
    file = absolute_path(file)
    check_plain_file(file)
    with temporary_folder(file) as temporary:
        yield temporary / file.name
        names = sorted(p.name for p in temporary.iterdir() if p.is_file() and p.name.startswith(file.name))
        for name in names:
            check_plain_file(file.parent / name)
        for name in reversed(names):  # the file itself comes last
            os.replace(temporary / name, file.parent / name)


def check_plain_file(file: Path) -> None:
    """Check that a file with this name can be written without replacing anything but a plain file.

    Args:
        file: path as from `absolute_path`; the file need not exist.

    Raises:
        HeadPruneError: if the path is a folder, link, device, pipe or socket, or cannot be looked up.
    """
    try:
        kind = stat.S_IFMT(os.lstat(file).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_write(file, error) from error
    if kind != stat.S_IFREG:
        raise HeadPruneError(f"{file} is {KINDS.get(kind, 'a special file')}, not a plain file; choose another file name")


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Create a folder beside a path, and delete it after the block.

    Args:
        path: the path that the block writes.

    Yields:
        The new folder.

    Raises:
        HeadPruneError: if the folder cannot be created, or in place of an error of writing in the block.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = create_folder(path.parent, path.name)
        yield temporary
    except HeadPruneError:
        raise
    except Exception as error:  # OSError and safetensors errors both occur
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            delete_folder(temporary)


def absolute_path(path: str | Path) -> Path:
    """Return the absolute path without "..", so that its parent folder and name are known.

    Args:
        path: path as the user wrote it, "~" included.

    Raises:
        HeadPruneError: if the path contains a null character.
    """
    if "\0" in str(path):
        raise HeadPruneError(f"a path must not contain a null character, got {str(path)!r}")
    return Path(os.path.abspath(os.path.expanduser(path)))


def cannot_write(path: Path, error: Exception) -> HeadPruneError:
    """Return the error for a path that cannot be written.

    Args:
        path: the path.
        error: the reason.
    """
    reason = " ".join(str(error).split())[:200]
    return HeadPruneError(f"cannot write to {path} ({reason}); free disk space or choose another location")
