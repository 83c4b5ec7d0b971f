"""Head layout of a model: its attention rows, the four projections of each, and the features of every head.

A row is an attention module that owns weights; a layer is one attention call of the forward pass. They differ if layers
share weights (ALBERT: one row, twelve layers). Rows and heads keep their numbers after pruning.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from headprune_core.errors import HeadPruneError

PARTS = ("q", "k", "v", "out")
KINDS = ("self", "encoder", "decoder", "cross")


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear layer and the features that belong to each head.

    Attributes:
        module: the linear layer; a fused layer is the module of several projections.
        features: (heads, size) numbers of the layer's outputs (q, k or v projection) or inputs (output projection).
    """

    module: nn.Module
    features: np.ndarray

    @property
    def heads(self) -> int:
        """Number of heads, or of key-value heads for a k or v projection."""
        return len(self.features)

    def blocks(self, outputs: bool) -> list[Tensor]:
        """Return each head's part of the weight.

        Args:
            outputs: True if the features are outputs of the layer, False if they are inputs.
        """
        if not self.heads:  # a row without heads has a layer without weights
            return []
        weight = self.module.weight
        along = int(outputs == isinstance(self.module, Conv1D))  # the weight of a Conv1D is transposed
        return [weight.index_select(along, torch.as_tensor(f, device=weight.device)) for f in self.features]


@dataclass(frozen=True, eq=False)
class PrunedLayout:
    """What remains of a row after structural pruning, in original head numbers.

    Attributes:
        layout: the features (heads, size) of "q", "k", "v" and "out" before pruning.
        present: heads whose weights still exist.
        kept: heads that are not pruned; the other present heads belong to a shared KV group, and their output weights are 0.
    """

    layout: Mapping[str, np.ndarray]
    present: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """One attention module and its heads.

    Attributes:
        name: path of the module in the model.
        module: the attention module.
        q: query projection, like the other three with the features that exist now.
        k: key projection.
        v: value projection.
        out: output projection.
        kind: "self", or "encoder", "decoder" or "cross" in an encoder-decoder.
        pruned_layout: what remains after structural pruning, or None if no head was removed.
    """

    name: str
    module: nn.Module
    q: Projection
    k: Projection
    v: Projection
    out: Projection
    kind: str = "self"
    pruned_layout: PrunedLayout | None = None

    @property
    def heads(self) -> int:
        """Number of heads before pruning."""
        return len(self.layout["q"])

    @property
    def kv_heads(self) -> int:
        """Number of key-value heads before pruning."""
        return len(self.layout["k"])

    @property
    def layout(self) -> Mapping[str, np.ndarray]:
        """The features (heads, size) of "q", "k", "v" and "out" before pruning."""
        if self.pruned_layout is not None:
            return self.pruned_layout.layout
        return {part: getattr(self, part).features for part in PARTS}

    @property
    def present(self) -> np.ndarray:
        """Numbers of the heads whose weights exist."""
        return np.arange(self.heads) if self.pruned_layout is None else np.array(self.pruned_layout.present, int)

    @property
    def kept(self) -> np.ndarray:
        """Heads that are not pruned, bool (heads,)."""
        heads = np.arange(self.heads)
        return np.isin(heads, heads if self.pruned_layout is None else self.pruned_layout.kept)

    @property
    def kv_group(self) -> np.ndarray:
        """(heads,), the key-value head that each query head uses."""
        return np.arange(self.heads) * self.kv_heads // self.heads

    @property
    def head_size(self) -> int:
        """Number of query features per head."""
        return self.q.features.shape[1]

    @property
    def parameters_per_head(self) -> float:
        """Number of weights and biases of one head; a shared key-value block is split evenly among its heads."""
        if not len(self.present):
            return 0.0
        share = self.kv_heads / self.heads
        blocks = ((self.q, 1.0), (self.k, share), (self.v, share))
        inputs = sum(part * p.features.shape[1] * _rows(p.module) for p, part in blocks)
        return inputs + self.out.features.shape[1] * width(self.out.module)[1]


