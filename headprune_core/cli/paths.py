"""The options that name files and folders, and one check of all of them before a command starts.

A command writes plain files and model folders only, and none that it reads.
"""

import os
from pathlib import Path

from headprune_core.errors import HeadPruneError
from headprune_core.model.builtin import ASSETS, is_builtin
from headprune_core.model.model_io import check_replaceable, is_model_file, is_same
from headprune_core.output_files import absolute_path, cannot_write, check_plain_file
from headprune_core.result_cache import ResultCache
from headprune_core.temporary_folders import create_folder, delete_folder

OUTPUT_FILES = ("onnx", "report", "bundle", "out")
OUTPUT_FOLDERS = ("out_folder",)
INPUT_FILES = ("mask", "ranking")
SOURCES = ("model", "dataset")  # a file, a folder, a Hub ID or the built-in one
SIDE_FILES = {"onnx": (".data",)}  # endings of further files that an output option may write


def check_paths(options) -> None:
    """Check all files and folders that the options of a command name.

    Args:
        options: parsed arguments of any command.

    Raises:
        HeadPruneError: if a name is empty or contains a null character; if an output cannot be written, is anything but a
            plain file or a folder that may be replaced, is read by the command, or is written twice.
    """
    for name in (*OUTPUT_FILES, *OUTPUT_FOLDERS, *INPUT_FILES, *SOURCES):
        value = getattr(options, name, None)
        if value == "" and name not in SOURCES:
            raise HeadPruneError(f"{_flag(name)} needs a file or folder name; omit the option otherwise")
        if value is not None and "\0" in value:
            raise HeadPruneError(f"{_flag(name)} must not contain a null character, got {value!r}")
    inputs = _inputs(options)
    for name, value in _given(options, OUTPUT_FOLDERS):
        _check_folder(name, value, options, inputs)
    taken: list[tuple[str, str, Path]] = []
    for name, value in _given(options, OUTPUT_FILES):
        for file in [value] + [value + ending for ending in SIDE_FILES.get(name, ())]:
            path = _check_file(name, file)
            for reader, source in inputs:
                if _reads(reader, source, path):
                    raise HeadPruneError(f"{_flag(name)} must not replace {file}, which {reader} reads; choose another name")
            for other, _, written in taken:
                if written == path or is_same(written, path):
                    raise HeadPruneError(f"{_flag(name)} and {_flag(other)} must name different files, got {file} for both")
            taken.append((name, file, path))
    for folder_option, folder in _given(options, OUTPUT_FOLDERS):
        for name, file, path in taken:
            if is_model_file(path.name) and path.parent == _resolved(folder):
                raise HeadPruneError(
                    f"{_flag(name)} must not replace a file that {_flag(folder_option)} writes, got {file}; "
                    "choose another name"
                )


def _given(options, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, getattr(options, name)) for name in names if getattr(options, name, None)]


def _inputs(options) -> list[tuple[str, Path]]:
    """What reads a file or folder, and the path, for every path that the command may read."""
    found = [(_flag(name), Path(os.path.expanduser(value))) for name, value in _given(options, (*INPUT_FILES, *SOURCES))]
    found = [(reader, ASSETS if is_builtin(str(path)) else path) for reader, path in found]
    return [*found, ("the result cache", ResultCache.default().path)]


def _check_file(name: str, file: str) -> Path:
    """The real path of an output file that can be written as a plain file."""
    path = absolute_path(file)
    if os.path.isdir(path) or not os.path.isdir(path.parent):
        raise HeadPruneError(f"{_flag(name)} must be a file in an existing folder, got {file}")
    try:
        check_plain_file(path)
    except HeadPruneError as error:
        raise HeadPruneError(f"{_flag(name)} must be a plain file: {error}") from error
    _check_writable(name, path.parent)
    return _resolved(file)


def _check_folder(name: str, value: str, options, inputs: list[tuple[str, Path]]) -> None:
    folder = absolute_path(value)
    check_replaceable(folder, overwrite=options.overwrite, source=options.model)
    for reader, source in inputs:
        is_model = reader == "--model" and is_same(source, folder)
        inside = os.path.exists(source) and any(is_same(folder, part) for part in Path(os.path.realpath(source)).parents)
        if inside or (is_same(folder, source) and not is_model):
            raise HeadPruneError(f"{_flag(name)} must not replace {value}, from which {reader} reads; choose a new folder")
    _check_writable(name, next(parent for parent in folder.parents if parent.exists()))


def _check_writable(name: str, folder: Path) -> None:
    """Raise HeadPruneError if no file can be created in an existing folder."""
    try:
        delete_folder(create_folder(folder, "test"))
    except OSError as error:
        raise HeadPruneError(
            f"{_flag(name)} must be in a folder that can be written: {cannot_write(folder, error)}"
        ) from error


def _reads(reader: str, source: Path, output: Path) -> bool:
    """Whether an existing output file is an input, or a file in an input folder."""
    if is_same(source, output):
        return True
    if not os.path.isdir(source) or not output.is_file():
        return False
    if any(is_same(file, output) for file in source.iterdir()):  # also through links, as in the cache of the Hub
        return reader != "--model" or is_model_file(output.name) or output.parent != Path(os.path.realpath(source))
    return reader != "--model" and any(is_same(source, parent) for parent in output.parents)


def _resolved(path: str) -> Path:
    """The path with all links in its parent folders resolved."""
    return Path(os.path.realpath(absolute_path(path)))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
