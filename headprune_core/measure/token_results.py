"""The numbers that are stored per example if each token has a prediction, so that logits need not be stored."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from headprune_core.data.batches import Batch
from headprune_core.data.entities import entity_counts
from headprune_core.data.tasks import Task
from headprune_core.scores.evaluation_cost import LOGITS_AT_ONCE
from headprune_core.scores.objectives import predictions, token_losses

# For token prediction, ten numbers are stored per example: numbers of correct predictions, of predictions equal to the
# unpruned model's, and of predictions; the loss; six sums (n, x, y, xx, yy, xy) of the logits x and the unpruned model's
# logits y. Token classifiers store 2 + 2 C more: numbers of correct entities, and of predicted and expected ones together
# (nan if they are not counted); for each class, the numbers of its tokens that are predicted correctly, and of its tokens.
# Without labels, the unpruned model's predictions take their place. With one prediction per example, the logits are stored.
RIGHT, EQUAL, TRIALS, LOSS, SUMS, ENTITIES = 0, 1, 2, 3, slice(4, 10), slice(10, 12)


def stored_width(task: Task, outputs: int) -> int:
    """Return how many numbers are stored per example.

    Args:
        task: the task.
        outputs: number of classes or outputs.
    """
    if not task.by_token:
        return outputs
    return SUMS.stop if task.generates else ENTITIES.stop + 2 * outputs


def class_counts(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many tokens of each class are predicted correctly, and how many there are.

    Args:
        stored: (..., 12 + 2 C), numbers of a token classifier.

    Returns:
        Two arrays (..., C).
    """
    return tuple(np.split(stored[..., ENTITIES.stop :], 2, axis=-1))


def token_results(
    batch: Batch, logits: torch.Tensor, reference: torch.Tensor, tags: Sequence[str] | None = None
) -> np.ndarray:
    """Reduce logits for token prediction to the numbers stored per example (see RIGHT to ENTITIES).

    Args:
        batch: n examples.
        logits: (n, T, C), of the masked model.
        reference: (n, T, C), of the unpruned model.
        tags: names of the classes, to count entities; None to count none.

    Returns:
        (n, 10) numbers, or (n, 12 + 2 C) for a token classifier.
    """
    step = max(1, LOGITS_AT_ONCE // (len(batch) * logits.shape[-1]))
    parts = (slice(start, start + step) for start in range(0, logits.shape[1], step))
    sums, predicted = zip(*(_token_sums(batch, logits, reference, part) for part in parts), strict=True)
    numbers = torch.stack(sums).sum(0)
    numbers[:, LOSS] /= numbers[:, TRIALS]
    numbers = numbers.cpu().numpy()
    if batch.task.generates:
        return numbers
    entities, classes = np.full((len(batch), 2), np.nan), np.zeros((len(batch), 2, logits.shape[-1]))
    if batch.targets is not None:
        parts = (part.cpu().numpy() for part in (batch.predicted, batch.targets, torch.cat(predicted, dim=1)))
        rows = [(target[some], guess[some]) for some, target, guess in zip(*parts, strict=True)]
        if tags is not None:
            entities[:] = [entity_counts(tags, target, guess) for target, guess in rows]
        for row, (target, guess) in zip(classes, rows, strict=True):
            row[:] = [np.bincount(some, minlength=row.shape[1]) for some in (target[target == guess], target)]
    return np.concatenate([numbers, entities, classes.reshape(len(batch), -1)], axis=1)


def _token_sums(
    batch: Batch, logits: torch.Tensor, reference: torch.Tensor, positions: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers (n, 10) of `token_results` for some positions, with the sum of the losses; and the predictions."""
    real = (batch.real if batch.decoder_real is None else batch.decoder_real)[:, positions]
    targets = None if batch.targets is None else batch.targets[:, positions]
    part = replace(batch, targets=targets, predicted=batch.predicted[:, positions])
    logits, reference = logits[:, positions], reference[:, positions]
    predicted, unpruned = (predictions(some, part).argmax(-1) for some in (logits, reference))
    targets = unpruned if targets is None else targets
    counts = [((predicted == other) & part.predicted).sum(-1) for other in (targets, unpruned)]
    losses = token_losses(predictions(logits, part), part, targets).double().sum(-1)
    x, y = (some.to(torch.float64, copy=True) for some in (logits, reference))
    x[~real] = y[~real] = 0.0
    x, y = x.flatten(1), y.flatten(1)
    n = real.sum(-1) * logits.shape[-1]
    sums = [n, x.sum(-1), y.sum(-1), (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)]
    numbers = (*counts, part.predicted.sum(-1), losses, *sums)
    return torch.stack([some.double() for some in numbers], dim=-1), predicted
