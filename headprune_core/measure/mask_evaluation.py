"""Measures of a model under many masks: accuracy, loss, agreement and correlation with the unpruned model.

They are computed from stored logits (classification) or from sums over the tokens of each example (token prediction), so
that logits over a vocabulary need not be stored. The forward passes are in `evaluation`.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import log_softmax

from headprune_core.data.batches import Batch
from headprune_core.data.encoded import Encoded
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.evaluation_cost import LOGITS_AT_ONCE
from headprune_core.scores.objectives import predictions, token_losses

# For token prediction, ten numbers are stored per example: numbers of correct predictions, of predictions equal to the
# unpruned model's, and of predictions; the loss; six sums (n, x, y, xx, yy, xy) of the logits x and the unpruned model's
# logits y. For classification, the logits are stored.
RIGHT, EQUAL, TRIALS, LOSS, SUMS = 0, 1, 2, 3, slice(4, 10)


@dataclass(frozen=True)
class MaskEvaluation:
    """Results of M masks on N examples with C classes.

    Attributes:
        logits: (M, N, C); None for token prediction.
        accuracy: (M,), share of correct predictions (of tokens for token prediction); nan without labels.
        loss: (M,), mean cross-entropy in nats; nan without labels.
        losses: (M, N), loss of each example.
        agreement: (M,), share of predictions equal to the unpruned model's.
        correlation: (M,), Pearson correlation of all logits with the unpruned model's.
        trials: number of predictions that accuracy is a share of.
        right: (M, N), share of correct predictions of each example; without labels, of predictions equal to the unpruned
            model's.
        recall: (M, C), per-class recall, nan for a class without examples; None for token prediction.
    """

    logits: np.ndarray | None
    accuracy: np.ndarray
    loss: np.ndarray
    losses: np.ndarray
    agreement: np.ndarray
    correlation: np.ndarray
    trials: int
    right: np.ndarray
    recall: np.ndarray | None


def token_results(batch: Batch, logits: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
    """Reduce logits for token prediction to the numbers stored per example (see RIGHT to SUMS).

    Args:
        batch: n examples.
        logits: (n, T, C), of the masked model.
        reference: (n, T, C), of the unpruned model.

    Returns:
        (n, 10) numbers.
    """
    step = max(1, LOGITS_AT_ONCE // (len(batch) * logits.shape[-1]))
    sums = sum(_token_sums(batch, logits, reference, slice(k, k + step)) for k in range(0, logits.shape[1], step))
    sums[:, LOSS] /= sums[:, TRIALS]
    return sums.cpu().numpy()


def _token_sums(batch: Batch, logits: torch.Tensor, reference: torch.Tensor, positions: slice) -> torch.Tensor:
    """Return the numbers (n, 10) of `token_results` for some positions, with the sum of the losses."""
    real = (batch.real if batch.decoder_real is None else batch.decoder_real)[:, positions]
    part = replace(batch, targets=batch.targets[:, positions], predicted=batch.predicted[:, positions])
    logits, reference = logits[:, positions], reference[:, positions]
    predicted, unpruned = (predictions(some, part).argmax(-1) for some in (logits, reference))
    counts = [((predicted == other) & part.predicted).sum(-1) for other in (part.targets, unpruned)]
    losses = token_losses(predictions(logits, part), part).double().sum(-1)
    x, y = (some.to(torch.float64, copy=True) for some in (logits, reference))
    x[~real] = y[~real] = 0.0
    x, y = x.flatten(1), y.flatten(1)
    n = real.sum(-1) * logits.shape[-1]
    sums = [n, x.sum(-1), y.sum(-1), (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)]
    return torch.stack([some.double() for some in (*counts, part.predicted.sum(-1), losses, *sums)], dim=-1)


def evaluation_measures(
    model: PrunableModel, encoded: Encoded, stored: np.ndarray, which: np.ndarray, done: np.ndarray
) -> MaskEvaluation:
    """Compute the measures of all masks from stored results.

    Args:
        model: the evaluated model.
        encoded: all N examples.
        stored: (distinct masks, N, width), logits of classes or the numbers of `token_results`.
        which: int (1 + M,), index of the distinct mask of the unpruned model and of each mask.
        done: int, indices of the examples to use.

    Returns:
        The measures of the M masks on the examples `done`.
    """
    logits, unpruned = stored[which[1:]][:, done], stored[which[0], done]
    if model.task != "classification":
        return _token_measures(logits)
    missing = np.full(logits.shape[:2], np.nan)
    predicted, expected = logits.argmax(-1), unpruned.argmax(-1)
    equal = predicted == expected
    labels = None if encoded.labels is None else np.array(encoded.labels)[done]
    losses = missing if labels is None else -np.take_along_axis(log_softmax(logits, -1), labels[None, :, None], -1)[..., 0]
    right = equal if labels is None else predicted == labels
    recall = np.full((len(logits), logits.shape[-1]), np.nan)
    if labels is not None:
        for c in np.unique(labels):
            recall[:, c] = right[:, labels == c].mean(1)
    x, y = logits.reshape(len(logits), -1), np.broadcast_to(unpruned.ravel(), (len(logits), unpruned.size))
    sums = np.stack([np.full(len(x), x.shape[1]), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], -1)
    return MaskEvaluation(
        logits=logits,
        accuracy=missing[:, 0] if labels is None else right.mean(1),
        loss=losses.mean(1),
        losses=losses,
        agreement=equal.mean(1),
        correlation=_pearson(sums),
        trials=len(done),
        right=right.astype(float),
        recall=recall,
    )


def _token_measures(stored: np.ndarray) -> MaskEvaluation:
    trials = stored[..., TRIALS].sum(1)
    return MaskEvaluation(
        logits=None,
        accuracy=stored[..., RIGHT].sum(1) / trials,
        loss=stored[..., LOSS].mean(1),
        losses=stored[..., LOSS],
        agreement=stored[..., EQUAL].sum(1) / trials,
        correlation=_pearson(stored[..., SUMS].sum(1)),
        trials=int(trials[0]),
        right=stored[..., RIGHT] / stored[..., TRIALS],
        recall=None,
    )


def _pearson(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation from sums (M, 6): n, x, y, xx, yy, xy; nan if one side is constant."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0.0))
    return np.where(spread > 0, (n * xy - x * y) / np.where(spread > 0, spread, 1.0), np.nan)
