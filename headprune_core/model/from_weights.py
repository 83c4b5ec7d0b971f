"""What is computed from a model's weights, kept at first use and discarded after a change of the weights.

These are the weights packed for the CPU, the bfloat16 version of the model, and the fingerprint. Whether the weights have
changed is decided by a hash of all of them, once for each call of a public function.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import xxhash
from torch import Tensor

from headprune_core.errors import HeadPruneError
from headprune_core.result_cache import fingerprint

from .head_layout import linear_layers
from .packed_linear import PackedWeights

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # by number of bytes; all others are read as int64
_unchanged: ContextVar[frozenset[int]] = ContextVar("_unchanged", default=frozenset())


@contextmanager
def unchanged(models: Sequence["FromWeights"]) -> Iterator[None]:
    """Do not look for changes of the weights in this block: they were looked for before it.

    Args:
        models: the models.
    """
    token = _unchanged.set(_unchanged.get() | {id(model) for model in models})
    try:
        yield
    finally:
        _unchanged.reset(token)


class WeightState:
    """The parameters and buffers of a model at one time, to find out later whether they have changed.

    Replaced tensors, moved data and in-place operations are found by identity, address and version counter. Edits through
    `.data`, NumPy or a fused optimizer leave no such trace; they are found by the hash of all values.

    Args:
        module: the model.
    """

    def __init__(self, module: torch.nn.Module):
        self._tensors = _tensors(module)
        self._held = [tensor.detach() for tensor in self._tensors]  # so that no other data can have the same address
        self._marks = _marks(self._tensors)
        self._hash = _hash(self._tensors)

    def has_changed(self, module: torch.nn.Module) -> bool:
        """Return True if a weight was changed, replaced, added or removed since.

        Args:
            module: the model.
        """
        tensors = _tensors(module)
        return (
            len(tensors) != len(self._tensors)
            or any(now is not then for now, then in zip(tensors, self._tensors, strict=True))
            or _marks(tensors) != self._marks
            or _hash(tensors) != self._hash
        )


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    """The parameters and buffers of all submodules; a shared one is listed once."""
    held = (part for m in module.modules() for part in (m._parameters, m._buffers))
    return list({id(tensor): tensor for part in held for tensor in part.values() if tensor is not None}.values())


def _marks(tensors: list[Tensor]) -> list[tuple[int, int]]:
    """Address and version counter of each tensor; inference tensors have no counter."""
    return [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]


def _hash(tensors: list[Tensor]) -> bytes:
    """A hash of the values; on other devices than the CPU, of the sums over rows and columns, to copy fewer numbers."""
    total, sums = xxhash.xxh3_128(), {}
    for tensor in tensors:
        if tensor.device.type == "cpu":
            total.update(_bits(tensor).numpy())
        elif tensor.device.type != "meta":
            sums.setdefault(tensor.device, []).append(_sums(_bits(tensor)))
    for parts in sums.values():
        total.update(torch.cat(parts).cpu().numpy())
    return total.digest()


def _bits(tensor: Tensor) -> Tensor:
    """The values as a matrix of integers with the same bits."""
    rows = tensor.shape[0] if tensor.dim() > 1 else 1
    values = tensor.detach().contiguous().reshape(rows, tensor.numel() // max(rows, 1))
    return values.view(INTEGERS.get(tensor.element_size(), torch.int64))


def _sums(bits: Tensor) -> Tensor:
    """The sums of a matrix over its rows and over its columns."""
    return torch.cat([bits.sum(0, dtype=torch.int64), bits.sum(1, dtype=torch.int64)])


@dataclass
class _Derived:
    """What was computed from one state of the weights, by name."""

    weights: WeightState
    values: dict[str, object] = field(default_factory=dict)


class FromWeights:
    """The part of a `PrunableModel` that depends on the values of its weights."""

    _derived: _Derived | None = None

    def __getstate__(self) -> dict:
        """Return what is copied and pickled: all but what can be computed from the weights again."""
        return {name: value for name, value in vars(self).items() if name != "_derived"}

    def _discard_outdated(self) -> None:
        known = id(self) in _unchanged.get()
        if self._derived is None or (not known and self._derived.weights.has_changed(self.model)):
            self._derived = _Derived(WeightState(self.model))

    def _derive(self, name: str, compute: Callable[[], object]):
        """Return a value that depends on the weights, computed at first use and shared by all threads."""
        if self._derived is None:
            self._discard_outdated()
        values = self._derived.values
        return values[name] if name in values else values.setdefault(name, compute())

    def in_precision(self, dtype: str | None) -> Self:
        """Return the model with another precision of matrix products; everything else stays as loaded.

        The bfloat16 version is created once and kept; it has a copy of the linear weights of half the size.

        Args:
            dtype: "bfloat16", "float32" or None; the last two return this model.

        Raises:
            HeadPruneError: if dtype has another value.
        """
        if dtype not in (None, "float32", "bfloat16"):
            raise HeadPruneError(f"dtype must be None, 'float32' or 'bfloat16', got {dtype!r}")
        if dtype != "bfloat16" or self.model.dtype != torch.float32:
            return self
        self._discard_outdated()
        return self._derive("bfloat16", self._in_bfloat16)

    @property
    def uses_bfloat16(self) -> bool:
        """Whether this is the bfloat16 version of a model with float32 weights."""
        return self._autocast

    @property
    def has_bfloat16(self) -> bool:
        """Whether the bfloat16 version exists already."""
        return self._derived is not None and "bfloat16" in self._derived.values

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the configuration, the precision and the PyTorch version."""
        self._discard_outdated()
        config = {name: value for name, value in self.model.config.to_dict().items() if name != "_name_or_path"}
        heads = () if self.grid.kept.all() else (self.grid.kept,)
        setting = torch.__version__, self.device.type, self._autocast, sorted(config.items(), key=str)
        return fingerprint(*setting, *heads, self._derive("fingerprint", self._hash_weights))

    def _hash_weights(self) -> str:
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        return fingerprint(*(part for named in tensors for part in named))

    @property
    def packed(self) -> PackedWeights:
        """The weights in the layout of the CPU's kernels, packed at first use."""
        return self._derive("packed", lambda: PackedWeights(self.model))

    def _in_bfloat16(self) -> Self:
        layers = set(linear_layers(self.model))
        linear = {id(p) for layer in layers for p in layer.parameters()}
        # A tied embedding keeps its precision; otherwise all hidden states would be bfloat16.
        linear -= {id(p) for m in self.model.modules() if m not in layers for p in m.parameters(recurse=False)}
        copies = {id(p): p.to(torch.bfloat16) if id(p) in linear else p for p in self.model.parameters()}
        twin = copy.copy(self)
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
