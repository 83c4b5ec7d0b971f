"""Sizes that differ between a pruned model and its configuration, which a loader without HeadPrune has to set.

    {"sizes": [[module path, name, number, or shape of a parameter]], "config": {module path: {name: number}},
     "heads_left": {module path: [head]}, "zeros": [parameter]}

The pruned model is compared with the unpruned architecture on the meta device. A row without heads is represented by one KV
group of placeholder heads whose weights are 0 and are not saved; the bias of its output projection remains. If all layers
share one position bias (T5), "heads_left" lists the heads of each row that use it.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from headprune_core.model.head_layout import PARTS, AttentionRow, width
from headprune_core.model.weight_slicing import BiasOnly, EmptyProjection, RowConfig, shares_position_bias

from .library_class import library_class


def unpruned_architecture(model: PreTrainedModel) -> PreTrainedModel:
    """Build the unpruned architecture of a pruned model on the meta device, without weights.

    Args:
        model: the pruned Transformers model.
    """
    config = copy.deepcopy(model.config)
    config.dtype = model.dtype  # some constructors use it, and the library replaces it by a string when it saves a model
    with torch.device("meta"):
        return library_class(model)(config).eval().requires_grad_(False)


def standalone_sizes(model) -> dict[str, dict | list]:
    """Return the values that turn the unpruned architecture into a pruned one.

    Args:
        model: the pruned `PrunableModel`.

    Returns:
        A JSON-compatible dictionary; the description of this module has its keys.
    """
    body, unpruned = model.model, unpruned_architecture(model.model)
    modules, parameters = dict(unpruned.named_modules()), dict(unpruned.named_parameters(remove_duplicate=False))
    paths = {module: path for path, module in body.named_modules()}
    numbers = {path: _changed_numbers(module, modules[path]) for module, path in paths.items()}
    heads_left, zeros = {}, {}
    for row in model.grid.rows:
        if shares_position_bias(row.module):
            heads_left[row.name] = row.present.tolist() or list(range(_placeholder_heads(row)))
        if not len(row.present):
            for module in {getattr(row, part).module for part in PARTS}:
                path = paths[module]
                numbers[path], shapes = _placeholder_sizes(row, module, modules[path])
                zeros |= {f"{path}.{name}": shape for name, shape in shapes.items()}
    shapes = {name: list(p.shape) for name, p in body.named_parameters() if p.shape != parameters[name].shape} | zeros
    return {
        "sizes": [[path, name, number] for path, own in numbers.items() for name, number in own.items()]
        + [[path, last, shape] for name, shape in shapes.items() for path, _, last in [name.rpartition(".")]],
        "config": {p: dict(m.config.own) for m, p in paths.items() if isinstance(getattr(m, "config", None), RowConfig)},
        "heads_left": heads_left,
        "zeros": list(zeros),
    }


def _changed_numbers(module: nn.Module, unpruned: nn.Module) -> dict[str, int]:
    """The integer attributes of a module that differ from those of the unpruned module."""
    return {name: value for name, value in vars(module).items() if type(value) is int and vars(unpruned).get(name) != value}


def _placeholder_heads(row: AttentionRow) -> int:
    """Number of placeholder query heads of a row without heads: those of one KV group."""
    return row.heads // row.kv_heads


def _placeholder_sizes(
    row: AttentionRow, module: EmptyProjection | BiasOnly, unpruned: nn.Module
) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Size attributes and shapes of the zero parameters of the ordinary layer that replaces a layer without weights."""
    inputs, outputs = width(unpruned)
    transposed, shapes = isinstance(unpruned, Conv1D), {}
    if isinstance(module, BiasOnly):
        inputs = _placeholder_heads(row) * row.layout["out"].shape[1]
        numbers = {"nx" if transposed else "in_features": inputs}
    else:
        outputs = module.features
        numbers = {"nf" if transposed else "out_features": outputs}
        if unpruned.bias is not None:
            shapes["bias"] = [outputs]
    shapes["weight"] = [inputs, outputs] if transposed else [outputs, inputs]
    return numbers, shapes
