"""Structural pruning: remove heads from the weights, so that the pruned model gives the logits of the masked one.

The output of a masked head is zero. Its rows of the query, key and value weights and its columns of the output projection
can therefore be deleted without changing the logits (Michel et al. 2019, arXiv 1905.10650). `model.weight_slicing` slices
the weights of one module; `verification` compares the models on the user's examples.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch

from headprune_core.checked_mask import checked_mask
from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.measure.evaluation import gates
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.head_discovery import sample_inputs
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.model.weight_slicing import slice_row

PARTIAL_GROUPS = ("zero", "keep", "remove")
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # Relative to the largest logit; half precision uses 0.05.


@dataclass(frozen=True, eq=False)
class PruningPlan:
    """Heads that `prune_heads` keeps and removes; all arrays are bool (R, H) with original head numbers.

    Attributes:
        kept: heads that contribute to the output.
        present: heads whose weights remain: the kept heads, and zeroed heads that share a KV head with a kept one.
        rounded: heads whose state differs from the requested mask because KV groups are kept or pruned as a whole.
    """

    kept: np.ndarray
    present: np.ndarray
    rounded: np.ndarray

    @property
    def gated(self) -> np.ndarray:
        """Return the zeroed heads (R, H): pruned, but with weights that other heads need."""
        return self.present & ~self.kept


def plan_pruning(grid: HeadGrid, mask, *, partial_groups: str = "zero") -> PruningPlan:
    """Return which heads `prune_heads` would remove from a model with this grid.

    Args:
        grid: head grid of the model.
        mask: pruning mask (R, H), True = kept, with original head numbers. Heads that were removed earlier stay removed.
        partial_groups: what to do with a KV group that the mask prunes in part: "zero" zeroes the pruned heads and keeps
            their weights, "keep" keeps the whole group, "remove" removes the whole group.

    Returns:
        The plan: kept, present and rounded heads.

    Raises:
        HeadPruneError: if the mask has the wrong shape or values, or if no head would be kept.
    """
    if partial_groups not in PARTIAL_GROUPS:
        raise HeadPruneError(f"partial_groups must be one of {', '.join(PARTIAL_GROUPS)}, got {partial_groups!r}")
    requested = checked_mask(mask, grid.shape) & grid.kept
    kept, present = requested.copy(), requested.copy()
    for r, (row, groups) in enumerate(zip(grid.rows, grid.kv_group, strict=True)):
        has_weights = np.isin(np.arange(row.heads), row.present)
        for group in np.unique(groups):
            members = (groups == group) & has_weights
            any_kept, all_kept = requested[r, members].any(), requested[r, members & row.kept].all()
            if partial_groups == "remove" and not all_kept:
                kept[r, members] = any_kept = False
            elif partial_groups == "keep" and any_kept:
                kept[r, members & row.kept] = True
            present[r, members] = any_kept
    if not kept.any():
        raise HeadPruneError(f"the mask must keep at least one head, got a mask that prunes all {kept.size}")
    return PruningPlan(kept, present, kept != requested)


@runs_models
def prune_heads(model: PrunableModel, mask, *, partial_groups: str = "zero") -> PrunableModel:
    """Return a new model without the heads that the mask prunes; `model` is not changed.

    The new model shares all tensors that pruning does not change. Its grid keeps the original shape and head numbers, and
    `grid.kept` holds the remaining heads, so a pruned model can be pruned again. The result is compared with the masked
    model on one short input, except on the meta device. A HeadPruneWarning lists heads that differ from the mask.

    Args:
        model: model to prune.
        mask: pruning mask (R, H), True = kept, with original head numbers.
        partial_groups: what to do with a partially pruned KV group: "zero", "keep" or "remove"; see `plan_pruning`.

    Returns:
        The pruned model.

    Raises:
        HeadPruneError: if the mask does not fit the model, or if the heads of this architecture can only be masked.

    Example:
        >>> pruned = prune_heads(model, prune_mask(scores.his, sparsity=0.3))
    """
    plan = plan_pruning(model.grid, mask, partial_groups=partial_groups)
    if plan.rounded.any():
        verb = "kept" if partial_groups == "keep" else "removed"
        warnings.warn(
            f"{verb} with the rest of their KV groups: heads {_head_list(plan.rounded)}", HeadPruneWarning, stacklevel=2
        )
    tensors = [*model.model.parameters(), *model.model.buffers()]
    body = copy.deepcopy(model.model, {id(tensor): tensor for tensor in tensors})
    grid = model.grid.moved(dict(zip(model.model.modules(), body.modules(), strict=True)))
    states = zip(grid.rows, plan.present, plan.kept, strict=True)
    rows = tuple(slice_row(body, row, np.flatnonzero(present), np.flatnonzero(kept)) for row, present, kept in states)
    kind = type(model.model).__name__
    try:
        pruned = PrunableModel.of_heads(body, replace(grid, rows=rows), model.task, model.tokenizer, name=model.name)
    except HeadPruneError as error:
        raise HeadPruneError(
            f"{kind} does not run with fewer heads in a layer, so its heads can only be masked ({error.__cause__ or error})"
        ) from error
    if model.device.type != "meta":
        _check_same(kind, _trial_logits(model, plan.kept), _trial_logits(pruned, plan.kept))
    return pruned


@torch.no_grad()
def _trial_logits(model: PrunableModel, mask: np.ndarray) -> torch.Tensor:
    with use_hooks(AttentionHooks(gates=gates(model, mask))):
        return model.logits(sample_inputs(model.model))


def _check_same(kind: str, masked: torch.Tensor, pruned: torch.Tensor) -> None:
    difference, size = float((masked - pruned).abs().max()), float(masked.abs().max())
    if not difference <= TOLERANCE.get(masked.dtype, 0.05) * max(size, 1e-3):
        raise HeadPruneError(
            f"removing heads from {kind} changes its output (max. difference {difference:.2g}, logits up to {size:.2g}); "
            "its heads can only be masked"
        )


def _head_list(heads: np.ndarray) -> str:
    """Return the selected heads (R, H) as layer.head, for example "0.3, 2.1"."""
    return ", ".join(f"{row}.{head}" for row, head in np.argwhere(heads))
