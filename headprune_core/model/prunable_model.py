"""PrunableModel: a frozen Transformers model in eval mode with its head grid.

A wrapped model is never modified, so threads can share it; gates and callbacks of a call are passed as `AttentionHooks`.
Functions that run a model have the decorator `runs_models`: it fixes PyTorch's state and finds weights that have changed.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.torch_state import check_runnable, fixed_torch_state, make_runnable

from .attention_hooks import ATTENTION, MASKED_ATTENTION
from .builtin import is_builtin
from .formats.adapter import check_no_adapter
from .formats.hub import pruned_on_hub
from .formats.library_calls import silence_transformers
from .formats.library_class import check_reloadable, save_model
from .formats.load_progress import begin_step, reporting
from .forward_cache import enable_caching
from .forward_cost import Cost
from .from_weights import FromWeights, unchanged
from .head_discovery import find_heads, verify_layout
from .head_layout import PARTS, HeadGrid
from .head_map import HEAD_MAP, head_map
from .loading import display_name, find_device, load
from .model_io import atomic_folder, is_pruned, load_pruned
from .trial_run import BATCHING, batching_note, check_length_limit, find_batching, length_limit, name_padding, pad_token

DTYPES = ("float32", "bfloat16", "float16")


def runs_models(function):
    """Decorate a function that runs models: it computes in a fixed PyTorch state and with the models' current weights.

    The models are the arguments that are a `PrunableModel`.

    Args:
        function: the function to decorate.
    """

    @wraps(function)
    def run(*args, **kwargs):
        with fixed_torch_state():
            models = [value for value in (*args, *kwargs.values()) if isinstance(value, PrunableModel)]
            for model in models:
                model.prepare()
            with unchanged(models):
                return function(*args, **kwargs)

    return run


class PrunableModel(FromWeights):
    """A Transformers model whose heads can be scored, masked and pruned.

    The model is frozen, put in eval mode and switched to HeadPrune's attention function; its heads are located with one
    forward pass. Models on the meta device work too.

    After a change of the weights (training, `load_state_dict`, a merged adapter), the next call computes with the new ones.
    A model in train mode is refused. Copies and pickles give equal results.

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
        batching: "padded"; "equal lengths" or "single" if logits depend on padding or on the other examples of a batch.
        name: display name.

    Raises:
        HeadPruneError: if the heads cannot be located or the model's attention is not standard softmax attention.
    """

    # Function that creates the files of a pruned model's card by name. headprune_core/__init__.py sets it, because the
    # report room lies above this one.
    card_files: ClassVar[Callable[["PrunableModel", object | None], Mapping[str, bytes]]]

    @fixed_torch_state()
    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, *, name=None):
        check_no_adapter(model)
        self._adopt(model, tokenizer, name, *find_heads(make_runnable(model)))
        self._warn()

    @classmethod
    @fixed_torch_state()
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
        wrapped._adopt(model, tokenizer, name, grid, task, verify_layout(make_runnable(model), grid, task))
        return wrapped

    def _adopt(self, model: PreTrainedModel, tokenizer, name: str | None, grid: HeadGrid, task: str, cost: Cost) -> None:
        check_length_limit(tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.config._name_or_path or type(model).__name__
        self._autocast = False
        self.grid, self.task, self.cost = grid, task, cost
        enable_caching(model, self.grid)
        if not self.generates and not self.reads_images:
            name_padding(model, tokenizer)
        self.batching = BATCHING[0] if self.device.type == "meta" else find_batching(model, self.pad_token)

    @classmethod
    @fixed_torch_state()
    def from_pretrained(
        cls, source: str | Path = "embedded", *, revision: str | None = None, device="auto", dtype="float32", progress=None
    ) -> "PrunableModel":
        """Load a model.

        Args:
            source: "embedded" (or its alias "builtin") for the built-in model, "smollm2" if its packages are installed, a
                Hugging Face Hub model ID, or a local folder; folders and repositories of pruned models included.
            revision: branch, tag or commit of a Hub model; None for the default branch.
            device: "auto" (CUDA, else MPS, else CPU) or the name of a device.
            dtype: precision of the weights, "float32", "bfloat16" or "float16".
            progress: called with finished steps, all steps and a note, about ten times a second; an exception that it
                raises, such as `Cancelled`, ends the loading. None for no reports.

        Returns:
            The wrapped model.

        Raises:
            HeadPruneError: if the model is not found, has no safetensors weights, does not fit in memory, or its heads
                cannot be located.

        Example:
            >>> model = PrunableModel.from_pretrained("textattack/bert-base-uncased-SST-2")
            >>> model.grid.shape
            (12, 12)
        """
        if dtype not in DTYPES:
            raise HeadPruneError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        source, place = str(source).strip(), find_device(device)
        with reporting(None if is_builtin(source) else progress):  # half a second needs no reports
            return cls._load("embedded" if is_builtin(source) else source, revision, place, getattr(torch, dtype))

    @classmethod
    def _load(cls, source: str, revision: str | None, place: torch.device, dtype: torch.dtype) -> "PrunableModel":
        begin_step("Checking the files")
        pruned = source if is_pruned(source) else pruned_on_hub(source, revision)
        if pruned is None:
            model, tokenizer = load(source, revision, dtype)
            begin_step("Locating the heads")
            return cls(model.to(place), tokenizer, name=display_name(source))
        model, tokenizer, grid, task = load_pruned(pruned, dtype)
        begin_step("Locating the heads")
        try:
            wrapped = cls.of_heads(model.to(place), grid, task, tokenizer, name=source)
        except HeadPruneError as error:
            raise HeadPruneError(
                f"{Path(pruned) / HEAD_MAP} does not match the model in the same folder ({error}); use the files that "
                "save_pretrained wrote together"
            ) from error
        wrapped._warn()
        return wrapped

    @fixed_torch_state()
    def save_pretrained(self, folder: str | Path, *, record: object | None = None, overwrite: bool = False) -> None:
        """Save the model to a folder that `from_pretrained` can load.

        The folder contains safetensors weights, configuration and tokenizer. A pruned model also gets its head map and a
        model card (README.md with head_map.png). The folder is written under a temporary name first, so it is never
        incomplete.

        Args:
            folder: new or empty folder, or one with a pruned model that HeadPrune wrote, which is replaced.
            record: `PruningRecord` with the facts for the model card of a pruned model, or None.
            overwrite: whether any other model in the folder may be replaced, that from which this model was loaded included.

        Raises:
            HeadPruneError: if the folder cannot be written, contains anything but a model, or contains a model that may not
                be replaced.
        """
        if self.device.type == "meta":
            raise HeadPruneError("a model on the meta device has no weights to save; load it with weights")
        check_reloadable(self.model)
        with atomic_folder(folder, overwrite=overwrite, source=self.model.config._name_or_path or "") as part:
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
            save_model(self.model, folder)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(folder)
            if not self.grid.kept.all():
                (folder / HEAD_MAP).write_text(json.dumps(head_map(self)) + "\n")

    def prepare(self) -> None:
        """Check that the model can be run, and discard what was derived from weights that have changed since.

        Raises:
            HeadPruneError: if the model is in train mode, or another setting would change its results.
        """
        heads = {part for row in self.grid.rows for part in (row.module, *(getattr(row, name).module for name in PARTS))}
        check_runnable(self.model, heads, {ATTENTION, MASKED_ATTENTION})
        self._discard_outdated()

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
    def pad_token(self) -> int:
        """The padding token of batches; 0 if none is defined within the vocabulary, since padding is masked out."""
        return 0 if self.reads_images else pad_token(self.model, self.tokenizer)

    @property
    def note(self) -> str | None:
        """A sentence about what loading adjusted, or None."""
        return batching_note(self.model, self.batching, self.name)

    def _warn(self) -> None:
        if self.note is not None:
            warnings.warn(self.note, HeadPruneWarning, stacklevel=3)

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
        return length_limit(self.model, self.tokenizer)
