"""PEFT adapters: a folder of low-rank changes is merged into the base model that it names.

The package `peft` is optional. Only safetensors adapters are read, and no module is imported that an adapter names.
"""

import importlib.util
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import cached_file

from headprune_core.errors import HeadPruneError

from .load_progress import download_reports
from .safe_json import read_json
from .weight_checks import FILES, StoredTensor, read_header

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TASKS = {
    "SEQ_CLS": AutoModelForSequenceClassification,
    "CAUSAL_LM": AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": AutoModelForSeq2SeqLM,
}
MAX_REPEATS = 8  # in a regular expression
WAY_OUT = "PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(new_folder)"


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter.

    Attributes:
        folder: its folder.
        base: Hub model ID or folder of its base model.
        revision: revision of the base model, or None.
        loader: Auto class of the base model, or None if the base model's configuration decides.
        tensors: tensors of the adapter by name; those of whole parameters (not changes) have their names in the model.
    """

    folder: Path
    base: str
    revision: str | None
    loader: type | None
    tensors: dict[str, StoredTensor]

    def fit_classes(self, config: PreTrainedConfig, loader: type) -> None:
        """Set the number of classes of a base configuration to that of the adapter's own classifier.

        Args:
            config: configuration of the base model; changed.
            loader: Auto class of the model.
        """
        with torch.device("meta"):
            state = loader.from_config(config).state_dict()
        for name, tensor in self.tensors.items():
            known = state[name].shape if name in state else tensor.shape
            if known != tensor.shape and known[0] == config.num_labels:
                config.num_labels = tensor.shape[0]
                return

    def merge_into(self, model: PreTrainedModel) -> PreTrainedModel:
        """Return a base model with the adapter's changes added to its weights.

        Args:
            model: the base model; changed.

        Raises:
            HeadPruneError: if the adapter does not fit the model.
        """
        import peft

        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            adapted = peft.PeftModel.from_pretrained(model, str(self.folder), use_safetensors=True)
        missing = [str(note.message) for note in notes if "missing adapter keys" in str(note.message)]
        if missing:
            raise HeadPruneError(f"the adapter {self.folder} does not match its base model {self.base}: {missing[0][:160]}")
        return adapted.merge_and_unload()


def find_adapter(source: str, safe: dict) -> Adapter | None:
    """Read the adapter of a folder or Hub model ID.

    Args:
        source: folder or Hub model ID.
        safe: keyword arguments for loading without executing code.

    Returns:
        The adapter, or None if there is none.

    Raises:
        HeadPruneError: if it cannot be merged safely, or if `peft` is not installed.
    """
    if os.path.isdir(source):
        folder = Path(source)
        if not (folder / CONFIG).is_file():
            return None
        if (folder / "config.json").is_file():
            raise HeadPruneError(f"{folder} contains a model and an adapter; move one of them to another folder")
    else:
        quiet = dict.fromkeys(("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False)
        file = cached_file(source, CONFIG, revision=safe.get("revision"), **quiet)
        if file is None:
            return None
        patterns = {"allow_patterns": FILES, "ignore_patterns": ["*/*"], "tqdm_class": download_reports()}
        folder = Path(snapshot_download(source, revision=safe.get("revision"), **patterns))
    return _read_adapter(folder)


def _read_adapter(folder: Path) -> Adapter:
    values = read_json(folder / CONFIG)
    base, task = values.get("base_model_name_or_path"), values.get("task_type")
    if importlib.util.find_spec("peft") is None:
        raise HeadPruneError(f"{folder} contains a PEFT adapter, but peft is not installed; run: pip install peft")
    if not base:
        raise HeadPruneError(f"{folder / CONFIG} names no base model; merge the adapter yourself with {WAY_OUT}")
    if task is not None and task not in TASKS:
        raise HeadPruneError(f"the adapter {folder} is for the task {task}; expected one of {', '.join(TASKS)}")
    kind = str(values.get("peft_type"))
    if "PROMPT" in kind or "TUNING" in kind:  # they change inputs, not weights
        raise HeadPruneError(
            f"the adapter {folder} of type {kind} cannot be merged into the weights of its base model; use an adapter "
            "such as LoRA, or a complete model"
        )
    if values.get("megatron_config"):
        raise HeadPruneError(f"{folder / CONFIG} requires Megatron, which is not supported; use an adapter without it")
    if not (folder / WEIGHTS).is_file():
        raise HeadPruneError(
            f"the adapter {folder} contains no {WEIGHTS}; only safetensors weights are loaded, since pickle files can "
            "execute code: if you trust it, load it with peft and call save_pretrained"
        )
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in read_header(folder / WEIGHTS).items()}
    _check_rank(folder, values, tensors)
    return Adapter(folder, str(base), values.get("revision"), TASKS.get(task), tensors)


def _check_rank(folder: Path, values: dict, tensors: dict[str, StoredTensor]) -> None:
    """Refuse settings by which the library would build more than the adapter has."""
    patterns = values.get("rank_pattern")
    ranks = [values.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())]
    largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    wrong = [rank for rank in ranks if type(rank) in (int, float) and not 0 <= rank <= largest]
    if wrong:
        raise HeadPruneError(
            f"{folder / CONFIG} has the rank {wrong[0]:,}, but the largest size in {WEIGHTS} is {largest:,}; use the files "
            "that save_pretrained wrote together"
        )
    if values.get("layer_replication"):
        raise HeadPruneError(
            f"{folder / CONFIG} repeats layers (layer_replication); merge the adapter yourself with {WAY_OUT}"
        )
    targets = [values.get(name) for name in ("target_modules", "exclude_modules", "layers_pattern")]
    expressions = [
        text for text in (*targets, *(patterns or ()), *(values.get("alpha_pattern") or ())) if isinstance(text, str)
    ]
    for text in expressions:  # the time of a search may grow exponentially
        if re.search(r"\)[*+{]", text) or sum(map(text.count, "*+}")) > MAX_REPEATS:
            raise HeadPruneError(
                f"{folder / CONFIG} selects modules by a regular expression with a repeated group or more than "
                f"{MAX_REPEATS} repetitions; list their names instead"
            )


def check_no_adapter(model: object) -> None:
    """Refuse models in memory that still have adapter layers.

    Args:
        model: the model to wrap.

    Raises:
        HeadPruneError: if it is no Transformers model, or has layers of an adapter.
    """
    name = type(model).__name__
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    if any(type(module).__module__.split(".")[0] == "peft" for module in modules):
        raise HeadPruneError(
            f"{name} has the layers of a PEFT adapter beside its weights; pass model.merge_and_unload() instead"
        )
    if not isinstance(model, PreTrainedModel):
        raise HeadPruneError(f"the model must be a Transformers model, got {name}; load it with from_pretrained")
