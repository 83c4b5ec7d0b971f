"""Checks of a model's configuration and weight index before anything is built or read.

A configuration decides how much memory and time a model takes, and an index decides which files are read. Both come from
strangers, so values that no real model has are refused in a sentence.
"""

import json
import os
import re
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import cached_file

from headprune_core.errors import HeadPruneError

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.bpe"]  # no code and no pickled data
INDEX = "model.safetensors.index.json"
MAX_LAYERS = 1000  # the deepest language models have fewer than 200
MAX_CONFIG_BYTES = 20 * 2**20  # the 21,843 classes of ImageNet-21k take 2 MB
LAYERS = re.compile(r"(.*_)?(layers?|depths?|blocks)")
SAFE_WEIGHTS = (".safetensors", ".safetensors.index.json")


def checked_config(source: str, safe: dict) -> PreTrainedConfig:
    """Read the configuration of a model without following anything that it names.

    Args:
        source: folder or Hub model ID.
        safe: keyword arguments for loading without executing code.

    Returns:
        The configuration, with the library's own attention function.

    Raises:
        HeadPruneError: if it is too large, has more layers than any model, numbers its classes with gaps, or names weights
            in another format.
    """
    file = Path(source) / "config.json"
    if file.is_file() and file.stat().st_size > MAX_CONFIG_BYTES:
        raise HeadPruneError(
            f"{file} has {file.stat().st_size:,} bytes, but a configuration has at most {MAX_CONFIG_BYTES:,}; use the file "
            "that save_pretrained wrote"
        )
    values, _ = PreTrainedConfig.get_config_dict(source, **safe)
    _check_layers(source, values)
    check_classes(f"config.json of {source}", values.get("id2label"))
    weights = values.get("transformers_weights")
    if weights is not None and not str(weights).endswith(SAFE_WEIGHTS):
        raise HeadPruneError(
            f"config.json of {source} names the weights {weights!r}; only safetensors weights are loaded, since pickle "
            "files can execute code"
        )
    # A configuration may name an attention function whose code is downloaded; the name given here has priority.
    config = AutoConfig.from_pretrained(source, attn_implementation="eager", **safe)
    config._attn_implementation = "eager"
    return config


def _check_layers(source: str, values: dict) -> None:
    """Refuse numbers of layers that take hours to build, in nested configurations too."""
    for name, value in values.items():
        if isinstance(value, dict):
            _check_layers(source, value)
            continue
        numbers = [v for v in (value if isinstance(value, list) else [value]) if type(v) in (int, float)]
        if LAYERS.fullmatch(name) and any(number > MAX_LAYERS for number in numbers):
            raise HeadPruneError(
                f"config.json of {source} has {name} = {max(numbers):,}, but HeadPrune builds at most {MAX_LAYERS:,} "
                "layers; correct the file"
            )


def check_classes(where: str, id2label: dict | None, outputs: int | None = None) -> None:
    """Check that the classes of a configuration are numbered from 0 without gaps.

    Args:
        where: what has the names, for the message.
        id2label: class names by number (or its text), or None.
        outputs: number of the model's outputs, or None if it is not known yet.

    Raises:
        HeadPruneError: if a number is missing or too large.
    """
    if id2label is None and outputs is None:
        return
    numbers = sorted(map(str, id2label or {}), key=lambda n: (len(n), n))
    if numbers != [str(n) for n in range(len(numbers) if outputs is None else outputs)]:
        expected = f"0 to {outputs - 1}, one for each output" if outputs else "0 to the number of classes - 1"
        raise HeadPruneError(
            f"{where} numbers its classes {', '.join(numbers[:6])} in id2label; expected {expected}: correct id2label"
        )


def check_index(source: str, safe: dict) -> None:
    """Check that the index of sharded weights names only safetensors files of the same folder.

    Args:
        source: folder or Hub model ID.
        safe: keyword arguments for loading without executing code.

    Raises:
        HeadPruneError: if it names another kind of file or a file elsewhere.
    """
    if os.path.isdir(source):
        indices = list(Path(source).glob("*.index.json"))
    else:
        options = {"revision": safe.get("revision"), "_raise_exceptions_for_missing_entries": False}
        found = cached_file(source, INDEX, _raise_exceptions_for_connection_errors=False, **options)
        indices = [] if found is None else [Path(found)]
    for index in indices:
        names = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
        wrong = sorted(
            {str(n) for n in names if not re.fullmatch(r"[^/\\]+\.safetensors", str(n)) or str(n).startswith("..")}
        )
        if wrong and not index.name.startswith("pytorch_model"):  # the library ignores the index of pickle files
            raise HeadPruneError(
                f"{index.name} of {source} names {wrong[0]!r}; only safetensors files in the same folder are loaded"
            )
