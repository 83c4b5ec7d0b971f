"""Models in folders: written beside and then renamed, so that no broken folder has the final name; and pruned ones rebuilt.

A pruned model is rebuilt by the library's own loading: a class whose constructor cuts what the head map says is gone, while
all is still on the meta device, is asked for the weights. So the whole weights exist nowhere and at no time.
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

from .head_layout import AttentionRow, HeadGrid
from .head_map import HEAD_MAP, read_head_map
from .loading import checked_folder, loader_for, processor, silence_transformers, translate_errors

MODEL_FILES = {".json", ".safetensors", ".model", ".spm", ".jinja", ".bpe"}  # by their endings, and these by name
MODEL_FILES |= {"vocab.txt", "merges.txt", "dict.txt", "README.md", "head_map.png"}
ATTEMPTS = 20  # to give a folder its name while others do the same


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """A new folder to write to, which gets the name `folder` when the block ends well and vanishes when it does not.

    An earlier model in `folder` is replaced; of several that are written at the same time the last stays. Raises
    HeadPruneError where `folder` holds anything else, and where it cannot be written.
    """
    folder = _absolute(folder)
    check_replaceable(folder)
    with _beside(folder) as beside:
        part = beside / "new"
        part.mkdir()
        yield part
        _swap_folder(part, folder, beside)


@contextmanager
def atomic_file(file: str | Path) -> Iterator[Path]:
    """The same for a file: a path to write to, which gets the name `file` when the block ends well.

    An earlier file is replaced. What lies beside the path under a longer name (its data) goes along; all else in that folder
    vanishes. Raises HeadPruneError where `file` is a folder, and where it cannot be written.
    """
    file = _absolute(file)
    if os.path.isdir(file):
        raise HeadPruneError(f"{file} is a folder; expected the name of a file")
    with _beside(file) as beside:
        yield beside / file.name
        parts = sorted(p.name for p in beside.iterdir() if p.is_file() and p.name.startswith(file.name))
        for name in reversed(parts):  # the file itself comes last
            os.replace(beside / name, file.parent / name)


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, gone after the block; what keeps `place` from being written, in one sentence."""
    beside = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.parent / f".{place.name[:40]}-{secrets.token_hex(8)}"
        beside.mkdir()
        yield beside
    except HeadPruneError:
        raise
    except Exception as error:  # the libraries raise OSError and safetensors errors alike
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        reason = " ".join(str(error).split())[:200]
        raise HeadPruneError(
            f"nothing could be written to {place} ({reason}); make room there, or choose another place"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _swap_folder(new: Path, folder: Path, beside: Path) -> None:
    """Give `new` the name `folder`; what had it goes to `beside`, and comes back where that fails or is broken off."""
    for attempt in range(ATTEMPTS):
        old = beside / f"old-{attempt}"
        try:
            with suppress(FileNotFoundError):
                os.replace(folder, old)
            os.replace(new, folder)
            return
        except BaseException as error:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            # somebody else's new model came between the two
            if not isinstance(error, OSError) or error.errno not in (ENOTEMPTY, EEXIST) or attempt == ATTEMPTS - 1:
                raise


def is_pruned(source: str) -> bool:
    """Whether `source` is a folder with a pruned model in it."""
    return bool(source) and os.path.isfile(Path(os.path.expanduser(source)) / HEAD_MAP)


def load_pruned(source: str | Path, dtype: torch.dtype) -> tuple[PreTrainedModel, object, HeadGrid, str]:
    """(model, tokenizer or None, grid, task) from a folder that a pruned model was saved to.

    Raises HeadPruneError, in one sentence, for a folder that is not complete, and where config, head map and weights do not
    fit together.
    """
    folder = checked_folder(Path(os.path.expanduser(source)))
    chart = read_head_map(folder)
    safe = {"trust_remote_code": False}
    with silence_transformers(), translate_errors(str(folder), is_folder=True):
        config = AutoConfig.from_pretrained(folder, **safe)
        loader_for(folder, config)  # refuses what is for another task
        kind = getattr(transformers, config.architectures[0])
        grids = []

        def build(self, *args, **kwargs):
            kind.__init__(self, *args, **kwargs)
            grids.append(chart.prune(self))

        # the library looks at the module and the name of a class
        cut = type(kind.__name__, (kind,), {"__init__": build, "__module__": kind.__module__})
        options = {"config": config, "use_safetensors": True, "dtype": dtype, **safe}
        model, report = cut.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True, **options)
        model.__class__ = kind
        tokenizer = processor(str(folder), model, True, safe)
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if wrong:
        raise HeadPruneError(
            f"{folder / HEAD_MAP} does not fit the weights beside it: {len(wrong)} of them are missing, of another shape or "
            f"not in the map ({', '.join(wrong[:3])}); expected the files that save_pretrained wrote together"
        )
    loud = [row.name for row in grids[-1].rows if any(block.any() for block in _silent(row))]
    if loud:
        raise HeadPruneError(
            f"{folder / HEAD_MAP} says that heads of {loud[0]} are without effect, and the weights beside it are not; "
            "expected the files that save_pretrained wrote together"
        )
    return model, tokenizer, grids[-1], chart.task


def _silent(row: AttentionRow) -> list[torch.Tensor]:
    """The output weights of heads that are present without effect."""
    return [block for head, block in zip(row.present, row.out.blocks(outputs=False), strict=True) if not row.kept[head]]


def check_replaceable(folder: Path) -> None:
    """Raise HeadPruneError where `folder` is or holds anything but a model that may be written over."""
    expected = "expected a new or empty folder, or one with nothing but a model to be replaced"
    folder = _absolute(folder)
    if os.path.islink(folder):
        raise HeadPruneError(f"{folder} is a link to {os.path.realpath(folder)}; {expected}: give the folder's own name")
    try:
        inside = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise HeadPruneError(f"{folder} is no folder; {expected}") from error
    except (OSError, ValueError) as error:  # not allowed; a name that is too long or none
        raise HeadPruneError(f"{folder} cannot be looked into ({error}); {expected}") from error
    if Path.cwd().is_relative_to(folder.resolve()):
        raise HeadPruneError(f"{folder} is the folder that this runs in, or holds it; {expected}: choose one below it")
    strange = [file.name for file in inside if file.is_dir() or not {file.suffix, file.name} & MODEL_FILES]
    is_model = folder / "config.json" in inside and any(file.suffix == ".safetensors" for file in inside)
    if inside and not is_model:
        strange = strange or [file.name for file in inside]
    if strange:
        raise HeadPruneError(f"{folder} holds other files ({', '.join(strange[:3])}); {expected}")


def _absolute(place: str | Path) -> Path:
    """The whole path, without any part that is "..": what lies beside it has to have a name."""
    return Path(os.path.abspath(os.path.expanduser(place)))
