"""Leave-one-out ablation: the change in loss when one head at a time is masked (Michel et al. 2019, section 3.2).

    D_h = E_x [ L(x; head h masked) - L(x) ]

HIS is the first-order estimate of the mean of |L(x; head h masked) - L(x)|, so both the absolute and the signed change are
reported. Interactions are not measured: of two redundant heads, each looks dispensable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.bootstrap import percentiles, resampled_means

from .evaluation import evaluate_masks
from .mask_evaluation import MaskEvaluation

MEASURES = ("abs_loss_change", "loss_change")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LeaveOneOut:
    """Effect of masking each head on its own.

    Attributes:
        grid: the heads of the model.
        per_example: (N, R, H), loss of an example with the head masked minus its loss with all heads, in nats.
        accuracy_drop: (R, H), decrease of the main measure (accuracy, 0 to 1; Pearson's correlation for regression);
            without labels, the share of predictions that change (the decrease of the correlation for regression).
        loss: mean loss with all heads.
        objective: "loss" against the labels (or next tokens), or "prediction" against the model's own predictions if there
            are no labels.
        measure: the main measure, see `MaskEvaluation.measure`.
    """

    grid: HeadGrid
    per_example: np.ndarray
    accuracy_drop: np.ndarray
    loss: float
    objective: str
    measure: str = "accuracy"

    @property
    def loss_change(self) -> np.ndarray:
        """(R, H), signed change in loss, mean over examples, in nats; negative if masking the head lowers the loss."""
        return self.per_example.mean(0)

    @property
    def abs_loss_change(self) -> np.ndarray:
        """(R, H), absolute change in loss, mean over examples, in nats; HIS is its first-order estimate."""
        return np.abs(self.per_example).mean(0)

    def bootstrap(self, metric: str = "loss_change", *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0):
        """Return a bootstrap confidence interval over examples (percentiles).

        Args:
            metric: "loss_change" or "abs_loss_change".
            resamples: number of resamples.
            confidence: level of the interval, 0 to 1.
            seed: of the resampling.

        Returns:
            (low, high), each (R, H), in nats.

        Raises:
            HeadPruneError: for another metric.
        """
        if metric not in MEASURES:
            raise HeadPruneError(f"metric must be one of {', '.join(MEASURES)}, got {metric!r}")
        values = np.abs(self.per_example) if metric == "abs_loss_change" else self.per_example
        return percentiles(resampled_means(values, resamples, seed), confidence)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per head: row, head, both changes in loss with their 95% CI, and accuracy_drop."""
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
    """Evaluate a model with all heads and with each of its R * H heads masked.

    Args:
        model: the model.
        examples: evaluation examples; without labels, losses are computed against the model's own predictions.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        progress: called as progress(done, total, note); whatever it raises cancels the run.

    Returns:
        The change in loss and accuracy for each head.
    """
    result = evaluate_masks(
        model, examples, _masks(model.grid.shape), batch_size=batch_size, dtype=dtype, progress=_with_note(progress)
    )
    labeled = result.labeled
    losses = result.losses if labeled else _own_losses(result)
    value = result.main_value
    increase = (losses[1:] - losses[0]).T.reshape(-1, *model.grid.shape)
    drop = (value[0] - value[1:]).reshape(model.grid.shape)
    objective = "loss" if labeled else "prediction"
    return LeaveOneOut(model.grid, increase, drop, float(losses[0].mean()), objective, result.measure)


def _masks(shape: tuple[int, int]) -> np.ndarray:
    """Return (1 + R * H, R, H) masks: all heads kept, then one head pruned in each, row by row."""
    heads = shape[0] * shape[1]
    masks = np.ones((1 + heads, heads), bool)
    masks[1:][np.eye(heads, dtype=bool)] = False
    return masks.reshape(-1, *shape)


def _with_note(progress: Progress | None) -> Progress | None:
    """Return the progress callback with the note of this computation."""
    if progress is None:
        return None
    return lambda done, total, _: progress(done, total, "Masking one head at a time")


def _own_losses(result: MaskEvaluation) -> np.ndarray:
    """Return (M, N) losses against the predictions of the first mask, which keeps all heads."""
    if result.own_losses is not None:
        return result.own_losses
    logits = torch.from_numpy(result.logits)
    targets = result.task.decisions(logits[0])
    return result.task.losses(logits, targets.expand(len(logits), *targets.shape)).numpy()
