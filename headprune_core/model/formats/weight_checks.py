"""Checks of safetensors files before weights are read: index, headers, sizes against the configuration, and memory.

Only headers are read. The model whose sizes are compared is on the meta device, so it takes no memory.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers.utils import cached_file
from transformers.utils.hub import cached_files

from headprune_core.errors import HeadPruneError
from headprune_core.memory import available_memory

from .load_progress import download_reports
from .safe_json import parse_object, read_json

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.bpe"]  # no code and no pickled data
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 * 2**20  # 91,000 tensors take 9 MB
MAX_HEADER_BYTES = 100_000_000  # the limit of the format
MAX_SHARDS = 2000
SIZES = {1: "BOOL I8 U8 F8_E4M3 F8_E5M2", 2: "I16 U16 F16 BF16", 4: "I32 U32 F32", 8: "I64 U64 F64 C64"}
BYTES = {dtype: size for size, dtypes in SIZES.items() for dtype in dtypes.split()}
FLOATS = ("F64", "F32", "F16", "BF16")
PARAMETER = re.compile(r"(.*\.)?(weight|bias|gamma|beta)")
DISTRIBUTED = "shard-*-model-*-of-*.safetensors"  # for which the library reads every file of the folder
WAY_OUT = "download the file again, or use the files that save_pretrained wrote"
SLACK = 2**20  # parameters of a model that its weights may lack; a later check names them


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the header of a safetensors file.

    Attributes:
        dtype: name of the format for the data type.
        shape: its shape.
    """

    dtype: str
    shape: tuple[int, ...]


def checked_weights(source: str, safe: dict, named: str | None = None) -> dict[str, StoredTensor]:
    """Check the index and the headers of a model's weights.

    Args:
        source: folder or Hub model ID, whose weights are downloaded.
        safe: keyword arguments for loading without executing code.
        named: name of the weights or of their index in the configuration, or None.

    Returns:
        All tensors by name; empty if the source has no safetensors weights.

    Raises:
        HeadPruneError: if the index names another kind of file or a file elsewhere, or if a header is invalid.
    """
    tensors: dict[str, StoredTensor] = {}
    for file in _weight_files(source, safe, named):
        header = read_header(file)
        twice = tensors.keys() & header.keys()
        if twice:
            raise HeadPruneError(f"two weight files of {source} contain {min(twice)[:80]}; remove one of them")
        tensors |= header
    return tensors


