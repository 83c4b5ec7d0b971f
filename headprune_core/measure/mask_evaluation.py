"""Measures of a model under many masks: accuracy or its replacement, loss, agreement with the unpruned model.

They are computed from stored logits (classification) or from sums over the tokens of each example (token prediction), so
that logits over a vocabulary need not be stored. The forward passes are in `evaluation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from headprune_core.data.encoded import Encoded
from headprune_core.data.measures import SHARES, Measured, correlation_interval, correlations, f1, micro_f1, spearman, wilson
from headprune_core.data.tasks import TASKS, Task
from headprune_core.model.prunable_model import PrunableModel

from .paired_tests import Outcomes
from .token_results import ENTITIES, EQUAL, LOSS, RIGHT, SUMS, TRIALS, class_counts


@dataclass(frozen=True)
class MaskEvaluation:
    """Results of M masks on N examples with C classes or outputs.

    Attributes:
        logits: (M, N, C); None for token prediction.
        accuracy: (M,), share of correct predictions (of tokens for token prediction; of label sets for multi-label models);
            nan without labels and for regression.
        loss: (M,), mean loss (see `Task.losses`); nan without labels.
        losses: (M, N), loss of each example.
        agreement: (M,), share of predictions equal to the unpruned model's; for regression the same as `correlation`.
        correlation: (M,), Pearson correlation of all logits with the unpruned model's.
        trials: number of predictions that accuracy is a share of.
        right: (M, N), share of correct predictions of each example; without labels, of predictions equal to the unpruned
            model's; None for regression.
        recall: (M, C), recall of each class or label, nan for one without examples; None for text generation and regression.
        task: the task of the model.
        labels: (N,) class numbers, (N, C) zeros and ones or numbers; None without labels and for token prediction.
        unpruned: (N, C), logits of the model that agreement and correlation compare with; None for token prediction.
        further: (M,) by name, the further measures of the task (`Task.further`); empty without labels.
        counts: (N,), number of predictions of each example, if every token has one; else None.
        class_hits: (M, N, C), number of correctly predicted tokens of each class, of a token classifier; else None.
        class_counts: (N, C), number of tokens of each class; else None.
        own_losses: (M, N), loss against the unpruned model's predictions, of a token classifier without labels; else None.
    """

    logits: np.ndarray | None
    accuracy: np.ndarray
    loss: np.ndarray
    losses: np.ndarray
    agreement: np.ndarray
    correlation: np.ndarray
    trials: int
    right: np.ndarray | None
    recall: np.ndarray | None
    task: Task = TASKS["classification"]
    labels: np.ndarray | None = None
    unpruned: np.ndarray | None = None
    further: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: np.ndarray | None = None
    class_hits: np.ndarray | None = None
    class_counts: np.ndarray | None = None
    own_losses: np.ndarray | None = None

    @property
    def labeled(self) -> bool:
        """Whether the examples have labels, or tokens to predict."""
        return self.own_losses is None if self.logits is None else self.labels is not None

    @property
    def measure(self) -> str:
        """Name of the main measure: that of the task ("accuracy", or "pearson" for regression), or one without labels."""
        return self.task.measure if self.labeled else self.task.without_labels

    @property
    def main_value(self) -> np.ndarray:
        """(M,), the main measure without its interval."""
        return self.value(self.measure)

    def value(self, name: str) -> np.ndarray:
        """Return the values (M,) of one measure.

        Args:
            name: as in `measured`.
        """
        return correlations(self.logits, self.labels, self.unpruned) if name == "pearson" else getattr(self, name)

    def measured(self, name: str | None = None) -> Measured:
        """Return one measure with its 95% CI.

        Args:
            name: "accuracy" or "agreement"; for regression "pearson" or "correlation"; None for the main measure.

        Returns:
            The values of the M masks, with Wilson's interval for shares and a bootstrap interval over examples otherwise.
        """
        name = name or self.measure
        value = self.value(name)
        if name in SHARES:
            return Measured(name, value, *wilson(value * self.trials, self.trials))
        expected = self.labels if name == "pearson" else self.unpruned
        return Measured(name, value, *correlation_interval(self.logits, expected, self.unpruned))

    def outcomes(self, which: int = 0) -> Outcomes:
        """Return what is compared with other models on the same examples in paired tests.

        Args:
            which: index of the mask.
        """
        if self.right is None:
            return Outcomes(self.logits[which], None, self.labels if self.labeled else self.unpruned, self.unpruned)
        if self.counts is not None:
            return Outcomes(np.rint(np.nan_to_num(self.right[which]) * self.counts), self.counts)
        return Outcomes(self.right[which].astype(bool))

    @property
    def reason(self) -> str | None:
        """Why there is no accuracy, as part of a sentence; None if there is one."""
        if not np.isnan(self.accuracy).all():
            return None
        return "the examples have no labels" if self.task.has_decisions else f"the task is {self.task.title}"


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
    if encoded.task.by_token:
        return _token_measures(encoded, logits)
    task, values = encoded.task, torch.from_numpy(logits)
    missing = np.full(logits.shape[:2], np.nan)
    labels = None if encoded.labels is None else np.array(encoded.labels)[done]
    targets = None if labels is None else torch.from_numpy(labels).expand(len(logits), *labels.shape)
    result = MaskEvaluation(
        logits=logits,
        accuracy=missing[:, 0],
        loss=missing[:, 0],
        losses=missing,
        agreement=missing[:, 0],
        correlation=missing[:, 0],
        trials=len(done),
        right=None,
        recall=np.full((len(logits), logits.shape[-1]), np.nan) if task.has_decisions else None,
        task=task,
        labels=labels,
    )
    if targets is not None:
        losses = task.losses(values, targets).numpy()
        result = replace(result, losses=losses, loss=losses.mean(1), further=_further(task, logits, labels, unpruned))
    if targets is not None and task.has_decisions:
        right = task.same(task.decisions(values), targets).numpy()
        recall = _recall(task, task.decisions(values).numpy(), labels, logits.shape[-1])
        result = replace(result, accuracy=right.mean(1), right=right.astype(float), recall=recall)
    return compared(result, unpruned)


def some_masks(result: MaskEvaluation, which: slice) -> MaskEvaluation:
    """Return the evaluation of some of M masks.

    Args:
        result: evaluation of M masks.
        which: the masks.
    """
    names = ("logits", "accuracy", "loss", "losses", "agreement", "correlation", "right", "recall", "class_hits")
    parts = {name: getattr(result, name) for name in (*names, "own_losses")}
    cut = {name: None if values is None else values[which] for name, values in parts.items()}
    return replace(result, **cut, further={name: values[which] for name, values in result.further.items()})


def compared(result: MaskEvaluation, unpruned: np.ndarray) -> MaskEvaluation:
    """Return an evaluation with agreement and correlation relative to some logits.

    Args:
        result: evaluation of M masks that has logits.
        unpruned: (N, C), logits on the same examples.
    """
    logits, task = result.logits, result.task
    result = replace(result, unpruned=unpruned)
    if not task.has_decisions:
        correlation = correlations(logits, unpruned, unpruned)
        return replace(result, agreement=correlation, correlation=correlation)
    decisions = (task.decisions(torch.from_numpy(np.ascontiguousarray(some))) for some in (logits, unpruned))
    equal = task.same(*decisions).numpy()
    x, y = logits.reshape(len(logits), -1), np.broadcast_to(unpruned.ravel(), (len(logits), unpruned.size))
    sums = np.stack([np.full(len(x), x.shape[1]), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], -1)
    right = result.right if result.labels is not None else equal.astype(float)
    return replace(result, agreement=equal.mean(1), correlation=_pearson(sums), right=right)


def _recall(task: Task, predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return recall (M, C): the share of the examples of a class (with a label) that have it in their prediction."""
    recall = np.full((len(predicted), classes), np.nan)
    for c in range(classes):
        members = labels == c if labels.ndim == 1 else labels[:, c] > 0
        if members.any():
            hits = predicted[:, members] == c if labels.ndim == 1 else predicted[:, members, c] > 0
            recall[:, c] = hits.mean(1)
    return recall


