"""Removal of one row's heads from a model: slices of the q, k, v and output projections, and the sizes that modules store.

The features of each head come from the row's layout, so names and layouts of layers do not matter. Other parameters with one
entry per head (attention sinks, norms) are recognized by shape; counts and widths by name and value. `structural_pruning.py`
verifies the result against the masked model.

A row without heads stays in the forward pass: its q, k and v layers return zeros for one KV group without weights, and its
output projection returns its bias, so every library module runs unchanged.
"""

import inspect
import re
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from headprune_core.errors import HeadPruneError

from .attention_hooks import HEADS_LEFT
from .head_layout import PARTS, AttentionRow, Projection, PrunedLayout, width

COUNT = re.compile(r"(num|n)_(\w+_)?heads?")  # attribute names of head counts
WIDTH = re.compile(r"(embed|inner|hidden|all_head|split|query|key|value|kv|q|attention|attn)_(dim|size)|dim|d_model")


class _Weightless(nn.Module):
    """A layer without weights that has a number of output features."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.weight = torch.empty(0)  # not a parameter; the library expects this attribute
        self.weight._is_hf_initialized = True

    def extra_repr(self) -> str:
        """Return the size for the printed form of the module."""
        return f"features={self.features}"


class EmptyProjection(_Weightless):
    """Replaces a q, k or v layer of a row without heads; returns zeros.

    Args:
        features: number of output features.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (..., features) for x (..., inputs)."""
        return x.new_zeros(*x.shape[:-1], self.features)


class BiasOnly(_Weightless):
    """Replaces the output projection of a row without heads; returns its bias for every token.

    Args:
        projection: the output projection.
    """

    def __init__(self, projection: nn.Module):
        super().__init__(width(projection)[1])
        self.register_parameter("bias", projection.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the bias, or zeros if there is none, as (..., features) for x (..., inputs)."""
        out = x.new_zeros(*x.shape[:-1], self.features)
        return out if self.bias is None else out + self.bias


def slice_row(model: nn.Module, row: AttentionRow, present: np.ndarray, kept: np.ndarray) -> AttentionRow:
    """Remove heads of one row from a model, in place.

    Weights are replaced and never written to, so other models can share the old ones.

    Args:
        model: the Transformers model.
        row: the row.
        present: original numbers of the heads whose weights remain, in increasing order.
        kept: those of them that are not pruned; the output weights of the others are set to 0.

    Returns:
        The row after pruning.

    Raises:
        HeadPruneError: if a projection has features that do not belong to a head.
    """
    before, remaining = row.present, np.isin(row.present, present)
    groups_before = np.unique(row.kv_group[before])
    remaining_groups = np.isin(groups_before, np.unique(row.kv_group[present]))
    pruned_layout = PrunedLayout(row.layout, tuple(present.tolist()), tuple(kept.tolist()))
    if not len(before) or (remaining.all() and np.array_equal(np.flatnonzero(row.kept), kept)):
        return replace(row, pruned_layout=pruned_layout)
    selected = {"q": remaining, "k": remaining_groups, "v": remaining_groups, "out": remaining}
    features = {part: getattr(row, part).features for part in PARTS}
    _check_all_are_heads(row, features)
    empty = not len(present)
    ratio = row.heads // row.kv_heads
    heads, groups = (ratio, 1) if empty else (len(present), int(remaining_groups.sum()))
    # Parameters other than the projections keep the remaining heads, or one placeholder group if there are none.
    head_index = np.arange(ratio) if empty else np.flatnonzero(remaining)
    _slice_other_parameters(row, head_index, np.arange(1) if empty else np.flatnonzero(remaining_groups))
    _set_sizes(row, heads, groups)
    setattr(row.module, HEADS_LEFT, pruned_layout.present)
    if empty:
        return replace(
            row, pruned_layout=pruned_layout, **_empty_projections(model, row, features, {"q": ratio, "k": 1, "v": 1})
        )
    features_by_module = {}
    for part in PARTS:
        module = getattr(row, part).module
        features_by_module.setdefault(module, []).append(features[part][selected[part]].ravel())
    index = {module: np.sort(np.concatenate(parts)) for module, parts in features_by_module.items()}
    for module, module_index in index.items():
        _slice(module, module_index, outputs=module is not row.out.module)
    parts = {
        part: Projection(module, np.searchsorted(index[module], features[part][selected[part]]))
        for part, module in ((part, getattr(row, part).module) for part in PARTS)
    }
    zeroed = ~np.isin(present, kept)
    if zeroed.any():
        weight = row.out.module.weight
        along = _along(row.out.module, outputs=False)
        with torch.no_grad():
            weight.index_fill_(along, torch.as_tensor(parts["out"].features[zeroed].ravel(), device=weight.device), 0.0)
    return replace(row, pruned_layout=pruned_layout, **parts)


