"""Leave-one-out ablation, what really happens when one head alone goes (Michel et al. 2019, section 3.2):

    D_h = E_x [ L(x; head h switched off) - L(x) ].

HIS is the first-order guess at the mean of |L(x; head h off) - L(x)|, so that mean is kept beside D: the one says how much
the loss moves, the other in which direction on balance. One forward pass per head, and nothing about heads that go together:
two that stand in for each other look dispensable each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
from scipy.special import logsumexp

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.bootstrap import percentiles, resampled_means

from .evaluation import evaluate_masks

MEASURES = ("abs_loss_change", "loss_change")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LeaveOneOut:
    """What each head's absence alone does to the model.

    per_example (N, R, H): the loss of an example without the head, less its loss with all heads, in nats.
    accuracy_drop (R, H): share of right answers lost. loss: the mean loss with all heads. objective: "loss" against the
    labels (or the tokens to be predicted), "prediction" against the model's own answers, where there are no labels;
    accuracy_drop is then the share of answers that change.
    """

    grid: HeadGrid
    per_example: np.ndarray
    accuracy_drop: np.ndarray
    loss: float
    objective: str

    @property
    def loss_change(self) -> np.ndarray:
        """(R, H) mean over examples; below zero where the model is better off without the head."""
        return self.per_example.mean(0)

    @property
    def abs_loss_change(self) -> np.ndarray:
        """(R, H) mean over examples of the increase's absolute value: what HIS is the first-order guess at."""
        return np.abs(self.per_example).mean(0)

    def bootstrap(self, metric: str = "loss_change", *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0):
        """(low, high), each (R, H): percentile interval of "loss_change" or "abs_loss_change", the examples drawn anew."""
        if metric not in MEASURES:
            raise HeadPruneError(f"leave-one-out has no {metric!r}; expected one of {', '.join(MEASURES)}")
        values = np.abs(self.per_example) if metric == "abs_loss_change" else self.per_example
        return percentiles(resampled_means(values, resamples, seed), confidence)

    def to_frame(self) -> pd.DataFrame:
        """One line per head: row, head, each of the two measures with its 95 % interval, accuracy_drop."""
        row, head = (index.ravel() for index in np.indices(self.grid.shape))
        columns = {"row": row, "head": head}
        for metric in MEASURES:
            low, high = self.bootstrap(metric)
            columns |= {metric: getattr(self, metric), f"{metric}_low": low, f"{metric}_high": high}
        columns["accuracy_drop"] = self.accuracy_drop
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def leave_one_out(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> LeaveOneOut:
    """Run `model` on `examples` once whole and once without each of its R * H heads.

    dtype as in `evaluate_masks`. Raises HeadPruneError for unusable examples, and whatever `progress` raises to cancel.
    """
    result = evaluate_masks(
        model, examples, _masks(model.grid.shape), batch_size=batch_size, dtype=dtype, progress=_renamed(progress)
    )
    labelled = np.isfinite(result.loss).all()
    losses = result.losses if labelled else _cross_entropy(result.logits, result.logits[0].argmax(-1))
    accuracy = result.accuracy if labelled else result.agreement
    increase = (losses[1:] - losses[0]).T.reshape(-1, *model.grid.shape)
    drop = (accuracy[0] - accuracy[1:]).reshape(model.grid.shape)
    return LeaveOneOut(model.grid, increase, drop, float(losses[0].mean()), "loss" if labelled else "prediction")


def _masks(shape: tuple[int, int]) -> np.ndarray:
    """(1 + R * H, R, H): the whole model, then every head alone off, row by row."""
    heads = shape[0] * shape[1]
    masks = np.ones((1 + heads, heads), bool)
    masks[1:][np.eye(heads, dtype=bool)] = False
    return masks.reshape(-1, *shape)


def _renamed(progress: Progress | None) -> Progress | None:
    """The same progress, told as what it is part of."""
    if progress is None:
        return None
    return lambda done, total, _: progress(done, total, "Taking out one head at a time")


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(M, N) losses in nats from logits (M, N, C) and class numbers (N,)."""
    logits = logits.astype(float)
    return logsumexp(logits, axis=-1) - np.take_along_axis(logits, targets[None, :, None], axis=-1)[..., 0]
