"""Checks of a model's configuration before anything is built.

A configuration decides how much memory and time a model takes, and it may name code. It comes from strangers, so values that
no real model has are refused in a sentence, and names of code are removed.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import cached_file

from headprune_core.errors import HeadPruneError

from .safe_json import MAX_ITEMS, check_file, read_json

# Largest numbers by the name of the setting; the first matching pattern decides. No real model exceeds them.
LIMITS = (
    (re.compile(r"(.*_)?(layers?|depths?|blocks)"), 1000, "layers"),
    (re.compile(r"(.*_)?experts?"), 2**15, "experts"),
    (re.compile(r"(.*_)?heads?"), 4096, "heads"),
    (re.compile(r"_?(num|n)_(labels|classes)"), 100_000, "classes"),
    (
        re.compile(r"(.*_)?(size|dim|width|model|embd|inner|ff|kv|positions|embeddings|ctx|channels|buckets)"),
        2**24,
        "units",
    ),
)
POSITIVE = re.compile(r"(num_hidden|n)_layers?|(num_attention|num_key_value|n)_heads?|hidden_size|d_model|n_embd")
MAX_EXPERTS = 2**20  # of all layers together
MAX_CLASSES = 100_000
MAX_DEPTH = 20
UNLIMITED = {"time_step_limit"}  # settings of real models that may be infinite
# Settings that name code or change classes of the library for the whole process. HeadPrune decides on all of them.
CODE = re.compile(r".*implementation.*|auto_map|configuration_files|fusion_config|.*kernel_config|use_kernels|.*_tp_plan")
SAFE_WEIGHTS = (".safetensors", ".safetensors.index.json")
TOKENIZER_BYTES = 128 * 2**20  # the largest vocabularies take 35 MB
SETTINGS = ("generation_config", "tokenizer_config", "special_tokens_map", "preprocessor_config", "processor_config")
LARGE = ("tokenizer*.json", "*vocab*", "merges.txt", "*.model", "*.bpe", "*.spm", "spiece*", "added_tokens.json", "*.jinja")


def checked_config(source: str, safe: dict) -> PreTrainedConfig:
    """Read the configuration of a model without following anything that it names.

    Args:
        source: folder or Hub model ID.
        safe: keyword arguments for loading without executing code.

    Returns:
        The configuration, with the library's own attention function.

    Raises:
        HeadPruneError: if it is invalid or too large, has numbers that no model has, requires code or quantized weights,
            numbers its classes with gaps, or names weights in another format.
    """
    where = f"config.json of {source}"
    file = Path(cached_file(source, "config.json", revision=safe.get("revision")))
    values = _without_code(read_json(file), where)
    _check_numbers(where, values)
    check_classes(where, values.get("id2label"))
    weights = values.get("transformers_weights")
    if weights is not None and not (str(weights).endswith(SAFE_WEIGHTS) and re.fullmatch(r"[^/\\]+", str(weights))):
        raise HeadPruneError(
            f"{where} names the weights {weights!r}; only safetensors weights are loaded, from the same folder, since "
            "pickle files can execute code"
        )
    config = CONFIG_MAPPING[values["model_type"]].from_dict(values, name_or_path=source, attn_implementation="eager")
    config._attn_implementation, config._experts_implementation = "eager", None  # of nested configurations too
    return config


def check_settings(folder: Path) -> None:
    """Check the files that the library reads beside configuration and weights.

    Args:
        folder: folder of a model.

    Raises:
        HeadPruneError: if one is too large or no ordinary file, or if settings are not one JSON object.
    """
    for name in SETTINGS:
        file = folder / f"{name}.json"
        if file.exists():
            for path, value in _numbers(read_json(file)):
                if math.isnan(value):
                    raise HeadPruneError(f"{file} has {path[-1]} = NaN; correct the file")
    for file in {file for pattern in LARGE for file in folder.glob(pattern)}:
        check_file(file, TOKENIZER_BYTES)


def _without_code(values: dict, where: str) -> dict:
    """The settings without those that name code; refuses models that cannot be built without it."""
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        if "auto_map" in values:
            raise HeadPruneError(
                f"{where} requires trust_remote_code, which HeadPrune does not support; use an architecture built into "
                "Transformers"
            )
        raise HeadPruneError(
            f"{where} has the model_type {str(kind)[:40]!r}, which this version of Transformers does not recognize; use an "
            "architecture built into Transformers, or update it"
        )
    if kind == "mistral" and "layer_types" in values:  # as AutoConfig does
        values["model_type"] = "ministral"
    quantization = values.get("quantization_config") or values.get("compression_config")
    if quantization:
        raise HeadPruneError(
            f"{where} describes quantized weights, which HeadPrune does not load; call model.dequantize() and "
            "save_pretrained(folder) where the model runs"
        )

    def clean(part, depth: int = 0):
        if depth > MAX_DEPTH:
            raise HeadPruneError(f"{where} is nested more than {MAX_DEPTH} levels deep; correct the file")
        if isinstance(part, (dict, list)) and len(part) > MAX_ITEMS:
            raise HeadPruneError(
                f"{where} has a list of {len(part):,} values, but HeadPrune reads at most {MAX_ITEMS:,}; correct the file"
            )
        if isinstance(part, list):
            return [clean(value, depth + 1) for value in part]
        if not isinstance(part, dict):
            return part
        if part.get("use_pretrained_backbone"):
            raise HeadPruneError(
                f"{where} requires the weights of another model (use_pretrained_backbone); set it to false if they are "
                "in the folder"
            )
        return {name: clean(value, depth + 1) for name, value in part.items() if not CODE.fullmatch(name)}

    return clean(values)


def _numbers(value, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int | float]]:
    """All numbers of nested settings with the names that lead to them; the numbers of a list have the name of the list."""
    if type(value) in (int, float):
        yield path, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, (*path, name))
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, path)


def _check_numbers(where: str, values: dict) -> None:
    """Refuse numbers that no model has, in nested configurations too: they take hours or all memory to build."""
    most = {"layers": 1, "experts": 1}
    for path, value in _numbers({name: part for name, part in values.items() if name not in ("id2label", "label2id")}):
        name = path[-1]
        if math.isnan(value) or (math.isinf(value) and name not in UNLIMITED):
            raise HeadPruneError(f"{where} has {name} = {value}; expected a finite number: correct the file")
        limit, what = next(
            ((limit, what) for pattern, limit, what in LIMITS if pattern.fullmatch(name)), (math.inf, "units")
        )
        if abs(value) > limit:
            raise HeadPruneError(
                f"{where} has {name} = {value:,}, but HeadPrune builds at most {limit:,} {what}; correct the file"
            )
        if POSITIVE.fullmatch(name) and (type(value) is not int or value < 1):
            raise HeadPruneError(f"{where} has {name} = {value}; expected an integer of at least 1: correct the file")
        if what in most:
            most[what] = max(most[what], value)
    if most["layers"] * most["experts"] > MAX_EXPERTS and most["experts"] > 1:
        raise HeadPruneError(
            f"{where} has {most['layers']:,} layers of {most['experts']:,} experts, but HeadPrune builds at most "
            f"{MAX_EXPERTS:,} experts; correct the file"
        )


def check_classes(where: str, id2label: dict | None, outputs: int | None = None) -> None:
    """Check that the classes of a configuration are numbered from 0 without gaps.

    Args:
        where: what has the names, for the message.
        id2label: class names by number (or its text), or None.
        outputs: number of the model's outputs, or None if it is not known yet.

    Raises:
        HeadPruneError: if a number is missing or too large, or if there are too many.
    """
    if id2label is None and outputs is None:
        return
    if not isinstance(id2label or {}, dict):
        raise HeadPruneError(f"{where} has the id2label {str(id2label)[:40]!r}; expected class names by number: correct it")
    if len(id2label or {}) > MAX_CLASSES:
        raise HeadPruneError(
            f"{where} names {len(id2label):,} classes, but HeadPrune builds at most {MAX_CLASSES:,}; correct id2label"
        )
    numbers = sorted(map(str, id2label or {}), key=lambda n: (len(n), n))
    if numbers != [str(n) for n in range(len(numbers) if outputs is None else outputs)]:
        expected = f"0 to {outputs - 1}, one for each output" if outputs else "0 to the number of classes - 1"
        raise HeadPruneError(
            f"{where} numbers its classes {', '.join(numbers[:6])[:120]} in id2label; expected {expected}: correct id2label"
        )
