"""What makes a pruned model another one than its configuration says: the sizes that a loader without this code has to set.

    {"sizes": [[module path, name, number, or shape of a parameter]], "config": {module path: {name: number}},
     "heads_left": {module path: [head]}, "zeros": [parameter]}

The pruned model is held against the same architecture built whole, on the meta device, from the configuration. A row without
heads runs in the library's own forward by way of one head of zeros (a key-value group of them), which the file of weights
does not hold; its output projection has zeros too and keeps its bias. Where one position bias for all heads is handed from
row to row (T5), "heads_left" says which part of it is whose.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .head_layout import PARTS, AttentionRow, width
from .weight_slicing import BiasOnly, EmptyProjection, RowConfig, shares_position_bias


def unpruned_architecture(model: PreTrainedModel) -> PreTrainedModel:
    """The architecture of a pruned `model` with all its heads and no weights, on the meta device."""
    with torch.device("meta"):
        return type(model)(copy.deepcopy(model.config)).eval().requires_grad_(False)


def standalone_sizes(model) -> dict[str, dict | list]:
    """What is to be set on the whole architecture to get the pruned PrunableModel `model`, as JSON has it."""
    body, whole = model.model, unpruned_architecture(model.model)
    modules, parameters = dict(whole.named_modules()), dict(whole.named_parameters(remove_duplicate=False))
    paths = {module: path for path, module in body.named_modules()}
    numbers = {path: _own_numbers(module, modules[path]) for module, path in paths.items()}
    heads_left, zeros = {}, {}
    for row in model.grid.rows:
        if shares_position_bias(row.module):
            heads_left[row.name] = row.present.tolist() or list(range(_placeholder_heads(row)))
        if not len(row.present):
            for module in {getattr(row, part).module for part in PARTS}:
                path = paths[module]
                numbers[path], shapes = _stood_in(row, module, modules[path])
                zeros |= {f"{path}.{name}": shape for name, shape in shapes.items()}
    shapes = {name: list(p.shape) for name, p in body.named_parameters() if p.shape != parameters[name].shape} | zeros
    return {
        "sizes": [[path, name, number] for path, own in numbers.items() for name, number in own.items()]
        + [[path, last, shape] for name, shape in shapes.items() for path, _, last in [name.rpartition(".")]],
        "config": {p: dict(m.config.own) for m, p in paths.items() if isinstance(getattr(m, "config", None), RowConfig)},
        "heads_left": heads_left,
        "zeros": list(zeros),
    }


def _own_numbers(module: nn.Module, whole: nn.Module) -> dict[str, int]:
    """The whole numbers that a module has otherwise than the one in its place."""
    return {name: value for name, value in vars(module).items() if type(value) is int and vars(whole).get(name) != value}


def _placeholder_heads(row: AttentionRow) -> int:
    """How many query heads stand in for a row without heads: those of one key-value group."""
    return row.heads // row.kv_heads


def _stood_in(
    row: AttentionRow, module: EmptyProjection | BiasOnly, whole: nn.Module
) -> tuple[dict[str, int], dict[str, list[int]]]:
    """(width, shapes of zeros) of the library's layer that is to do what a layer without weights does."""
    inputs, outputs = width(whole)
    turned, shapes = isinstance(whole, Conv1D), {}
    if isinstance(module, BiasOnly):
        inputs = _placeholder_heads(row) * row.layout["out"].shape[1]
        numbers = {"nx" if turned else "in_features": inputs}
    else:
        outputs = module.features
        numbers = {"nf" if turned else "out_features": outputs}
        if whole.bias is not None:
            shapes["bias"] = [outputs]
    shapes["weight"] = [inputs, outputs] if turned else [outputs, inputs]
    return numbers, shapes
