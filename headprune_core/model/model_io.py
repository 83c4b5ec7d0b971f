"""Atomic writing of model folders, and loading of pruned models from folders.

A folder is written under a temporary name and then renamed, so the final name never refers to an incomplete folder. A pruned
model is loaded by the library into a class whose constructor removes the pruned heads on the meta device, so the unpruned
weights never exist in memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTEMPTY
from fnmatch import fnmatchcase
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError
from headprune_core.output_files import absolute_path, temporary_folder
from headprune_core.temporary_folders import ASIDE

from .formats.adapter import CONFIG
from .formats.config_checks import check_settings, checked_config
from .formats.library_calls import silence_transformers, translate_errors
from .formats.load_progress import begin_step
from .formats.tasks import example_task, loader_for
from .formats.v4_pruned import heads_pruned_by_v4, v4_head_map
from .formats.weight_checks import check_sizes, checked_weights
from .head_layout import AttentionRow, HeadGrid
from .head_map import HEAD_MAP, read_head_map
from .loading import checked_folder, processor

# Names of the files of a saved model; a folder with any other file is not replaced.
MODEL_FILES = ("config.json", "*_config.json", HEAD_MAP, "model*.safetensors", "model*.safetensors.index.json")
MODEL_FILES += ("tokenizer*.json", "*vocab*.json", "added_tokens.json", "special_tokens_map.json", "normalizer.json")
MODEL_FILES += ("chat_template.json", "*.jinja", "*.model", "*.spm", "*.bpe", "vocab.txt", "merges.txt", "dict.txt")
MODEL_FILES += ("README.md", "head_map.png")
MAX_RENAMES = 20  # attempts to rename a folder while other processes do the same


@contextmanager
def atomic_folder(folder: str | Path, *, overwrite: bool = False, source: str = "") -> Iterator[Path]:
    """Write a model folder atomically.

    The block writes to a temporary folder, which is renamed to `folder` if the block succeeds and deleted otherwise. An
    earlier model in `folder` is replaced; if several processes write at the same time, the last one remains.

    Args:
        folder: final name of the folder.
        overwrite: as in `check_replaceable`.
        source: as in `check_replaceable`.

    Yields:
        The temporary folder.

    Raises:
        HeadPruneError: if `check_replaceable` refuses `folder`, or if it cannot be written.
    """
    folder = absolute_path(folder)
    check_replaceable(folder, overwrite=overwrite, source=source)
    with temporary_folder(folder) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        _swap_folder(new, folder, temporary)


def _swap_folder(new: Path, folder: Path, temporary: Path) -> None:
    """Rename `new` to `folder` after moving the earlier folder to `temporary`; move it back if that fails."""
    for attempt in range(MAX_RENAMES):
        old = temporary / f"{ASIDE}{attempt}"
        try:
            with suppress(FileNotFoundError):
                os.replace(folder, old)
            os.replace(new, folder)
            for number, complete in enumerate(sorted(temporary.glob(f"{ASIDE}*"))):
                os.replace(complete, temporary / f"replaced-{number}")
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
    folder = Path(os.path.expanduser(source))
    return bool(source) and os.path.isdir(folder) and (os.path.isfile(folder / HEAD_MAP) or bool(heads_pruned_by_v4(folder)))


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
    if (folder / CONFIG).exists():
        raise HeadPruneError(f"{folder} contains a pruned model and an adapter; move one of them to another folder")
    has_map = (folder / HEAD_MAP).is_file()
    layout = read_head_map(folder) if has_map else None
    safe = {"trust_remote_code": False}
    with silence_transformers(), translate_errors(str(folder), is_folder=True):
        check_settings(folder)
        config = checked_config(str(folder), safe)
        stored = checked_weights(str(folder), safe, getattr(config, "transformers_weights", None))
        loader_for(folder, config)  # raises HeadPruneError for an unsupported task
        original = getattr(transformers, config.architectures[0])
        if layout is None:
            layout = v4_head_map(folder, original, config)
            del config.pruned_heads  # a later head map has the remaining heads
        grids = []

        def build(self, *args, **kwargs):
            original.__init__(self, *args, **kwargs)
            grids.append(layout.prune(self))
            check_sizes(str(folder), self, stored, dtype)  # the library builds the model on the meta device first

        # The library uses the module and the name of the class, so both are copied.
        pruned = type(original.__name__, (original,), {"__init__": build, "__module__": original.__module__})
        begin_step("Loading the weights")
        options = {"config": config, "use_safetensors": True, "dtype": dtype, "attn_implementation": "eager", **safe}
        model, report = pruned.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True, **options)
        model.__class__ = original
        tokenizer = processor(str(folder), model, True, safe)
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if wrong:
        raise HeadPruneError(
            f"{folder / (HEAD_MAP if has_map else 'config.json')} does not match the weights in its folder: {len(wrong)} of "
            f"them are missing, unexpected or of another shape ({', '.join(wrong[:3])}); use the files that save_pretrained "
            "wrote together"
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


def check_replaceable(folder: str | Path, *, overwrite: bool = False, source: str = "") -> None:
    """Check that a folder can be replaced by a model without losing anything else.

    Args:
        folder: the folder; it need not exist.
        overwrite: whether a model that HeadPrune did not write (a folder without a head map), and the model in `source`,
            may be replaced.
        source: folder that the model was loaded from, or any other text.

    Raises:
        HeadPruneError: if the folder contains anything but a model, contains a model that must not be replaced, or is no
            ordinary folder.
    """
    expected = "expected a new or empty folder, or one that contains only a model to replace"
    folder = absolute_path(folder)
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
    others = [file.name for file in inside if not file.is_file() or not is_model_file(file.name)]
    is_model = folder / "config.json" in inside and any(file.suffix == ".safetensors" for file in inside)
    if inside and not is_model:
        others = others or [file.name for file in inside]
    if others:
        raise HeadPruneError(f"{folder} contains other files ({', '.join(others[:3])}); {expected}")
    if not inside or overwrite:
        return
    choose = "choose a new folder, or pass overwrite=True (--overwrite) to replace the model"
    if is_same(source, folder):
        raise HeadPruneError(f"{folder} is the folder that the model is read from; {choose}")
    if folder / HEAD_MAP not in inside:
        raise HeadPruneError(f"{folder} contains a model that HeadPrune did not write (no {HEAD_MAP}); {choose}")


def is_model_file(name: str) -> bool:
    """Return True if a saved model may have a file of this name.

    Args:
        name: file name without its folder.
    """
    return any(fnmatchcase(name, pattern) for pattern in MODEL_FILES)


def is_same(path: str | Path, other: str | Path) -> bool:
    """Return True if two paths exist and lead to the same file or folder.

    Args:
        path: a path, or any other text.
        other: another one.
    """
    try:
        return os.path.samefile(os.path.expanduser(path), os.path.expanduser(other))
    except (OSError, ValueError):  # not there, or no possible path
        return False
