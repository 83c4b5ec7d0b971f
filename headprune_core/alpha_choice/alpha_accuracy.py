"""Accuracy over the exact alpha path: every distinct mask measured once, so the step function is complete.

Along alpha in [0, 1] the mask is one of finitely many (see `alpha`), so accuracy is a step function that can be measured
without a grid. Masks that come back along the path share a measurement. HIS alone is the last interval, AE alone the first,
both scaled as the mix scales them: within each layer by default, which is another order than that of raw HIS over the
model. Random masks that remove as many heads stand beside them. Which alpha to take is left to `recommendation`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import AlphaInterval, distinct_masks
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.curves import wilson
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

N_RANDOM = 20


@dataclass(frozen=True, eq=False)
class AlphaAccuracy:
    """What the masks of a path are worth, I intervals of M distinct masks.

    path: the intervals. masks (M, R, H), in the order in which they first come; which (I,): the mask of each interval.
    accuracy, accuracy_low, accuracy_high (95 %, Wilson), loss and agreement, all (I,): as in `evaluate_masks`, accuracy nan
    without labels. right (I, N): whether each text is answered right (without labels: as the unpruned model does); shares
    where tokens are predicted. agrees (I, N) bool: whether as the unpruned model does; None where tokens are predicted.
    answers (N,): the unpruned model's classes, 0 where tokens are predicted. random_accuracy, random_agreement (S,): under
    random masks. unpruned: the accuracy of the whole model. trials: how many answers accuracy is a share of.
    """

    path: tuple[AlphaInterval, ...]
    masks: np.ndarray
    which: np.ndarray
    accuracy: np.ndarray
    accuracy_low: np.ndarray
    accuracy_high: np.ndarray
    loss: np.ndarray
    agreement: np.ndarray
    right: np.ndarray
    agrees: np.ndarray | None
    answers: np.ndarray
    random_accuracy: np.ndarray
    random_agreement: np.ndarray
    unpruned: float
    trials: int

    @property
    def measure(self) -> str:
        """What to judge by: "accuracy", or "agreement" with the unpruned model where there are no labels."""
        return "agreement" if np.isnan(self.accuracy).all() else "accuracy"

    @property
    def random_mean(self) -> float:
        """The mean of the main measure over the random masks, nan where there are none."""
        values = getattr(self, f"random_{self.measure}")
        return float(values.mean()) if len(values) else np.nan

    @property
    def widths(self) -> np.ndarray:
        """(M,) the share of alpha over which each distinct mask holds, its intervals pooled."""
        return np.bincount(self.which, [part.high - part.low for part in self.path], len(self.masks))

    @property
    def first(self) -> np.ndarray:
        """(M,) the first interval of each distinct mask: x[..., found.first] is by mask what x is by interval."""
        return np.unique(self.which, return_index=True)[1]

    @property
    def frame(self) -> pd.DataFrame:
        """One line per interval: low, high, mask (its number), heads_pruned, accuracy, accuracy_low, accuracy_high, loss,
        agreement; differs_from_his, differs_from_ae: how many heads have another fate than at alpha = 1 (0)."""
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
    """Measure every distinct mask of `path` (from `alpha_path`) once on `examples`, which the scores have not seen.

    seeds: how many random masks are measured beside them; they remove as many heads as HIS alone does. random: masks
    (S, R, H) in their place, as where constraints hold (`random_masks`). dtype and store as in `evaluate_masks`. on_partial is
    given the result on the texts done so far, after every batch; when `progress` raises Cancelled, the exception carries
    the last of these as `.partial`. Raises HeadPruneError for an empty path and masks of another shape.
    """
    path = tuple(path)
    if not path:
        raise HeadPruneError("the path has no interval; expected what alpha_path gives")
    masks, which = distinct_masks(path)
    if random is None:
        random = random_masks(masks.shape[1:], float((~path[-1].mask).mean()), n_random=n_random)
    random = np.asarray(random, bool)
    if random.ndim != 3 or random.shape[1:] != masks.shape[1:]:
        raise HeadPruneError(f"random masks have shape {random.shape}; expected (S, {masks.shape[1]}, {masks.shape[2]})")
    whole = np.ones((1, *masks.shape[1:]), bool)
    last: list[AlphaAccuracy] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_found(path, masks, which, result)]
        if on_partial is not None:
            on_partial(last[0])

    options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress, "on_partial": part}
    try:
        result = evaluate_masks(model, examples, np.concatenate([masks, random, whole]), **options)
    except Cancelled as stop:
        stop.partial = last[0] if last else None
        raise
    return _found(path, masks, which, result)


def random_masks(shape: tuple[int, int], sparsity: float, *, n_random: int = N_RANDOM, **constraints) -> np.ndarray:
    """(S, R, H) masks of random orders, the same for the same seeds; constraints as in `prune_mask`."""
    orders = [np.random.default_rng(seed).permutation(shape[0] * shape[1]).reshape(shape) for seed in range(n_random)]
    masks = [prune_mask(order, sparsity, **constraints) for order in orders]
    return np.stack(masks) if masks else np.ones((0, *shape), bool)


def per_text(result: MaskEvaluation) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """(right (M, N), agrees (M, N), the unpruned model's answers (N,)); the last mask of `result` is the unpruned model.

    right is bool, and agrees None and answers 0 where tokens are predicted.
    """
    if result.logits is None:
        return result.right, None, np.zeros(result.right.shape[1], int)
    decided = result.logits.argmax(-1)
    return result.right.astype(bool), decided == decided[-1], decided[-1]


def _found(path: tuple[AlphaInterval, ...], masks: np.ndarray, which: np.ndarray, result: MaskEvaluation) -> AlphaAccuracy:
    low, high = wilson(result.accuracy * result.trials, result.trials)
    right, agrees, answers = per_text(result)
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
        right=right[which],
        agrees=None if agrees is None else agrees[which],
        answers=answers,
        random_accuracy=result.accuracy[random],
        random_agreement=result.agreement[random],
        unpruned=float(result.accuracy[-1]),
        trials=result.trials,
    )
