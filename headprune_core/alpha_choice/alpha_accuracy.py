"""Accuracy over the exact alpha path: every distinct mask is evaluated once, so the step function is complete.

Along alpha in [0, 1] the mask is one of finitely many (`alpha_path`), so no grid is needed. HIS only is the last interval
and AE only the first, both scaled as in HIES: within each layer by default, which gives another ranking than unscaled HIS.
Random masks of the same size are evaluated with them. The selection of alpha is left to `recommendation`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.checked_mask import checked_mask
from headprune_core.data.measures import Measured, wilson
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import AlphaInterval, distinct_masks
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .alpha_correlations import MaskCorrelations, mask_correlations

N_RANDOM = 20


@dataclass(frozen=True, eq=False)
class AlphaAccuracy:
    """Accuracy of every mask along an alpha path of I intervals with M distinct masks.

    Attributes:
        path: the I intervals.
        masks: bool (M, R, H), True = kept, in the order of their first interval.
        which: int (I,), index of the mask of each interval.
        accuracy: (I,), nan without labels.
        accuracy_low: (I,), lower bound of its 95% CI (Wilson).
        accuracy_high: (I,), upper bound of that interval.
        loss: (I,), mean cross-entropy in nats.
        agreement: (I,), share of predictions equal to the unpruned model's.
        right: (I, N), whether the prediction for each example is correct (without labels: equal to the unpruned model's);
            for token prediction, the share of correct tokens; None for regression.
        agrees: bool (I, N), whether the prediction is equal to the unpruned model's; None for token prediction and
            regression.
        answers: int (N,), number of the unpruned model's prediction, by which folds are stratified; 0 for token prediction.
        random_accuracy: (S,), accuracy under random masks.
        random_agreement: (S,), agreement under random masks.
        unpruned: accuracy of the unpruned model.
        trials: number of predictions that accuracy is a share of.
        counts: (N,), number of predictions of each example, for token prediction; else None.
        correlations: for regression, correlations of the masks by measure: "pearson" if there are labels, and "correlation".
    """

    path: tuple[AlphaInterval, ...]
    masks: np.ndarray
    which: np.ndarray
    accuracy: np.ndarray
    accuracy_low: np.ndarray
    accuracy_high: np.ndarray
    loss: np.ndarray
    agreement: np.ndarray
    right: np.ndarray | None
    agrees: np.ndarray | None
    answers: np.ndarray
    random_accuracy: np.ndarray
    random_agreement: np.ndarray
    unpruned: float
    trials: int
    counts: np.ndarray | None = None
    correlations: Mapping[str, MaskCorrelations] = field(default_factory=dict)

    @property
    def choices(self) -> tuple[str, ...]:
        """The measures by which alpha can be selected; the main one first."""
        if self.correlations:
            return tuple(self.correlations)
        return ("agreement",) if np.isnan(self.accuracy).all() else ("accuracy", "agreement")

    @property
    def measure(self) -> str:
        """The main measure; see `MaskEvaluation.measure`."""
        return self.choices[0]

    @property
    def examples(self) -> int:
        """Number of examples N."""
        return len(self.answers)

    def measured(self, by: str | None = None) -> Measured:
        """Return a measure of the I intervals with its 95% CI.

        Args:
            by: one of `choices`; None for the main one.
        """
        by = by or self.measure
        if by in self.correlations:
            found = self.correlations[by].measured
            return Measured(by, *(values[self.which] for values in (found.value, found.low, found.high)))
        value = getattr(self, by)
        return Measured(by, value, *wilson(value * self.trials, self.trials))

    def random(self, by: str | None = None) -> np.ndarray:
        """Return a measure (S,) of the random masks.

        Args:
            by: one of `choices`; None for the main one.
        """
        by = by or self.measure
        return self.correlations[by].random if by in self.correlations else getattr(self, f"random_{by}")

    @property
    def random_mean(self) -> float:
        """Mean of the main measure over the random masks; nan without any."""
        values = self.random()
        return float(values.mean()) if len(values) else np.nan

    @property
    def widths(self) -> np.ndarray:
        """(M,), share of the alpha range in which each distinct mask applies, over all its intervals."""
        return np.bincount(self.which, [part.high - part.low for part in self.path], len(self.masks))

    @property
    def first(self) -> np.ndarray:
        """(M,), index of the first interval of each distinct mask; converts values per interval to values per mask."""
        return np.unique(self.which, return_index=True)[1]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per alpha interval.

        Columns: low, high, mask (index), heads_pruned, differs_from_his and differs_from_ae (number of heads with another
        state than at alpha = 1 or alpha = 0), accuracy, accuracy_low, accuracy_high, loss and agreement; for regression also
        correlations with their intervals.
        """
        kept = self.masks[self.which]
        columns = {
            "low": [part.low for part in self.path],
            "high": [part.high for part in self.path],
            "mask": self.which,
            "heads_pruned": (~kept).sum((1, 2)),
            "differs_from_his": (kept != kept[-1]).sum((1, 2)),
            "differs_from_ae": (kept != kept[0]).sum((1, 2)),
        }
        for name in ("accuracy", "accuracy_low", "accuracy_high", "loss", "agreement"):
            columns[name] = getattr(self, name)
        for name in self.correlations:
            found = self.measured(name)
            columns |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        return pd.DataFrame(columns)


def alpha_accuracy(
    model: PrunableModel,
    examples: datasets.Dataset,
    path: Sequence[AlphaInterval],
    *,
    n_random: int = N_RANDOM,
    random=None,
    batch_size: int = 32,
    dtype: str | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    on_partial: Callable[[AlphaAccuracy], None] | None = None,
) -> AlphaAccuracy:
    """Evaluate every distinct mask of an alpha path, and random masks of the same size.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the scores.
        path: result of `alpha_path`.
        n_random: number of random masks; they prune the same number of heads as HIS only.
        random: bool (S, R, H), masks to use instead, for example under constraints (see `random_masks`).
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the result on the examples
            done so far as its attribute `partial`.
        on_partial: called with the result on the examples done so far, after every batch.

    Returns:
        The accuracy of every mask on all examples.

    Raises:
        HeadPruneError: if the path is empty or `random` are not masks of the same heads.
    """
    path = tuple(path)
    if not path:
        raise HeadPruneError("path must have at least one interval, got none; compute it with alpha_path")
    masks, which = distinct_masks(path)
    if random is None:
        random = random_masks(masks.shape[1:], float((~path[-1].mask).mean()), n_random=n_random)
    random = checked_mask(random, ("S", *masks.shape[1:]), name="random")
    unpruned = np.ones((1, *masks.shape[1:]), bool)
    last: list[AlphaAccuracy] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_alpha_accuracy(path, masks, which, result)]
        if on_partial is not None:
            on_partial(last[0])

    options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress, "on_partial": part}
    try:
        result = evaluate_masks(model, examples, np.concatenate([masks, random, unpruned]), **options)
    except Cancelled as stop:
        stop.partial = last[0] if last else None
        raise
    return _alpha_accuracy(path, masks, which, result)


