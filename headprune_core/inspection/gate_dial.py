"""The gate dial: loss while the gate of one head goes from 1 (present) to 0 (masked), with its tangent at 1.

The slope at 1 is the signed first-order term whose mean absolute value over examples is HIS. The loss at 0 minus the loss at
1 is the effect of leave-one-out ablation. The difference between curve and tangent shows how far a first-order score can be
trusted for this head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.scores.objectives import precise, predictions

GATES = tuple(np.linspace(1.0, 0.0, 11))


@dataclass(frozen=True)
class GateDial:
    """Losses under several gates of one head.

    Attributes:
        row: Row of the head.
        head: Number of the head.
        gates: (G,), factors on the head's output.
        losses: (G, N), loss of each example, in the unit of the task's loss.
        slopes: (N,), derivative of the loss of each example with respect to the gate, at gate 1.
        objective: "loss" against the labels, or "prediction" against the unpruned model's own predictions.
    """

    row: int
    head: int
    gates: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray
    objective: str

    @property
    def tangent(self) -> np.ndarray:
        """(G, N), the losses that the slopes at gate 1 predict."""
        at_one = self.losses[np.argmin(np.abs(self.gates - 1.0))]
        return at_one + (self.gates[:, None] - 1.0) * self.slopes

    def to_frame(self) -> pd.DataFrame:
        """Return one row per gate: gate, loss and tangent (means over examples)."""
        return pd.DataFrame({"gate": self.gates, "loss": self.losses.mean(1), "tangent": self.tangent.mean(1)})


@runs_models
def gate_dial(
    model: PrunableModel,
    examples: datasets.Dataset,
    row: int,
    head: int,
    *,
    gates: Sequence[float] = GATES,
    batch_size: int = 32,
    progress: Callable[[int, int, str], None] | None = None,
) -> GateDial:
    """Measure the loss while the gate of one head changes.

    Args:
        model: An unpruned model.
        examples: Examples; without labels, the loss is computed against the model's own predictions.
        row: Row of the head.
        head: Number of the head.
        gates: Factors on the head's output; 1 must be among them.
        batch_size: Maximum batch size.
        progress: Called as progress(done, total, note) before each forward pass; raise `Cancelled` in it to stop.

    Returns:
        Losses and slopes of each example.

    Raises:
        HeadPruneError: If there is no such head, the model is pruned, 1 is not among the gates, or a regression model has no
            labels.
    """
    model.grid.check_unpruned("the gate dial")
    rows, heads = model.grid.shape
    if not (0 <= row < rows and 0 <= head < heads):
        raise HeadPruneError(f"the model has no head {head} in row {row}; rows are 0 to {rows - 1}, heads 0 to {heads - 1}")
    gates = np.asarray(gates, float)
    if gates.ndim != 1 or not np.isfinite(gates).all() or not (gates == 1.0).any():
        raise HeadPruneError("gates must be finite numbers, and 1 must be among them")
    encoded = encode(model, examples)
    if not encoded.labeled and not encoded.task.has_decisions:
        raise HeadPruneError("the gate dial of a regression model requires labels; add a label column")
    losses, slopes, done = np.empty((len(gates), len(encoded))), np.empty(len(encoded)), 0

    def report(passes: int, n: int) -> None:
        if progress is not None:
            progress(done * (len(gates) + 1) + passes * n, len(encoded) * (len(gates) + 1), "Turning the gate")

    for full_batch in encoded.batches(batch_size, model.device, token_limit=token_limit(model, None)):
        for batch, (found, slope) in in_parts(
            full_batch, lambda batch: _batch(model, batch, (row, head), gates, encoded.labeled, report)
        ):
            losses[:, batch.index], slopes[batch.index] = found, slope
            done += len(batch)
    report(0, 0)
    return GateDial(row, head, gates, losses, slopes, "loss" if encoded.labeled else "prediction")


def _batch(model, batch: Batch, place: tuple[int, int], gates: np.ndarray, labeled: bool, report) -> tuple:
    """Losses (G, n) and slopes (n,) of one batch."""
    module, (_, heads) = model.grid.rows[place[0]].module, model.grid.shape
    report(0, len(batch))
    options = {"device": model.device, "dtype": torch.promote_types(model.model.dtype, torch.float32)}
    gate = torch.ones(len(batch), 1, heads, 1, requires_grad=True, **options)  # of each example
    with use_hooks(AttentionHooks(gates={module: gate})), torch.enable_grad(), FrozenLinear(model.packed):
        logits = model.logits(batch.inputs)
    targets = None if labeled else batch.task.decisions(_counted(logits.detach(), batch))
    loss = _losses(logits, batch, targets)
    slope = torch.zeros(len(batch), **options)
    if loss.requires_grad:
        slope = torch.autograd.grad(loss.sum(), gate)[0][:, 0, place[1], 0]
    found = []
    for number, value in enumerate(gates):
        report(number + 1, len(batch))
        factor = torch.ones(heads, 1, **options)
        factor[place[1]] = float(value)
        with use_hooks(AttentionHooks(gates={module: factor})), torch.no_grad(), FrozenLinear(model.packed):
            found.append(_losses(model.logits(batch.inputs), batch, targets))
    return torch.stack(found).double().cpu().numpy(), slope.double().cpu().numpy()


def _counted(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return predictions(logits, batch) if batch.task.by_token else logits


def _losses(logits: torch.Tensor, batch: Batch, targets: torch.Tensor | None) -> torch.Tensor:
    """(n,) losses; `targets` replace the labels."""
    logits = precise(_counted(logits, batch)).double()
    if not batch.task.by_token:
        return batch.task.losses(logits, batch.labels if targets is None else targets)
    targets = batch.targets if targets is None else targets
    per_token = torch.where(batch.predicted, batch.task.losses(logits, targets), 0.0)
    return per_token.sum(-1) / batch.predicted.sum(-1)
