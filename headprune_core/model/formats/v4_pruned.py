"""Folders that `prune_heads` of Transformers v4 wrote; v5 can no longer load them.

The configuration of such a folder lists the removed heads as {"pruned_heads": {layer: [head, ...]}} in original numbers, and
its weights have the other heads only. Together with the head layout of the unpruned architecture this is a head map.
"""

import copy
from pathlib import Path

import torch
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_discovery import find_heads
from headprune_core.model.head_map import HeadMap, row_entry

from .safe_json import read_json
from .weight_checks import check_memory

SPREAD = 0.1  # standard deviation of the random weights in which heads are located


def heads_pruned_by_v4(folder: Path) -> dict[int, list[int]]:
    """Return the heads that Transformers v4 removed from the model of a folder, by layer.

    Args:
        folder: folder of a model.

    Returns:
        Sorted head numbers by layer number; empty if no head was removed.

    Raises:
        HeadPruneError: if the configuration lists them in another form.
    """
    file = folder / "config.json"
    try:
        values = read_json(file)
    except HeadPruneError:  # ordinary loading reports what is wrong
        return {}
    pruned = values.get("pruned_heads")
    try:
        heads = {int(layer): sorted({int(head) for head in listed}) for layer, listed in (pruned or {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise HeadPruneError(
            f"{file} has pruned_heads of an unknown form ({str(pruned)[:60]}); expected head numbers by layer"
        ) from error
    return {layer: listed for layer, listed in heads.items() if listed}


def v4_head_map(folder: Path, kind: type[PreTrainedModel], config) -> HeadMap:
    """Derive the head map of a folder that Transformers v4 pruned.

    Args:
        folder: folder of the model.
        kind: its Transformers class.
        config: its configuration.

    Returns:
        The head map.

    Raises:
        HeadPruneError: if the architecture has no numbered layers of heads, or not the heads of the list.
    """
    pruned = heads_pruned_by_v4(folder)
    if getattr(config, "is_encoder_decoder", False):
        raise HeadPruneError(
            f"config.json of {folder} has pruned_heads, but Transformers v4 pruned no encoder-decoder such as "
            f"{kind.__name__}; remove them from the file if all heads are there"
        )
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in kind(copy.deepcopy(config)).parameters())
    check_memory(str(folder), parameters, torch.float32)
    # A layout with q, k and v in one layer is found by gradients, so this copy of the architecture has random weights.
    torch_state = torch.get_rng_state()
    try:
        body = kind(copy.deepcopy(config)).float().eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        for parameter in body.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=SPREAD, generator=generator)
    finally:
        torch.set_rng_state(torch_state)
    grid, task, _ = find_heads(body)
    paths = {module: path for path, module in body.named_modules()}
    for layer, heads in pruned.items():
        if not 0 <= layer < len(grid.rows) or not 0 <= heads[0] <= heads[-1] < grid.shape[1]:
            raise HeadPruneError(
                f"config.json of {folder} lists pruned heads {heads[:6]} of layer {layer}, but {kind.__name__} has "
                f"{len(grid.rows)} layers of {grid.shape[1]} heads; use the configuration that belongs to the weights"
            )
    rows = {}
    for number, row in enumerate(grid.rows):
        kept = sorted(set(range(row.heads)) - set(pruned.get(number, ())))
        rows[row.name] = row_entry(row, paths) | {"kept": kept, "gated": []}
    return HeadMap(folder, task, grid.layers, rows)
