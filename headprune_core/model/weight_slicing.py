"""One row of heads cut out of a model: rows of q, k and v with their biases, columns of the output projection, and sizes.

What is a head's is taken from the row's features, whatever the layers are called and however q, k and v are laid out in
them. What else an attention module keeps by head is found by its shape: a number for each head (attention sinks), a vector
for each (norms). Its own counts and widths are found by name and value together. None of this is believed: `surgery.py` runs
the result against the masked model.

A row without heads keeps its place in the forward pass. Its q, k and v layers give zeros for one head, with no weights, and
its output projection gives its bias; so every library module runs as written, whatever it does around its heads.
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

COUNT = re.compile(r"(num|n)_(\w+_)?heads?")  # what modules call their number of heads
WIDTH = re.compile(r"(embed|inner|hidden|all_head|split|query|key|value|kv|q|attention|attn)_(dim|size)|dim|d_model")


class _Weightless(nn.Module):
    """A layer with so many outputs and no weight."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.weight = torch.empty(0)  # no parameter, but the library asks layers that it knows by name for one
        self.weight._is_hf_initialized = True

    def extra_repr(self) -> str:
        return f"features={self.features}"


class EmptyProjection(_Weightless):
    """In the place of a q, k or v layer whose row has no head left: zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.features)


class BiasOnly(_Weightless):
    """In the place of an output projection whose row has no head left: its bias, for every token."""

    def __init__(self, projection: nn.Module):
        super().__init__(width(projection)[1])
        self.register_parameter("bias", projection.bias)

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(*x.shape[:-1], self.features)
        return out if self.bias is None else out + self.bias


def slice_row(model: nn.Module, row: AttentionRow, present: np.ndarray, kept: np.ndarray) -> AttentionRow:
    """The row after all heads but `present` are cut out of `model`, in place; of these only `kept` still work.

    Both are original head numbers, in order. Weights are replaced, never written to, so others may share those that were
    there. Raises HeadPruneError for a layer that makes more than q, k and v.
    """
    before, stay = row.present, np.isin(row.present, present)
    groups_before = np.unique(row.kv_group[before])
    groups_stay = np.isin(groups_before, np.unique(row.kv_group[present]))
    pruned_layout = PrunedLayout(row.layout, tuple(present.tolist()), tuple(kept.tolist()))
    if not len(before) or (stay.all() and np.array_equal(np.flatnonzero(row.kept), kept)):
        return replace(row, pruned_layout=pruned_layout)
    chosen = {"q": stay, "k": groups_stay, "v": groups_stay, "out": stay}
    features = {part: getattr(row, part).features for part in PARTS}
    _check_all_are_heads(row, features)
    empty = not len(present)
    ratio = row.heads // row.kv_heads
    heads, groups = (ratio, 1) if empty else (len(present), int(groups_stay.sum()))
    # what is kept by head beside the projections; without heads, for the one group that stands in for them
    places = np.arange(ratio) if empty else np.flatnonzero(stay)
    _cut_what_else(row, places, np.arange(1) if empty else np.flatnonzero(groups_stay))
    _tell_sizes(row, heads, groups)
    setattr(row.module, HEADS_LEFT, pruned_layout.present)
    if empty:
        return replace(row, pruned_layout=pruned_layout, **_emptied(model, row, features, {"q": ratio, "k": 1, "v": 1}))
    taken = {}
    for part in PARTS:
        module = getattr(row, part).module
        taken.setdefault(module, []).append(features[part][chosen[part]].ravel())
    index = {module: np.sort(np.concatenate(parts)) for module, parts in taken.items()}
    for module, chosen_of_it in index.items():
        _take(module, chosen_of_it, outputs=module is not row.out.module)
    parts = {
        part: Projection(module, np.searchsorted(index[module], features[part][chosen[part]]))
        for part, module in ((part, getattr(row, part).module) for part in PARTS)
    }
    silent = ~np.isin(present, kept)
    if silent.any():
        weight = row.out.module.weight
        along = _along(row.out.module, outputs=False)
        with torch.no_grad():
            weight.index_fill_(along, torch.as_tensor(parts["out"].features[silent].ravel(), device=weight.device), 0.0)
    return replace(row, pruned_layout=pruned_layout, **parts)


def _check_all_are_heads(row: AttentionRow, features: dict[str, np.ndarray]) -> None:
    """Every output of the q, k and v layers, and every input of the output projection, belongs to a head."""
    owned: dict[nn.Module, int] = {}
    for part in PARTS:
        module = getattr(row, part).module
        owned[module] = owned.get(module, 0) + features[part].size
    for module, number in owned.items():
        found = width(module)[0 if module is row.out.module else 1]
        if found != number:
            raise HeadPruneError(
                f"{row.name} has a layer of {found} features, of which {number} belong to its heads; expected them all, so "
                "its heads can be masked but not removed"
            )


def _along(module: nn.Module, outputs: bool) -> int:
    """The axis of a weight that its outputs (inputs) lie along; a Conv1D keeps its weight the other way round."""
    return int(outputs == isinstance(module, Conv1D))


def _take(module: nn.Module, index: np.ndarray, outputs: bool) -> None:
    """Only those outputs (inputs) of a linear layer, in its order."""
    place = torch.as_tensor(index, device=module.weight.device)
    module.weight = _selected(module.weight, _along(module, outputs), place)
    if outputs and module.bias is not None:
        module.bias = _selected(module.bias, 0, place)
    names = ("nf", "nx") if isinstance(module, Conv1D) else ("out_features", "in_features")
    setattr(module, names[0 if outputs else 1], len(index))


def _selected(parameter: nn.Parameter, along: int, index: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().index_select(along, index), parameter.requires_grad)


def _emptied(
    model: nn.Module, row: AttentionRow, features: dict[str, np.ndarray], heads: dict[str, int]
) -> dict[str, Projection]:
    """The row's layers replaced by ones without heads; what takes its projections' places."""
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


def _cut_what_else(row: AttentionRow, heads: np.ndarray, groups: np.ndarray) -> None:
    """Parameters of the attention module that hold a number or a vector for each head, beside the projections."""
    before, groups_before, size = len(row.present), len(np.unique(row.kv_group[row.present])), row.head_size
    projections = {getattr(row, part).module for part in PARTS}
    for module in row.module.modules():
        if module in projections or isinstance(module, nn.Embedding):
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = tuple(parameter.shape)
            by_head = shape == (before, size) or (module is row.module and shape == (before,))
            by_group = not by_head and shape == (groups_before, size)
            if by_head or by_group:
                index = torch.as_tensor(heads if by_head else groups, device=parameter.device)
                setattr(module, name, _selected(parameter, 0, index))


def _tell_sizes(row: AttentionRow, heads: int, groups: int) -> None:
    """The attention module's own numbers of heads and widths, and what it reads of them in the model's configuration."""
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
    """Whether an attention module is handed one position bias for all heads of the model, made by the first row."""
    return "position_bias" in inspect.signature(_forward(module)).parameters


def _forward(module: nn.Module):
    return inspect.unwrap(type(module).forward)


class RowConfig:
    """The model's configuration, as one attention module reads it that has numbers of heads of its own."""

    def __init__(self, config, own: dict[str, int]):
        vars(self).update(own, own=own, _whole=config)

    def __getattr__(self, name: str):
        if "_whole" not in vars(self):  # while it is being copied
            raise AttributeError(name)
        return getattr(self._whole, name)
