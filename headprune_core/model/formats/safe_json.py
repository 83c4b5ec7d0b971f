"""Reading of JSON files from strangers: limited in size and depth, and without duplicate names."""

import json
import stat
from collections import Counter
from pathlib import Path

from headprune_core.errors import HeadPruneError

MAX_BYTES = 10 * 2**20  # the 21,843 classes of ImageNet-21k take 2 MB
MAX_ITEMS = 200_000  # of one list or object
WAY_OUT = "use the file that save_pretrained wrote"
FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read_json(file: Path, limit: int = MAX_BYTES) -> dict:
    """Read a JSON file that contains one object.

    Args:
        file: path of the file.
        limit: maximum size of the file in bytes.

    Returns:
        The object.

    Raises:
        HeadPruneError: if the file is larger than `limit`, is no ordinary file, or contains anything else.
    """
    check_file(file, limit)
    try:
        return parse_object(file.read_bytes(), str(file))
    except OSError as error:
        raise HeadPruneError(f"cannot read {file} ({error.strerror}); {WAY_OUT}") from error


def check_file(file: Path, limit: int) -> None:
    """Check that a file is an ordinary file of limited size.

    Args:
        file: path of the file.
        limit: maximum size in bytes.

    Raises:
        HeadPruneError: if it is a folder, a device or a pipe, is larger than `limit`, or cannot be found.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise HeadPruneError(f"cannot read {file} ({error.strerror}); {WAY_OUT}") from error
    if not stat.S_ISREG(found.st_mode):
        raise HeadPruneError(f"{file} is not an ordinary file; {WAY_OUT}")
    if found.st_size > limit:
        raise HeadPruneError(f"{file} has {found.st_size:,} bytes, but HeadPrune reads at most {limit:,} of it; {WAY_OUT}")


def parse_object(content: bytes, where: str) -> dict:
    """Parse the JSON text of one object.

    Args:
        content: UTF-8 text.
        where: what contains the text, for messages.

    Returns:
        The object. Special floats in the notation of Transformers are floats.

    Raises:
        HeadPruneError: if the text is invalid, nested too deeply, names a value twice, or contains no object.
    """
    try:
        values = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:120]
        raise HeadPruneError(f"{where} is not valid JSON ({reason}); {WAY_OUT}") from error
    if not isinstance(values, dict):
        raise HeadPruneError(f"{where} must contain a JSON object, got {str(values)[:40]!r}; {WAY_OUT}")
    return values


def _unique(pairs: list[tuple[str, object]]) -> dict | float:
    """An object whose names differ; {"__float__": "NaN"} is how Transformers writes a float that JSON does not have."""
    values = dict(pairs)
    if len(values) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {name[:40]!r} occurs twice")
    if len(values) == 1 and isinstance(values.get("__float__"), str):
        return FLOATS.get(values["__float__"], values)
    return values
