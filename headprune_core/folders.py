"""Models in folders: written beside and then renamed, so that no broken folder has the final name; and pruned ones rebuilt.

A pruned model is rebuilt by the library's own loading: a class whose constructor cuts what the head map says is gone, while
all is still on the meta device, is asked for the weights. So the whole weights exist nowhere and at no time.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from .anatomy import HeadGrid
from .errors import HeadPruneError
from .head_map import HEAD_MAP, read_head_map
from .loading import checked_folder, explained, loader_for, processor, quiet

MODEL_FILES = {".json", ".safetensors", ".txt", ".model", ".jinja", ".md", ".bpe", ".png"}


@contextmanager
def writing(folder: str | Path) -> Iterator[Path]:
    """A new folder to write to, which gets the name `folder` when the block ends well and vanishes when it does not.

    An earlier model in `folder` is replaced. Raises HeadPruneError where `folder` holds anything else, and where it cannot
    be written.
    """
    folder = Path(folder).expanduser().absolute()
    check_replaceable(folder)
    with _beside(folder) as beside:
        beside.chmod(0o777 & ~_umask())
        part = beside / "new"
        part.mkdir()
        yield part
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(part, folder)


@contextmanager
def writing_file(file: str | Path) -> Iterator[Path]:
    """The same for a file: a path to write to, which gets the name `file` when the block ends well.

    An earlier file is replaced. What lies beside the path under a longer name (its data) goes along; all else in that folder
    vanishes. Raises HeadPruneError where `file` is a folder, and where it cannot be written.
    """
    file = Path(file).expanduser().absolute()
    if file.is_dir():
        raise HeadPruneError(f"{file} is a folder; expected the name of a file")
    with _beside(file) as beside:
        yield beside / file.name
        parts = sorted(p.name for p in beside.iterdir() if p.is_file() and p.name.startswith(file.name))
        for name in reversed(parts):  # the file itself comes last
            os.replace(beside / name, file.parent / name)


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, gone after the block; what keeps it from being written to, in one sentence."""
    beside = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
        yield beside
    except HeadPruneError:
        raise
    except Exception as error:  # the libraries raise OSError and safetensors errors alike
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        reason = " ".join(str(error).split())[:200]
        raise HeadPruneError(
            f"the model could not be written to {place} ({reason}); make room there, or choose another folder"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def is_pruned(source: str) -> bool:
    """Whether `source` is a folder with a pruned model in it."""
    return bool(source) and (Path(source).expanduser() / HEAD_MAP).is_file()


def load_pruned(source: str | Path, dtype: torch.dtype) -> tuple[PreTrainedModel, object, HeadGrid, str]:
    """(model, tokenizer or None, grid, task) from a folder that a pruned model was saved to.

    Raises HeadPruneError, in one sentence, for a folder that is not complete, and where config, head map and weights do not
    fit together.
    """
    folder = checked_folder(Path(source).expanduser())
    chart = read_head_map(folder)
    safe = {"trust_remote_code": False}
    with quiet(), explained(str(folder), is_folder=True):
        config = AutoConfig.from_pretrained(folder, **safe)
        loader_for(folder, config)  # refuses what is for another task
        kind = getattr(transformers, config.architectures[0])
        grids = []

        def build(self, *args, **kwargs):
            kind.__init__(self, *args, **kwargs)
            grids.append(chart.cut(self))

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
    return model, tokenizer, grids[-1], chart.task


def check_replaceable(folder: Path) -> None:
    """Raise HeadPruneError where `folder` holds anything but a model that may be written over."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise HeadPruneError(
            f"{folder} is no folder; expected a new or empty one, or one with a model that is to be replaced"
        )
    inside = sorted(folder.iterdir()) if folder.exists() else []
    strange = [file.name for file in inside if file.is_dir() or file.suffix not in MODEL_FILES]
    if inside and not (folder / "config.json").is_file():
        strange = strange or [file.name for file in inside]
    if strange:
        raise HeadPruneError(
            f"{folder} holds other files ({', '.join(strange[:3])}); expected a new or empty folder, or one with "
            "nothing but a model to be replaced"
        )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
