"""Where the heads of a model are: its attention rows, the four projections around each, and which features are whose.

A row is an attention module that owns weights; a layer is one attention call of the forward pass. They differ where
layers share weights (ALBERT: one row, twelve layers). Rows and heads keep their numbers for ever, after surgery too.
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
    """A linear layer and which of its features belong to which head: features (heads, size).

    They number the outputs of a q, k or v projection and the inputs of an output projection. A fused layer is the module
    of several projections.
    """

    module: nn.Module
    features: np.ndarray

    @property
    def heads(self) -> int:
        return len(self.features)

    def blocks(self, outputs: bool) -> list[Tensor]:
        """Each head's part of the weight: its output features (outputs True) or its input features."""
        if not self.heads:  # after surgery the layer of a row without heads has no weight
            return []
        weight = self.module.weight
        along = int(outputs == isinstance(self.module, Conv1D))  # a Conv1D keeps its weight the other way round
        return [weight.index_select(along, torch.as_tensor(f, device=weight.device)) for f in self.features]


@dataclass(frozen=True, eq=False)
class PrunedLayout:
    """What surgery left of a row, by original head number.

    layout: for "q", "k", "v" and "out" the features (heads, size) before any head was removed. present: heads whose weights
    are there. kept: those of them that work; the others only share keys and values with one, and their output weights are 0.
    """

    layout: Mapping[str, np.ndarray]
    present: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """One attention module: its path, its heads, the four projections around them, and what it attends to.

    kind is "self", or in an encoder-decoder "encoder", "decoder" or "cross". pruned_layout: None where no head was removed. The
    projections number the features that are there now; heads and kv_heads count those of the original.
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
        return len(self.layout["q"])

    @property
    def kv_heads(self) -> int:
        return len(self.layout["k"])

    @property
    def layout(self) -> Mapping[str, np.ndarray]:
        """The features (heads, size) of "q", "k", "v" and "out" in the original."""
        return {part: getattr(self, part).features for part in PARTS} if self.pruned_layout is None else self.pruned_layout.layout

    @property
    def present(self) -> np.ndarray:
        """The numbers of the heads whose weights are there."""
        return np.arange(self.heads) if self.pruned_layout is None else np.array(self.pruned_layout.present, int)

    @property
    def kept(self) -> np.ndarray:
        """bool (heads,): those that work."""
        return np.isin(np.arange(self.heads), np.arange(self.heads) if self.pruned_layout is None else self.pruned_layout.kept)

    @property
    def kv_group(self) -> np.ndarray:
        """(heads,) the key-value head that each query head reads."""
        return np.arange(self.heads) * self.kv_heads // self.heads

    @property
    def head_size(self) -> int:
        return self.q.features.shape[1]

    @property
    def parameters_per_head(self) -> float:
        """Weights and biases that go with one head: its q rows, its share of a k and a v block, its output columns."""
        if not len(self.present):
            return 0.0
        share = self.kv_heads / self.heads
        blocks = ((self.q, 1.0), (self.k, share), (self.v, share))
        inward = sum(part * p.features.shape[1] * _rows(p.module) for p, part in blocks)
        return inward + self.out.features.shape[1] * width(self.out.module)[1]


@dataclass(frozen=True, eq=False)
class HeadGrid:
    """The grid of prunable heads, R rows by H heads.

    layers[i] is the row that the i-th attention call of a forward pass uses; kv_group (R, H) numbers the key-value head
    that each query head reads; parameters_per_head (R, H) counts weights, a shared key-value block split evenly.
    """

    rows: tuple[AttentionRow, ...]
    layers: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.rows[0].heads

    @property
    def row_names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows)

    @property
    def row_labels(self) -> tuple[str, ...]:
        """What people call the rows: "0", "1", ..., in an encoder-decoder "encoder 0", "decoder 0", "cross 0", ..."""
        seen, labels = Counter(), []
        for row in self.rows:
            labels.append(f"{seen[row.kind]}" if row.kind == "self" else f"{row.kind} {seen[row.kind]}")
            seen[row.kind] += 1
        return tuple(labels)

    def weights(self) -> Iterator[tuple[str, dict[str, list[Tensor]]]]:
        """For each row its name and each head's query, key, value and output weights (key and value by key-value head)."""
        for row in self.rows:
            inward = {"query": row.q, "key": row.k, "value": row.v}
            blocks = {name: part.blocks(outputs=True) for name, part in inward.items()}
            yield row.name, blocks | {"output": row.out.blocks(outputs=False)}

    def moved(self, to: Mapping[nn.Module, nn.Module]) -> "HeadGrid":
        """The same grid on a copy of the model, whose modules `to` gives."""
        rows = []
        for row in self.rows:
            parts = {p: Projection(to[getattr(row, p).module], getattr(row, p).features) for p in PARTS}
            rows.append(replace(row, module=to[row.module], **parts))
        return HeadGrid(tuple(rows), self.layers)

    @property
    def kv_group(self) -> np.ndarray:
        return np.stack([row.kv_group for row in self.rows])

    @property
    def parameters_per_head(self) -> np.ndarray:
        return np.stack([here * row.parameters_per_head for here, row in zip(self.present, self.rows, strict=True)])

    @property
    def kept(self) -> np.ndarray:
        """bool (R, H): heads that work."""
        return np.stack([row.kept for row in self.rows])

    @property
    def present(self) -> np.ndarray:
        """bool (R, H): heads whose weights are there."""
        return np.stack([np.isin(np.arange(row.heads), row.present) for row in self.rows])

    def check_unpruned(self, what: str) -> None:
        """Raise HeadPruneError where heads were removed for good, since `what` takes a model that has them all."""
        gone = int((~self.kept).sum())
        if gone:
            raise HeadPruneError(
                f"{what} needs a model with all its heads, and {gone} of {self.kept.size} were removed from this one; use "
                "the model from before, and masks"
            )


def linear_layers(model: nn.Module) -> list[nn.Module]:
    """Every layer that may be a projection."""
    return [module for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))]


def width(projection: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer; a Conv1D keeps its weight the other way round."""
    first, second = projection.weight.shape
    return (first, second) if isinstance(projection, Conv1D) else (second, first)


def _rows(projection: nn.Module) -> int:
    """Parameters in one output row of a linear layer."""
    return width(projection)[0] + (projection.bias is not None)