def _further(task: Task, logits: np.ndarray, labels: np.ndarray, unpruned: np.ndarray) -> dict[str, np.ndarray]:
    """Return the further measures of a task, (M,) by name."""
    compute = {
        "micro_f1": lambda: micro_f1(logits > 0, labels > 0),
        "spearman": lambda: spearman(logits, labels, unpruned),
    }
    return {name: compute[name]() for name in task.further}


def _token_measures(encoded: Encoded, stored: np.ndarray) -> MaskEvaluation:
    trials, losses, missing = stored[..., TRIALS].sum(1), stored[..., LOSS], np.full(stored.shape[:2], np.nan)
    labeled, further, classes = encoded.labeled, {}, {}
    if not encoded.task.generates and np.isfinite(stored[..., ENTITIES]).all():
        hits, total = stored[..., ENTITIES].sum(1).T
        further = {"entity_f1": f1(hits, total)}
    if not encoded.task.generates:
        hits, counts = class_counts(stored)
        total = counts.sum(1)
        recall = np.divide(hits.sum(1), total, out=np.full(total.shape, np.nan), where=total > 0)
        classes = {"recall": recall, "class_hits": hits, "class_counts": counts[0]}
    return MaskEvaluation(
        logits=None,
        accuracy=stored[..., RIGHT].sum(1) / trials if labeled else missing[:, 0],
        loss=losses.mean(1) if labeled else missing[:, 0],
        losses=losses if labeled else missing,
        agreement=stored[..., EQUAL].sum(1) / trials,
        correlation=_pearson(stored[..., SUMS].sum(1)),
        trials=int(trials[0]),
        right=stored[..., RIGHT] / stored[..., TRIALS],
        task=encoded.task,
        further=further,
        counts=stored[0, :, TRIALS],
        **({"recall": None} | classes),
        own_losses=None if labeled else losses,
    )


def _pearson(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation from sums (M, 6): n, x, y, xx, yy, xy; nan if one side is constant."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0.0))
    return np.where(spread > 0, (n * xy - x * y) / np.where(spread > 0, spread, 1.0), np.nan)
