"""Heads removed for good: a new, smaller model that answers as the masked one does.

z_h W_out,h = 0 for a head h whose output z_h is multiplied by 0, so its rows of q, k and v, with their biases, and its
columns of the output projection can go without a change to the logits (Michel et al. 2019; `cutting.py`). The model that is
given is not touched, and what is not cut is shared with it. Key-value heads go with the last of the query heads that read
them; a mask that cuts inside such a group is kept as it is with zeros in the output projection, or rounded to whole groups.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.measure.evaluation import gates
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.head_discovery import sample_inputs
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.model.weight_slicing import slice_row

PARTIAL_GROUPS = ("zero", "keep", "remove")
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # of the largest logit; half precision: 0.05


@dataclass(frozen=True, eq=False)
class PruningPlan:
    """What is to go, by original head number, all (R, H) bool.

    kept: heads that work. present: heads whose weights stay: kept ones, and those that a kept one shares keys and values
    with. rounded: heads for which the mask said otherwise than kept does.
    """

    kept: np.ndarray
    present: np.ndarray
    rounded: np.ndarray

    @property
    def gated(self) -> np.ndarray:
        """(R, H) heads that are removed but whose weights have to stay."""
        return self.present & ~self.kept


def plan_pruning(grid: HeadGrid, mask, *, partial_groups: str = "zero") -> PruningPlan:
    """What `prune_heads` with these arguments removes from a model of that grid.

    mask (R, H), True = kept, in original numbers; what is gone already stays gone. partial_groups: what becomes of a
    key-value group of which the mask removes a part: "zero" removes that part's effect and keeps its weights, "keep" keeps
    the whole group, "remove" removes it. Raises HeadPruneError for a mask of another shape, and where no head would be left.
    """
    if partial_groups not in PARTIAL_GROUPS:
        raise HeadPruneError(f"partial_groups is {partial_groups!r}; expected one of {', '.join(PARTIAL_GROUPS)}")
    mask = np.asarray(mask)
    if mask.shape != grid.shape or not np.isin(mask, (0, 1)).all():
        raise HeadPruneError(
            f"the mask has shape {mask.shape} and type {mask.dtype}; expected {grid.shape} of true and false, one for each "
            "head that the model had before any was removed"
        )
    asked = mask.astype(bool) & grid.kept
    kept, present = asked.copy(), asked.copy()
    for r, (row, groups) in enumerate(zip(grid.rows, grid.kv_group, strict=True)):
        there = np.isin(np.arange(row.heads), row.present)
        for group in np.unique(groups):
            members = (groups == group) & there
            some, whole = asked[r, members].any(), asked[r, members & row.kept].all()
            if partial_groups == "remove" and not whole:
                kept[r, members] = some = False
            elif partial_groups == "keep" and some:
                kept[r, members & row.kept] = True
            present[r, members] = some
    if not kept.any():
        raise HeadPruneError(f"no head of {kept.size} would be left; expected a mask that keeps at least one")
    return PruningPlan(kept, present, kept != asked)


def prune_heads(model: PrunableModel, mask, *, partial_groups: str = "zero") -> PrunableModel:
    """A new model without the heads that `mask` (R, H), True = kept, removes; `model` is left as it is.

    Tensors that are not cut are shared. The new model's grid keeps the original shape and numbers, and its `kept` says which
    heads are left; pruning it again composes. partial_groups: see `plan_pruning`; heads for which rounding overrules the mask are
    named in a HeadPruneWarning. Except on the meta device the new model is run once against the masked one. Raises
    HeadPruneError for a mask that does not fit, and for a model whose heads can be masked but not removed.
    """
    cut = plan_pruning(model.grid, mask, partial_groups=partial_groups)
    if cut.rounded.any():
        verb = "kept" if partial_groups == "keep" else "removed"
        warnings.warn(
            f"{verb} with the rest of their key-value groups: heads {_named(cut.rounded)}", HeadPruneWarning, stacklevel=2
        )
    tensors = [*model.model.parameters(), *model.model.buffers()]
    body = copy.deepcopy(model.model, {id(tensor): tensor for tensor in tensors})
    grid = model.grid.moved(dict(zip(model.model.modules(), body.modules(), strict=True)))
    pairs = zip(grid.rows, cut.present, cut.kept, strict=True)
    rows = tuple(slice_row(body, row, np.flatnonzero(there), np.flatnonzero(kept)) for row, there, kept in pairs)
    kind = type(model.model).__name__
    try:
        pruned = PrunableModel.of_heads(body, replace(grid, rows=rows), model.task, model.tokenizer, name=model.name)
    except HeadPruneError as error:
        raise HeadPruneError(
            f"{kind} does not run with rows of fewer heads, so its heads can be masked but not removed ({error})"
        ) from error
    if model.device.type != "meta":
        _check_same(kind, _trial_logits(model, cut.kept), _trial_logits(pruned, cut.kept))
    return pruned


@torch.no_grad()
def _trial_logits(model: PrunableModel, mask: np.ndarray) -> torch.Tensor:
    with use_hooks(AttentionHooks(gates=gates(model, mask))):
        return model.logits(sample_inputs(model.model))


def _check_same(kind: str, masked: torch.Tensor, pruned: torch.Tensor) -> None:
    difference, size = float((masked - pruned).abs().max()), float(masked.abs().max())
    if not difference <= TOLERANCE.get(masked.dtype, 0.05) * max(size, 1e-3):
        raise HeadPruneError(
            f"{kind} without the heads differs from {kind} with them masked (by {difference:.2g} of {size:.2g} on a short "
            "text), so its heads can be masked but not removed"
        )


def _named(heads: np.ndarray) -> str:
    """Heads (R, H) as people name them: "0.3, 2.1"."""
    return ", ".join(f"{row}.{head}" for row, head in np.argwhere(heads))
