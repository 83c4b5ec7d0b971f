"""PrunableModel: a frozen Transformers model in eval mode with its head grid.

A wrapped model is never modified, so threads can share it; gates and callbacks of a call are passed as `AttentionHooks`.
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

from .builtin import is_builtin
from .forward_cache import enable_caching
from .forward_cost import Cost
from .head_discovery import find_heads, verify_layout
from .head_layout import HeadGrid, linear_layers
from .head_map import HEAD_MAP, head_map
from .hub import pruned_on_hub
from .loading import display_name, find_device, load, silence_transformers
from .model_io import atomic_folder, is_pruned, load_pruned
from .packed_linear import PackedWeights

DTYPES = ("float32", "bfloat16", "float16")


class PrunableModel:
    """A Transformers model whose heads can be scored, masked and pruned.

    The model is frozen, put in eval mode and switched to HeadPrune's attention function; its heads are located with one
    forward pass. Models on the meta device work too.

    Args:
        model: a loaded Transformers model.
        tokenizer: its tokenizer, the image processor of a vision model, or None.
        name: display name; None for the name in the configuration.

    Attributes:
        model: the Transformers model.
        tokenizer: the tokenizer, image processor or None.
        grid: the `HeadGrid`, R rows by H heads.
        task: "classification", "multi_label" or "regression" (one prediction per example), "token_classification",
            "language" or "translation".
        cost: cost of a forward pass.
        name: display name.

    Raises:
        HeadPruneError: if the heads cannot be located or the model's attention is not standard softmax attention.
    """

    # Function that creates the files of a pruned model's card by name. headprune_core/__init__.py sets it, because the
    # report room lies above this one.
    card_files: ClassVar[Callable[["PrunableModel", object | None], Mapping[str, bytes]]]

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, *, name=None):
        self._adopt(model, tokenizer, name, *find_heads(model.eval().requires_grad_(False)))

    @classmethod
    def of_heads(cls, model: PreTrainedModel, grid: HeadGrid, task: str, tokenizer=None, *, name=None) -> "PrunableModel":
        """Wrap a model whose heads and task are known, for example after pruning.

        Args:
            model: a loaded Transformers model, in which rows may have different numbers of heads.
            grid: its head grid.
            task: its task; see `task` above.
            tokenizer: its tokenizer, image processor or None.
            name: display name; None for the name in the configuration.

        Raises:
            HeadPruneError: if a forward pass shows another task or head layout.
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
        if not self.generates and _first_id(getattr(model.config, "pad_token_id", None)) is None:
            # Decoder classifiers locate the last token of an example by the padding token, which batches use too.
            choices = getattr(tokenizer, "pad_token_id", None), getattr(model.config, "eos_token_id", None)
            model.config.pad_token_id = next((i for i in map(_first_id, choices) if i is not None), 0)

    @classmethod
    def from_pretrained(
        cls, source: str | Path = "embedded", *, revision: str | None = None, device="auto", dtype: str = "float32"
    ) -> "PrunableModel":
        """Load a model.

        Args:
            source: "embedded" (or its alias "builtin") for the built-in model, "smollm2" if its packages are installed, a
                Hugging Face Hub model ID, or a local folder; folders and repositories of pruned models included.
            revision: branch, tag or commit of a Hub model; None for the default branch.
            device: "auto" (CUDA, else MPS, else CPU) or the name of a device.
            dtype: precision of the weights, "float32", "bfloat16" or "float16".

        Returns:
            The wrapped model.

        Raises:
            HeadPruneError: if the model is not found, has no safetensors weights, or its heads cannot be located.

        Example:
            >>> model = PrunableModel.from_pretrained("textattack/bert-base-uncased-SST-2")
            >>> model.grid.shape
            (12, 12)
        """
        if dtype not in DTYPES:
            raise HeadPruneError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        source, place = str(source).strip(), find_device(device)
        source = "embedded" if is_builtin(source) else source
        pruned = source if is_pruned(source) else pruned_on_hub(source, revision)
        if pruned is not None:
            model, tokenizer, grid, task = load_pruned(pruned, getattr(torch, dtype))
            try:
                return cls.of_heads(model.to(place), grid, task, tokenizer, name=source)
            except HeadPruneError as error:
                raise HeadPruneError(
                    f"{Path(pruned) / HEAD_MAP} does not match the model in the same folder ({error}); use the files that "
                    "save_pretrained wrote together"
                ) from error
        model, tokenizer = load(source, revision, getattr(torch, dtype))
        return cls(model.to(place), tokenizer, name=display_name(source))

    def save_pretrained(self, folder: str | Path, *, record: object | None = None) -> None:
        """Save the model to a folder that `from_pretrained` can load.

        The folder contains safetensors weights, configuration and tokenizer. A pruned model also gets its head map and a
        model card (README.md with head_map.png). The folder is written under a temporary name first, so it is never
        incomplete.

        Args:
            folder: new or empty folder, or one with an earlier model, which is replaced.
            record: `PruningRecord` with the facts for the model card of a pruned model, or None.

        Raises:
            HeadPruneError: if the folder cannot be written or contains anything but an earlier model.
        """
        if self.device.type == "meta":
            raise HeadPruneError("a model on the meta device has no weights to save; load it with weights")
        with atomic_folder(folder) as part:
            self.write_into(part)
            if not self.grid.kept.all():
                for name, content in type(self).card_files(self, record).items():
                    (part / name).write_bytes(content)

    def write_into(self, folder: Path) -> None:
        """Save the model without a model card, directly and not atomically.

        Args:
            folder: empty or new folder.
        """
        with silence_transformers():
            self.model.save_pretrained(folder)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(folder)
            if not self.grid.kept.all():
                (folder / HEAD_MAP).write_text(json.dumps(head_map(self)) + "\n")

    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Run a forward pass with the active `AttentionHooks`.

        Args:
            inputs: keyword arguments of the Transformers model.

        Returns:
            (N, C) logits of a model with one prediction per example, (N, T, C) of a token classifier, (N, T, V) of a
            language model, or (N, U, V) of a sequence-to-sequence model.

        Raises:
            HeadPruneError: if the model is on the meta device.
        """
        if self.device.type == "meta":
            raise HeadPruneError("a model on the meta device cannot be run; load it with weights")
        options = {"use_cache": False} if self.generates else {}
        if "pixel_values" in inputs:
            inputs = inputs | {"pixel_values": inputs["pixel_values"].to(self.model.dtype)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            return self.model(**inputs, **options).logits

    def in_precision(self, dtype: str | None) -> "PrunableModel":
        """Return the model with another precision of matrix products; everything else stays as loaded.

        The bfloat16 version is created once and kept; it has a copy of the linear weights of half the size.

        Args:
            dtype: "bfloat16", "float32" or None; the last two return this model.

        Raises:
            HeadPruneError: if dtype has another value.
        """
        if dtype not in (None, "float32", "bfloat16"):
            raise HeadPruneError(f"dtype must be None, 'float32' or 'bfloat16', got {dtype!r}")
        return self._bfloat16 if dtype == "bfloat16" and self.model.dtype == torch.float32 else self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, the configuration, the precision and the PyTorch version."""
        config = {name: value for name, value in self.model.config.to_dict().items() if name != "_name_or_path"}
        tensors = (part for name, tensor in self.model.state_dict().items() for part in (name, tensor))
        heads = () if self.grid.kept.all() else (self.grid.kept,)
        setting = torch.__version__, self.device.type, self._autocast, sorted(config.items(), key=str)
        return fingerprint(*setting, *heads, *tensors)

    @cached_property
    def packed(self) -> PackedWeights:
        """The weights in the layout of the CPU's kernels, packed at first use."""
        return PackedWeights(self.model)

    @cached_property
    def _bfloat16(self) -> "PrunableModel":
        layers = set(linear_layers(self.model))
        linear = {id(p) for layer in layers for p in layer.parameters()}
        # A tied embedding keeps its precision; otherwise all hidden states would be bfloat16.
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
        """Describe the first weights that are NaN or infinite, by row and head if they belong to a head.

        Returns:
            A lower-case sentence, or None if all weights are finite.
        """
        for row, (row_name, parts) in enumerate(self.grid.weights()):
            for part, heads in parts.items():
                bad = [h for h, block in enumerate(heads) if not torch.isfinite(block).all()]
                if bad:
                    head = self._numbers(row, part)[bad[0]]
                    return f"the {part} weights of row {row} ({row_name}), head {head}, contain NaN or infinite values"
        bad = [name for name, p in self.model.named_parameters() if not torch.isfinite(p).all()]
        return f"the weights {bad[0]} contain NaN or infinite values" if bad else None

    def _numbers(self, row: int, part: str) -> np.ndarray:
        """Original numbers of a row's query and output blocks, or of its key and value blocks."""
        present = self.grid.rows[row].present
        return present if part in ("query", "output") else np.unique(self.grid.rows[row].kv_group[present])

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def reads_images(self) -> bool:
        """Whether the model expects images (pixel_values) instead of text."""
        return self.model.main_input_name == "pixel_values"

    @property
    def generates(self) -> bool:
        """Whether the model generates text, so that its logits are those of the vocabulary."""
        return self.task in ("language", "translation")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes or labels in the order of the logits; empty if the model predicts a text or numbers."""
        if self.generates or self.task == "regression":
            return ()
        names = self.model.config.id2label
        return tuple(names[i] for i in range(self.model.config.num_labels))

    @property
    def max_tokens(self) -> int | None:
        """Maximum sequence length in tokens, or None if it is unlimited or the model expects images."""
        if self.reads_images:
            return None
        limits = [self.tokenizer.model_max_length] if self.tokenizer is not None else []
        table = next((m for n, m in self.model.named_modules() if n.endswith("position_embeddings")), None)
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and related models number positions from the padding index on.
            limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
        elif getattr(self.model.config, "max_position_embeddings", None):
            limits.append(self.model.config.max_position_embeddings)
        return min((limit for limit in limits if limit < 10**9), default=None)


def _first_id(token) -> int | None:
    """The first of one or several token IDs of a configuration; None if there is none, which some models write as -1."""
    token = token[0] if isinstance(token, list) else token
    return None if token is None or token < 0 else token
