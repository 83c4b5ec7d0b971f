"""Atomic writing of model folders and files, and loading of pruned models from folders.

A folder is written under a temporary name and then renamed, so the final name never refers to an incomplete folder. A pruned
model is loaded by the library into a class whose constructor removes the pruned heads on the meta device, so the unpruned
weights never exist in memory.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTEMPTY
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from headprune_core.errors import HeadPruneError

from .head_discovery import example_task
from .head_layout import AttentionRow, HeadGrid
from .head_map import HEAD_MAP, read_head_map
from .loading import checked_folder, loader_for, processor, silence_transformers, translate_errors

MODEL_FILES = {".json", ".safetensors", ".model", ".spm", ".jinja", ".bpe"}  # suffixes; the names of further files follow
MODEL_FILES |= {"vocab.txt", "merges.txt", "dict.txt", "README.md", "head_map.png"}
MAX_RENAMES = 20  # attempts to rename a folder while other processes do the same


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Write a model folder atomically.

    The block writes to a temporary folder, which is renamed to `folder` if the block succeeds and deleted otherwise. An
    earlier model in `folder` is replaced; if several processes write at the same time, the last one remains.

    Args:
        folder: final name of the folder.

    Yields:
        The temporary folder.

    Raises:
        HeadPruneError: if `folder` contains anything but a model, or if it cannot be written.
    """
    folder = _absolute(folder)
    check_replaceable(folder)
    with _temporary_folder(folder) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        _swap_folder(new, folder, temporary)


@contextmanager
def atomic_file(file: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    The block writes to a temporary path, which is renamed to `file` if the block succeeds. Files beside it whose names begin
    with its name (its external data) are moved too; everything else in the temporary folder is deleted.

    Args:
        file: final name of the file; an earlier file is replaced.

    Yields:
        The temporary path.

    Raises:
        HeadPruneError: if `file` is a folder or cannot be written.
    """
    file = _absolute(file)
    if os.path.isdir(file):
        raise HeadPruneError(f"{file} is a folder; choose a file name")
    with _temporary_folder(file) as temporary:
        yield temporary / file.name
        names = sorted(p.name for p in temporary.iterdir() if p.is_file() and p.name.startswith(file.name))
        for name in reversed(names):  # the file itself comes last
            os.replace(temporary / name, file.parent / name)


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, deleted after the block; errors while writing become one HeadPruneError."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name[:40]}-{secrets.token_hex(8)}"
        temporary.mkdir()
        yield temporary
    except HeadPruneError:
        raise
    except Exception as error:  # OSError and safetensors errors both occur
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        reason = " ".join(str(error).split())[:200]
        raise HeadPruneError(f"cannot write to {path} ({reason}); free disk space or choose another location") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap_folder(new: Path, folder: Path, temporary: Path) -> None:
    """Rename `new` to `folder` after moving the earlier folder to `temporary`; move it back if that fails."""
    for attempt in range(MAX_RENAMES):
        old = temporary / f"old-{attempt}"
        try:
            with suppress(FileNotFoundError):
                os.replace(folder, old)
            os.replace(new, folder)
            return
        except BaseException as error:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            # Another process created the folder between the two renames; retry.
            if not isinstance(error, OSError) or error.errno not in (ENOTEMPTY, EEXIST) or attempt == MAX_RENAMES - 1:
                raise


def is_pruned(source: str) -> bool:
    """Return True if `source` is a folder with a pruned model.

    Args:
        source: path or model ID.
    """
    return bool(source) and os.path.isfile(Path(os.path.expanduser(source)) / HEAD_MAP)


def load_pruned(source: str | Path, dtype: torch.dtype) -> tuple[PreTrainedModel, object, HeadGrid, str]:
    """Load a pruned model from a folder.

    Args:
        source: folder that `save_pretrained` wrote.
        dtype: precision of the weights.

    Returns:
        The Transformers model, its tokenizer or None, its head grid and its task.

    Raises:
        HeadPruneError: if the folder is incomplete, or if configuration, head map and weights do not match.
    """
    folder = checked_folder(Path(os.path.expanduser(source)))
    layout = read_head_map(folder)
    safe = {"trust_remote_code": False}
    with silence_transformers(), translate_errors(str(folder), is_folder=True):
        config = AutoConfig.from_pretrained(folder, **safe)
        loader_for(folder, config)  # raises HeadPruneError for an unsupported task
        original = getattr(transformers, config.architectures[0])
        grids = []

        def build(self, *args, **kwargs):
            original.__init__(self, *args, **kwargs)
            grids.append(layout.prune(self))

        # The library uses the module and the name of the class, so both are copied.
        pruned = type(original.__name__, (original,), {"__init__": build, "__module__": original.__module__})
        options = {"config": config, "use_safetensors": True, "dtype": dtype, **safe}
        model, report = pruned.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True, **options)
        model.__class__ = original
        tokenizer = processor(str(folder), model, True, safe)
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if wrong:
        raise HeadPruneError(
            f"{folder / HEAD_MAP} does not match the weights in its folder: {len(wrong)} of them are missing, unexpected "
            f"or of another shape ({', '.join(wrong[:3])}); use the files that save_pretrained wrote together"
        )
    nonzero = [row.name for row in grids[-1].rows if any(block.any() for block in _zeroed_blocks(row))]
    if nonzero:
        raise HeadPruneError(
            f"{folder / HEAD_MAP} lists zeroed heads of {nonzero[0]}, but their output weights are not 0; "
            "use the files that save_pretrained wrote together"
        )
    # Head maps of the first version call every model with one prediction per example a classifier.
    task = example_task(config) if layout.task == "classification" else layout.task
    return model, tokenizer, grids[-1], task


def _zeroed_blocks(row: AttentionRow) -> list[torch.Tensor]:
    """The output weights of heads that are present but pruned, which must be 0."""
    return [block for head, block in zip(row.present, row.out.blocks(outputs=False), strict=True) if not row.kept[head]]


def check_replaceable(folder: Path) -> None:
    """Check that a folder can be replaced by a model without losing anything else.

    Args:
        folder: the folder; it need not exist.

    Raises:
        HeadPruneError: if it contains anything but a model, or is no ordinary folder.
    """
    expected = "expected a new or empty folder, or one that contains only a model to replace"
    folder = _absolute(folder)
    if os.path.islink(folder):
        raise HeadPruneError(
            f"{folder} is a link to {os.path.realpath(folder)}; {expected}: use the name of the folder itself"
        )
    try:
        inside = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise HeadPruneError(f"{folder} is not a folder; {expected}") from error
    except (OSError, ValueError) as error:  # no permission, or an invalid name
        raise HeadPruneError(f"cannot read {folder} ({error}); {expected}") from error
    if Path.cwd().is_relative_to(folder.resolve()):
        raise HeadPruneError(f"{folder} is the working directory or one of its parents; {expected}: choose a subfolder")
    others = [file.name for file in inside if file.is_dir() or not {file.suffix, file.name} & MODEL_FILES]
    is_model = folder / "config.json" in inside and any(file.suffix == ".safetensors" for file in inside)
    if inside and not is_model:
        others = others or [file.name for file in inside]
    if others:
        raise HeadPruneError(f"{folder} contains other files ({', '.join(others[:3])}); {expected}")


def _absolute(path: str | Path) -> Path:
    """The absolute path without "..", so that its parent folder and name are known."""
    return Path(os.path.abspath(os.path.expanduser(path)))
