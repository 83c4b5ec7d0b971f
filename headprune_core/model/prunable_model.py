"""PrunableModel: a Transformers model, frozen, in eval mode, with its head grid, in the precision that is asked for.

A wrapped model is never changed again, so it can be shared between threads; what a call wants from it travels in a probe.
"""

import copy
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headprune_core.errors import HeadPruneError
from headprune_core.result_cache import fingerprint

from . import smollm2
from .forward_cache import enable_caching
from .forward_cost import Cost
from .head_discovery import find_heads, verify_layout
from .head_layout import HeadGrid, linear_layers
from .head_map import HEAD_MAP, head_map
from .hub import pruned_on_hub
from .loading import load, silence_transformers
from .model_io import atomic_folder, is_pruned, load_pruned
from .packed_linear import PackedWeights

DTYPES = ("float32", "bfloat16", "float16")


class PrunableModel:
    """A model whose heads can be scored, gated and removed.

    Attributes: model (frozen, eval), tokenizer (or None; the image processor of a vision model), grid (HeadGrid), task
    ("classification", "language" or "translation"), cost (what a forward pass does), name (for people).
    """

    # what describes a pruned model in its folder, by file name; set in headprune_core/__init__.py, which knows the report room
    card_files: ClassVar[Callable[["PrunableModel", object | None], Mapping[str, bytes]]]

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, *, name=None):
        """Wrap a loaded model: freeze it, put it in eval mode, find its heads. Works on the meta device too."""
        self._adopt(model, tokenizer, name, *find_heads(model.eval().requires_grad_(False)))

    @classmethod
    def of_heads(cls, model: PreTrainedModel, grid: HeadGrid, task: str, tokenizer=None, *, name=None) -> "PrunableModel":
        """Wrap a model whose heads and task are known, as after surgery, where rows may differ in their heads.

        Raises HeadPruneError where a trial run shows another task, or other heads.
        """
        wrapped = cls.__new__(cls)
        wrapped._adopt(model, tokenizer, name, grid, task, verify_layout(model.eval().requires_grad_(False), grid, task))
        return wrapped

    def _adopt(self, model: PreTrainedModel, tokenizer, name: str | None, grid: HeadGrid, task: str, cost: Cost) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.config._name_or_path or type(model).__name__
        self._autocast = False
        self.grid, self.task, self.cost = grid, task, cost
        enable_caching(model, self.grid)
        if self.task == "classification" and _first_id(getattr(model.config, "pad_token_id", None)) is None:
            # decoders used as classifiers look for their last token by it; batches are padded with the same
            choices = getattr(tokenizer, "pad_token_id", None), getattr(model.config, "eos_token_id", None)
            model.config.pad_token_id = next((i for i in map(_first_id, choices) if i is not None), 0)

    @classmethod
    def from_pretrained(
        cls, source: str | Path = "embedded", *, revision: str | None = None, device="auto", dtype: str = "float32"
    ) -> "PrunableModel":
        """Load "embedded", "smollm2" (where it is installed), a Hugging Face Hub id or a local folder, a pruned model's too.

        revision: of a Hub id, a branch, tag or commit. CUDA, MPS or CPU is chosen by itself. Raises HeadPruneError where
        there is no such model, no safetensors file, or no head to reach.
        """
        if dtype not in DTYPES:
            raise HeadPruneError(f"dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}")
        source, place = str(source).strip(), find_device(device)
        pruned = source if is_pruned(source) else pruned_on_hub(source, revision)
        if pruned is not None:
            model, tokenizer, grid, task = load_pruned(pruned, getattr(torch, dtype))
            try:
                return cls.of_heads(model.to(place), grid, task, tokenizer, name=source)
            except HeadPruneError as error:
                raise HeadPruneError(
                    f"{Path(pruned) / HEAD_MAP} does not fit the model beside it ({error}); expected the files that "
                    "save_pretrained wrote together"
                ) from error
        model, tokenizer = load(source, revision, getattr(torch, dtype))
        return cls(model.to(place), tokenizer, name=display_name(source))

    def save_pretrained(self, folder: str | Path, *, record: object | None = None) -> None:
        """Write safetensors, config, tokenizer and, after surgery, the head map; `from_pretrained` reads them back.

        A pruned model gets a model card too (README.md, with head_map.png), which tells what `record` knows of how it came
        about. All is written beside and then renamed, so `folder` is complete or is not there. Raises HeadPruneError where
        it cannot be written, or holds anything but an earlier model.
        """
        if self.device.type == "meta":
            raise HeadPruneError("the model is on the meta device and has no weights to save; expected loaded weights")
        with atomic_folder(folder) as part:
            self.write_into(part)
            if not self.grid.kept.all():
                for name, content in type(self).card_files(self, record).items():
                    (part / name).write_bytes(content)

    def write_into(self, folder: Path) -> None:
        """The same without a card, into a folder that is empty or not there, without care for what a failure leaves."""
        with silence_transformers():
            self.model.save_pretrained(folder)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(folder)
            if not self.grid.kept.all():
                (folder / HEAD_MAP).write_text(json.dumps(head_map(self)) + "\n")

    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """(N, C) logits, or (N, T, V) of a language model, (N, U, V) of one that translates, under the active probe."""
        if self.device.type == "meta":
            raise HeadPruneError("the model is on the meta device and cannot be run; expected loaded weights")
        options = {} if self.task == "classification" else {"use_cache": False}
        if "pixel_values" in inputs:
            inputs = inputs | {"pixel_values": inputs["pixel_values"].to(self.model.dtype)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            return self.model(**inputs, **options).logits

    def in_precision(self, dtype: str | None) -> "PrunableModel":
        """This model, or for "bfloat16" one that runs its matrix products in that precision, all else as loaded.

        Made once and kept: its linear weights are a copy, half as large.
        """
        if dtype not in (None, "float32", "bfloat16"):
            raise HeadPruneError(f"dtype is {dtype!r}; expected None, 'float32' or 'bfloat16'")
        return self._bfloat16 if dtype == "bfloat16" and self.model.dtype == torch.float32 else self

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the weights, the configuration, the precision, and the library that computes with them."""
        config = {name: value for name, value in self.model.config.to_dict().items() if name != "_name_or_path"}
        tensors = (part for name, tensor in self.model.state_dict().items() for part in (name, tensor))
        heads = () if self.grid.kept.all() else (self.grid.kept,)
        setting = torch.__version__, self.device.type, self._autocast, sorted(config.items(), key=str)
        return fingerprint(*setting, *heads, *tensors)

    @cached_property
    def packed(self) -> PackedWeights:
        """The weights as the CPU's kernels want them, made when first used."""
        return PackedWeights(self.model)

    @cached_property
    def _bfloat16(self) -> "PrunableModel":
        layers = set(linear_layers(self.model))
        linear = {id(p) for layer in layers for p in layer.parameters()}
        # a tied embedding stays as it is, or all that flows between layers would be bfloat16
        linear -= {id(p) for m in self.model.modules() if m not in layers for p in m.parameters(recurse=False)}
        copies = {id(p): p.to(torch.bfloat16) if id(p) in linear else p for p in self.model.parameters()}
        twin = copy.copy(self)
        for made in ("packed", "fingerprint"):
            vars(twin).pop(made, None)
        twin.model = copy.deepcopy(self.model, {i: torch.nn.Parameter(p, False) for i, p in copies.items()})
        twin.grid = self.grid.moved(dict(zip(self.model.modules(), twin.model.modules(), strict=True)))
        twin._autocast = True
        return twin

    def describe_non_finite(self) -> str | None:
        """A sentence on the first weights that are NaN or infinite, by row and head where they are a head's; else None."""
        for row, (row_name, parts) in enumerate(self.grid.weights()):
            for part, heads in parts.items():
                bad = [h for h, block in enumerate(heads) if not torch.isfinite(block).all()]
                if bad:
                    head = self._numbers(row, part)[bad[0]]
                    return f"the {part} weights of row {row} ({row_name}), head {head}, hold NaN or infinite numbers"
        bad = [name for name, p in self.model.named_parameters() if not torch.isfinite(p).all()]
        return f"the weights {bad[0]} hold NaN or infinite numbers" if bad else None

    def _numbers(self, row: int, part: str) -> np.ndarray:
        """The original numbers of a row's query and output blocks, or of its key and value blocks."""
        there = self.grid.rows[row].present
        return there if part in ("query", "output") else np.unique(self.grid.rows[row].kv_group[there])

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def reads_images(self) -> bool:
        """Whether examples are images (pixel_values) and not texts."""
        return self.model.main_input_name == "pixel_values"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes by name, in the order of the logits; empty where tokens are predicted."""
        if self.task != "classification":
            return ()
        names = self.model.config.id2label
        return tuple(names[i] for i in range(self.model.config.num_labels))

    @property
    def max_tokens(self) -> int | None:
        """The longest input that the positions and the tokenizer allow, or None where there is no end."""
        if self.reads_images:
            return None
        limits = [self.tokenizer.model_max_length] if self.tokenizer is not None else []
        table = next((m for n, m in self.model.named_modules() if n.endswith("position_embeddings")), None)
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and its kin number positions from the padding index on
            limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
        elif getattr(self.model.config, "max_position_embeddings", None):
            limits.append(self.model.config.max_position_embeddings)
        return min((limit for limit in limits if limit < 10**9), default=None)


def _first_id(token) -> int | None:
    """One token id where a config names one or several; None where it names none (some say -1)."""
    token = token[0] if isinstance(token, list) else token
    return None if token is None or token < 0 else token


def display_name(source: str) -> str:
    """What people call a source of models."""
    names = {"embedded": "embedded (MiniLM-L6, tweet sentiment)", smollm2.SMOLLM2: "SmolLM2 135M Instruct"}
    return names.get(source, source)


def find_device(device) -> torch.device:
    """The device of that name; "auto" is CUDA, else MPS, else the CPU."""
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:  # an unknown name; a backend that this torch was built without
            reason = str(error).splitlines()[0][:120]
            raise HeadPruneError(
                f"device {device!r} cannot be used here ({reason}); expected 'auto', 'cpu', 'cuda', ..."
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