@dataclass(frozen=True, eq=False)
class HeadGrid:
    """The grid of prunable heads of a model, R rows by H heads.

    Attributes:
        rows: the attention modules.
        layers: for each attention call of a forward pass, the number of its row.
    """

    rows: tuple[AttentionRow, ...]
    layers: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(R, H), counted before pruning."""
        return len(self.rows), self.rows[0].heads

    @property
    def row_names(self) -> tuple[str, ...]:
        """Module paths of the rows."""
        return tuple(row.name for row in self.rows)

    @property
    def row_labels(self) -> tuple[str, ...]:
        """Short labels of the rows: "0", "1", ..., or "encoder 0", "decoder 0", "cross 0", ... in an encoder-decoder."""
        seen, labels = Counter(), []
        for row in self.rows:
            labels.append(f"{seen[row.kind]}" if row.kind == "self" else f"{row.kind} {seen[row.kind]}")
            seen[row.kind] += 1
        return tuple(labels)

    def weights(self) -> Iterator[tuple[str, dict[str, list[Tensor]]]]:
        """Iterate over the rows.

        Yields:
            The name of a row, and a dictionary of "query", "key", "value" and "output" to a list with the weights of each
            head; those of "key" and "value" are listed by key-value head.
        """
        for row in self.rows:
            projections = {"query": row.q, "key": row.k, "value": row.v}
            blocks = {name: part.blocks(outputs=True) for name, part in projections.items()}
            yield row.name, blocks | {"output": row.out.blocks(outputs=False)}

    def moved(self, to: Mapping[nn.Module, nn.Module]) -> "HeadGrid":
        """Return the same grid for a copy of the model.

        Args:
            to: the copy of each module.
        """
        rows = []
        for row in self.rows:
            parts = {p: Projection(to[getattr(row, p).module], getattr(row, p).features) for p in PARTS}
            rows.append(replace(row, module=to[row.module], **parts))
        return HeadGrid(tuple(rows), self.layers)

    @property
    def kv_group(self) -> np.ndarray:
        """(R, H), the key-value head that each query head uses."""
        return np.stack([row.kv_group for row in self.rows])

    @property
    def parameters_per_head(self) -> np.ndarray:
        """(R, H) weights and biases of each head; a shared key-value block is split evenly."""
        return np.stack([present * row.parameters_per_head for present, row in zip(self.present, self.rows, strict=True)])

    @property
    def kept(self) -> np.ndarray:
        """Heads that are not pruned, bool (R, H)."""
        return np.stack([row.kept for row in self.rows])

    @property
    def present(self) -> np.ndarray:
        """Heads whose weights exist, bool (R, H)."""
        return np.stack([np.isin(np.arange(row.heads), row.present) for row in self.rows])

    def check_unpruned(self, what: str) -> None:
        """Raise an error if heads were removed from the model.

        Args:
            what: name of the computation that requires an unpruned model.

        Raises:
            HeadPruneError: if heads were removed.
        """
        removed = int((~self.kept).sum())
        if removed:
            raise HeadPruneError(
                f"{what} requires an unpruned model, but {removed} of {self.kept.size} heads were removed; use the unpruned "
                "model with a mask"
            )


def linear_layers(model: nn.Module) -> list[nn.Module]:
    """Return all linear layers of a model.

    Args:
        model: any module.
    """
    return [module for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))]


def width(projection: nn.Module) -> tuple[int, int]:
    """Return the numbers of (inputs, outputs) of a linear layer; the weight of a Conv1D is transposed.

    Args:
        projection: a Linear or Conv1D.
    """
    first, second = projection.weight.shape
    return (first, second) if isinstance(projection, Conv1D) else (second, first)


def _rows(projection: nn.Module) -> int:
    """Number of parameters per output of a linear layer."""
    return width(projection)[0] + (projection.bias is not None)