def _check_all_are_heads(row: AttentionRow, features: dict[str, np.ndarray]) -> None:
    """Raise HeadPruneError unless all outputs of q, k and v and all inputs of the output projection belong to heads."""
    owned: dict[nn.Module, int] = {}
    for part in PARTS:
        module = getattr(row, part).module
        owned[module] = owned.get(module, 0) + features[part].size
    for module, number in owned.items():
        total = width(module)[0 if module is row.out.module else 1]
        if total != number:
            raise HeadPruneError(
                f"{row.name} has a layer with {total} features, but only {number} belong to its heads; its heads can be "
                "masked but not removed"
            )


def _along(module: nn.Module, outputs: bool) -> int:
    """The axis of a weight's outputs (or inputs); the weight of a Conv1D is transposed."""
    return int(outputs == isinstance(module, Conv1D))


def _slice(module: nn.Module, index: np.ndarray, outputs: bool) -> None:
    """Keep only some outputs (or inputs) of a linear layer, in their order."""
    features = torch.as_tensor(index, device=module.weight.device)
    module.weight = _selected(module.weight, _along(module, outputs), features)
    if outputs and module.bias is not None:
        module.bias = _selected(module.bias, 0, features)
    names = ("nf", "nx") if isinstance(module, Conv1D) else ("out_features", "in_features")
    setattr(module, names[0 if outputs else 1], len(index))


def _selected(parameter: nn.Parameter, along: int, index: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().index_select(along, index), parameter.requires_grad)


def _empty_projections(
    model: nn.Module, row: AttentionRow, features: dict[str, np.ndarray], heads: dict[str, int]
) -> dict[str, Projection]:
    """Replace the row's layers by ones without weights; return the new projections."""
    widths: dict[nn.Module, int] = {}
    for part, number in heads.items():
        module = getattr(row, part).module
        widths[module] = widths.get(module, 0) + number * features[part].shape[1]
    new = {module: EmptyProjection(size) for module, size in widths.items()}
    new[row.out.module] = BiasOnly(row.out.module)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in new:
                setattr(parent, name, new[child])
    return {part: Projection(new[getattr(row, part).module], features[part][:0]) for part in PARTS}


def _slice_other_parameters(row: AttentionRow, heads: np.ndarray, groups: np.ndarray) -> None:
    """Slice parameters of the attention module, other than the projections, with a number or vector for each head."""
    before, groups_before, size = len(row.present), len(np.unique(row.kv_group[row.present])), row.head_size
    projections = {getattr(row, part).module for part in PARTS}
    for module in row.module.modules():
        if module in projections:
            continue
        if isinstance(module, nn.Embedding):  # a position bias of this layer alone has a column for each head
            if module.embedding_dim == before and not shares_position_bias(row.module):
                module.weight = _selected(module.weight, 1, torch.as_tensor(heads, device=module.weight.device))
                module.embedding_dim = len(heads)
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = tuple(parameter.shape)
            by_head = shape == (before, size) or (module is row.module and shape == (before,))
            by_group = not by_head and shape == (groups_before, size)
            if by_head or by_group:
                index = torch.as_tensor(heads if by_head else groups, device=parameter.device)
                setattr(module, name, _selected(parameter, 0, index))


def _set_sizes(row: AttentionRow, heads: int, groups: int) -> None:
    """Update the head counts and widths of the attention module, and those that it reads from the configuration."""
    forward, biased = _forward(row.module), shares_position_bias(row.module)
    before, groups_before = len(row.present), len(np.unique(row.kv_group[row.present]))
    for name, value in list(vars(row.module).items()):
        if type(value) is not int:
            continue
        old, new = (groups_before, groups) if "kv" in name or "key_value" in name else (before, heads)
        if COUNT.fullmatch(name) and value == old and not biased:
            setattr(row.module, name, new)
        elif WIDTH.fullmatch(name) and value == old * row.head_size:
            setattr(row.module, name, new * row.head_size)
    read = {"num_attention_heads": heads, "num_key_value_heads": groups}
    read = {name: number for name, number in read.items() if name in forward.__code__.co_names}
    if read and hasattr(row.module, "config"):
        row.module.config = RowConfig(row.module.config, read)


def shares_position_bias(module: nn.Module) -> bool:
    """Return True if an attention module receives one position bias, computed by the first layer for all heads.

    Args:
        module: the attention module.
    """
    return "position_bias" in inspect.signature(_forward(module)).parameters


def _forward(module: nn.Module):
    return inspect.unwrap(type(module).forward)


class RowConfig:
    """The model's configuration as seen by one attention module with its own numbers of heads.

    Args:
        config: configuration of the model.
        own: values that differ for this module.
    """

    def __init__(self, config, own: dict[str, int]):
        vars(self).update(own, own=own, _shared=config)

    def __getattr__(self, name: str):
        if "_shared" not in vars(self):  # while the object is copied
            raise AttributeError(name)
        return getattr(self._shared, name)