def random_masks(shape: tuple[int, int], sparsity: float, *, n_random: int = N_RANDOM, **constraints) -> np.ndarray:
    """Return pruning masks of random rankings.

    Args:
        shape: (R, H) of the masks.
        sparsity: fraction of heads to prune, 0 to 1.
        n_random: number of masks S, with the seeds 0 to S - 1.
        **constraints: of `prune_mask`.

    Returns:
        bool (S, R, H), True = kept.
    """
    rankings = [np.random.default_rng(seed).permutation(shape[0] * shape[1]).reshape(shape) for seed in range(n_random)]
    masks = [prune_mask(ranking, sparsity, **constraints) for ranking in rankings]
    return np.stack(masks) if masks else np.ones((0, *shape), bool)


def per_example(result: MaskEvaluation) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return per-example results of an evaluation whose last mask is the unpruned model.

    Args:
        result: evaluation of M masks on N examples.

    Returns:
        right (M, N), whether a prediction is correct; agrees (M, N), whether it is equal to the unpruned model's; and the
        number (N,) of the unpruned model's prediction. For token prediction: the share of correct tokens, None, and zeros.
        For regression: None, None, and zeros.
    """
    if result.right is None or result.logits is None:
        return result.right, None, np.zeros(result.losses.shape[1], int)
    predicted = result.task.decisions(torch.from_numpy(result.logits))
    agrees = result.task.same(predicted, predicted[-1]).numpy()
    numbers = np.unique(predicted[-1].numpy(), axis=0, return_inverse=True)[1].ravel()
    return result.right.astype(bool), agrees, numbers


def _alpha_accuracy(
    path: tuple[AlphaInterval, ...], masks: np.ndarray, which: np.ndarray, result: MaskEvaluation
) -> AlphaAccuracy:
    low, high = wilson(result.accuracy * result.trials, result.trials)
    right, agrees, answers = per_example(result)
    random = slice(len(masks), len(result.accuracy) - 1)
    return AlphaAccuracy(
        path=path,
        masks=masks,
        which=which,
        accuracy=result.accuracy[which],
        accuracy_low=low[which],
        accuracy_high=high[which],
        loss=result.loss[which],
        agreement=result.agreement[which],
        right=None if right is None else right[which],
        agrees=None if agrees is None else agrees[which],
        answers=answers,
        random_accuracy=result.accuracy[random],
        random_agreement=result.agreement[random],
        unpruned=float(result.accuracy[-1]),
        trials=result.trials,
        counts=result.counts,
        correlations=mask_correlations(result, len(masks)),
    )
