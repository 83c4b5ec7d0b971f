"""A model under many masks: what it answers, how well, and how far from the unpruned model.

A removed head's output is multiplied by zero before the output projection, which is what surgery does for good. Equal
masks are run once. The unpruned model is always run too, as the one that agreement and correlation compare with.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from .batches import Batch, in_parts
from .encoding import encode
from .errors import HeadPruneError
from .frozen import FrozenLinear
from .models import PrunableModel
from .probe import Probe, probing
from .scores.objectives import predictions, token_losses


@dataclass(frozen=True)
class MaskEvaluation:
    """Results by mask. M masks, N examples, C classes.

    accuracy: share of right answers, nan without labels; of right tokens where tokens are predicted. loss: mean
    cross-entropy, likewise, and losses (M, N) that of each example. agreement: share of answers equal to the unpruned
    model's. correlation: Pearson of all logits with the unpruned model's. trials: how many answers accuracy is a share
    of. logits (M, N, C): None where tokens are predicted.
    """

    logits: np.ndarray | None
    accuracy: np.ndarray
    loss: np.ndarray
    losses: np.ndarray
    agreement: np.ndarray
    correlation: np.ndarray
    trials: int


def evaluate_masks(
    model: PrunableModel,
    examples: datasets.Dataset,
    masks,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> MaskEvaluation:
    """Run `model` under each of `masks` (M, R, H), True = kept, on all `examples`.

    dtype "bfloat16" runs the matrix products in that precision; None as loaded. Raises HeadPruneError for masks of
    another shape.
    """
    masks = np.asarray(masks, bool)
    if masks.ndim != 3 or masks.shape[1:] != model.grid.shape or len(masks) == 0:
        raise HeadPruneError(f"masks have shape {masks.shape}; expected (M, {model.grid.shape[0]}, {model.grid.shape[1]})")
    model = model.in_precision(dtype)
    whole = np.ones((1, *model.grid.shape), bool)
    distinct, which = np.unique(np.concatenate([whole, masks]), axis=0, return_inverse=True)
    which = which.ravel()
    # the unpruned model first: the others are compared with it batch by batch
    order = np.r_[which[0], np.delete(np.arange(len(distinct)), which[0])]
    encoded = encode(model, examples)
    tally = _Tally(len(distinct), len(encoded), model)
    done, total = 0, len(distinct) * len(encoded)
    for batch in encoded.batches(batch_size, model.device):
        reference = None
        for number in order:
            if progress is not None:
                progress(done, total, "Measuring accuracy")
            parts = in_parts(batch, lambda part, mask=distinct[number]: masked_logits(model, part, mask))
            logits = torch.cat([logits for _, logits in parts])
            reference = logits if reference is None else reference
            tally.add(number, batch, logits, reference)
            done += len(batch)
    if progress is not None:
        progress(total, total, "Measuring accuracy")
    return tally.result(which[1:])


@torch.inference_mode()
def masked_logits(model: PrunableModel, batch: Batch, mask: np.ndarray) -> torch.Tensor:
    """Logits of one batch with the heads that `mask` (R, H) removes switched off, in float32."""
    gates = {
        row.module: torch.tensor(kept, device=model.device)[:, None]
        for row, kept in zip(model.grid.rows, mask, strict=True)
        if not kept.all()
    }
    with probing(Probe(gates=gates)), FrozenLinear(model.packed):
        return model.logits(batch.inputs).float()


class _Tally:
    """Adds up, mask by mask and batch by batch, all that the measures are made of."""

    def __init__(self, masks: int, examples: int, model: PrunableModel):
        self._tokens = model.task != "classification"  # tokens are predicted, not classes
        self._logits = None if self._tokens else np.empty((masks, examples, model.model.config.num_labels))
        self._labelled = True
        self._trials = 0
        self._right, self._equal = np.zeros(masks, int), np.zeros(masks, int)
        self._loss = np.zeros((masks, examples))
        self._sums = np.zeros((masks, 6))  # n, x, y, xx, yy, xy of the logits

    def add(self, mask: int, batch: Batch, logits: torch.Tensor, reference: torch.Tensor) -> None:
        if self._tokens:
            real = batch.real if batch.decoder_real is None else batch.decoder_real
            answers, expected = (predictions(some, batch).argmax(-1) for some in (logits, reference))
            right, counted = answers == batch.targets, batch.predicted
            losses = token_losses(predictions(logits, batch), batch).sum(-1) / counted.sum(-1)
        else:
            answers, expected = logits.argmax(-1), reference.argmax(-1)
            real = counted = torch.ones_like(answers, dtype=torch.bool)
            self._logits[mask, batch.index] = logits.cpu()
            self._labelled = batch.labels is not None
            right = answers == batch.labels if self._labelled else ~counted
            losses = cross_entropy(logits, batch.labels, reduction="none") if self._labelled else None
        if losses is not None:
            self._loss[mask, batch.index] = losses.cpu()
        equal = answers == expected
        self._trials += int(counted.sum()) if logits is reference else 0
        self._right[mask] += int((right & counted).sum())
        self._equal[mask] += int((equal & counted).sum())
        x, y = logits[real].double(), reference[real].double()
        sums = (x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())
        self._sums[mask] += [x.numel(), *(float(s) for s in sums)]

    def result(self, which: np.ndarray) -> MaskEvaluation:
        n, x, y, xx, yy, xy = self._sums.T
        spread = np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0.0))
        correlation = np.where(spread > 0, (n * xy - x * y) / np.where(spread > 0, spread, 1.0), np.nan)
        nothing = np.full(len(which), np.nan)
        return MaskEvaluation(
            logits=None if self._logits is None else self._logits[which],
            accuracy=self._right[which] / self._trials if self._labelled else nothing,
            loss=self._loss.mean(1)[which] if self._labelled else nothing,
            losses=self._loss[which] if self._labelled else np.full((len(which), self._loss.shape[1]), np.nan),
            agreement=self._equal[which] / self._trials,
            correlation=correlation[which],
            trials=self._trials,
        )