def _weight_files(source: str, safe: dict, named: str | None) -> list[Path]:
    """The files that the library reads, in its order of preference."""
    is_folder = os.path.isdir(source)
    if is_folder and any(Path(source).glob(DISTRIBUTED)):
        raise HeadPruneError(
            f"the folder {source} contains a distributed checkpoint; load it with Transformers and call save_pretrained"
        )
    quiet = dict.fromkeys(("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False)
    options = {"revision": safe.get("revision"), "tqdm_class": download_reports()} | quiet
    found = (cached_file(source, name, **options) for name in ([named] if named else [WEIGHTS, INDEX]))
    path = next((Path(path) for path in found if path is not None), None)
    if path is None or not path.name.endswith(".json"):
        return [] if path is None else [path]
    names = _index_names(path, source)
    if is_folder:
        return [_inside(path.parent, name) for name in names]
    return [Path(file) for file in cached_files(source, names, **options) or []]


def _index_names(index: Path, source: str) -> list[str]:
    """The names of the files of an index; refuses anything but safetensors files in the same folder."""
    values = read_json(index, MAX_INDEX_BYTES)
    named = values.get("weight_map")
    if not isinstance(named, dict) or not named or not isinstance(values.get("metadata", {}), dict):
        raise HeadPruneError(f"{index} must name a file for each tensor in its weight_map; {WAY_OUT}")
    names = sorted(set(map(str, named.values())))
    wrong = [name for name in names if not re.fullmatch(r"[^/\\\0]+\.safetensors", name) or name.startswith("..")]
    if wrong:
        raise HeadPruneError(
            f"{index.name} of {source} names {wrong[0][:80]!r}; only safetensors files in the same folder are loaded"
        )
    if len(names) > MAX_SHARDS:
        raise HeadPruneError(f"{index} names {len(names):,} files, but HeadPrune reads at most {MAX_SHARDS:,}; {WAY_OUT}")
    return names


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder that an index names; the Hub's cache keeps the files of a folder in `blobs` beside it."""
    file = folder / name
    if not file.exists():
        raise HeadPruneError(f"{INDEX} of {folder} names {name[:80]!r}, which is missing; {WAY_OUT}")
    if file.resolve().parent not in (folder.resolve(), (folder.parent.parent / "blobs").resolve()):
        raise HeadPruneError(
            f"{INDEX} of {folder} names {name[:80]!r}, a link to another folder; only safetensors files in the same folder "
            "are loaded: copy the file into it"
        )
    return file


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Read and check the header of a safetensors file.

    Args:
        file: path of the file.

    Returns:
        Its tensors by name.

    Raises:
        HeadPruneError: if the header is invalid, or does not match the length of the file.
    """

    def refuse(reason: str):
        return HeadPruneError(f"{file} is not a valid safetensors file ({reason}); {WAY_OUT}")

    if not file.is_file():
        raise refuse("it is not an ordinary file")
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > size - 8 or length > MAX_HEADER_BYTES:
                raise refuse(f"a header of {length:,} bytes in a file of {size:,} bytes")
            header = parse_object(opened.read(length), f"the header of {file}")
    except OSError as error:
        raise HeadPruneError(f"cannot read {file} ({error.strerror}); {WAY_OUT}") from error
    header.pop("__metadata__", None)
    tensors, spans = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            whole = all(type(number) is int and number >= 0 for number in (*shape, start, stop))
        except (KeyError, TypeError, ValueError) as error:
            raise refuse(f"the entry of {name[:80]} is incomplete") from error
        if not isinstance(dtype, str) or dtype not in BYTES:
            raise refuse(f"{name[:80]} has the unknown dtype {str(dtype)[:20]!r}")
        if not whole or stop - start != math.prod(shape) * BYTES[dtype]:
            raise refuse(f"the shape of {name[:80]} does not match its {str(stop)[:20]} - {str(start)[:20]} bytes")
        if dtype not in FLOATS and PARAMETER.fullmatch(name) and (len(shape) == 1 or name.endswith("weight")):
            raise HeadPruneError(  # GPT-2 has a mask of four dimensions whose name is bias
                f"{file} has {name[:80]} as {dtype}, but weights must be {', '.join(FLOATS)}; use weights that are not "
                "quantized"
            )
        tensors[name] = StoredTensor(dtype, shape)
        spans.append((start, stop))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise refuse(f"its tensors {'overlap' if start < end else 'leave a gap'} at byte {min(start, end):,}")
        end = stop
    if end != size - 8 - length:
        raise refuse(f"its tensors have {end:,} bytes, but the file has {size - 8 - length:,}")
    return tensors


def check_sizes(source: str, model: nn.Module, stored: dict[str, StoredTensor], dtype: torch.dtype) -> None:
    """Check that a model has about as many parameters as its weights, that their kinds match, and that it fits in memory.

    Without this check, a model that is larger than its weights would be filled with random numbers first.

    Args:
        source: name of the model, for messages.
        model: the model on the meta device.
        stored: its weights, and those that an adapter adds.
        dtype: precision in which it is loaded.

    Raises:
        HeadPruneError: if one of them is not so.
    """
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    for name in sizes:
        if name in stored and stored[name].dtype not in FLOATS:
            raise HeadPruneError(
                f"the weights of {source} have {name} as {stored[name].dtype}, but weights must be {', '.join(FLOATS)}; "
                "use weights that are not quantized"
            )
    needed, given = sum(sizes.values()), sum(math.prod(tensor.shape) for tensor in stored.values())
    if needed > 1.5 * given + SLACK:
        raise HeadPruneError(
            f"config.json of {source} describes a model of {needed:,} parameters, but its weights have {given:,}; use the "
            "files that save_pretrained wrote together"
        )
    check_memory(source, needed, dtype)


def check_memory(source: str, parameters: int, dtype: torch.dtype) -> None:
    """Check that a model fits in the memory that is free.

    Args:
        source: name of the model, for the message.
        parameters: its number of parameters.
        dtype: precision in which it is loaded.

    Raises:
        HeadPruneError: if it does not.
    """
    needed, free = parameters * dtype.itemsize, available_memory()
    if needed > free:
        smaller = "pass dtype='bfloat16' for half of it, or " if dtype.itemsize > 2 else ""
        raise HeadPruneError(
            f"{source} needs {needed / 2**30:,.1f} GiB of memory as {str(dtype).removeprefix('torch.')}, but "
            f"{free / 2**30:,.1f} GiB are free; {smaller}use a machine with more memory"
        )
