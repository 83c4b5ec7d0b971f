"""Accuracy over alpha and sparsity: the exact step function in alpha at each of several sparsities, measured together.

Every sparsity has a path of its own (see `alpha`); equal masks, within a path or between paths, are run once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import alpha_path, distinct_masks
from headprune_core.measure.curves import main_measure, wilson
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import HeadScores

from .recommendation import best_mask


@dataclass(frozen=True, eq=False)
class AlphaSurface:
    """frame: one line per sparsity and interval of alpha: sparsity, low, high, heads_pruned, mask (its number among those of
    the sparsity), accuracy, accuracy_low, accuracy_high (95 %, Wilson), loss, agreement."""

    frame: pd.DataFrame

    @property
    def measure(self) -> str:
        """ "accuracy", or "agreement" with the unpruned model where there are no labels."""
        return main_measure(self.frame)

    @property
    def best(self) -> pd.DataFrame:
        """One line per sparsity: sparsity, masks (how many), low, high and alpha (their middle) of the best mask's widest
        interval, value of the main measure there, his and ae: its value at alpha = 1 and at alpha = 0, spread: its best less
        its worst value. The best is chosen as in `recommend_alpha`, on the texts measured: no value here is free of that."""
        lines = []
        for sparsity, part in self.frame.groupby("sparsity", sort=True):
            value, width = part[self.measure].to_numpy(float), (part.high - part.low).to_numpy()
            masks = part["mask"].to_numpy()
            first = np.unique(masks, return_index=True)[1]
            mine = np.flatnonzero(masks == best_mask(value[first], np.bincount(masks, width)))
            at = mine[width[mine].argmax()]
            low, high = float(part.low.iloc[at]), float(part.high.iloc[at])
            ends = (value[at], value[-1], value[0], value.max() - value.min())
            lines.append((sparsity, len(first), low, high, (low + high) / 2.0, *ends))
        columns = ["sparsity", "masks", "low", "high", "alpha", "value", "his", "ae", "spread"]
        return pd.DataFrame(lines, columns=columns)


def alpha_surface(
    model: PrunableModel,
    examples: datasets.Dataset,
    scores: HeadScores,
    sparsities: Sequence[float],
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    on_partial: Callable[[AlphaSurface], None] | None = None,
    **options,
) -> AlphaSurface:
    """Measure every mask along alpha at each sparsity (0 to 1) on `examples`, which the scores have not seen.

    options: those of `alpha_path` (normalize, entropy_direction, constraints). dtype, store, progress and on_partial as in
    `evaluate_masks`; when `progress` raises Cancelled, the exception carries the surface on the texts done as `.partial`.
    """
    if len(sparsities) == 0:
        raise HeadPruneError("no sparsity was chosen; expected at least one")
    paths = {float(sparsity): alpha_path(scores.his, scores.ae, sparsity, **options) for sparsity in sparsities}
    lines = [(sparsity, part.low, part.high) for sparsity, path in paths.items() for part in path]
    masks = np.stack([part.mask for path in paths.values() for part in path])
    numbers = np.concatenate([distinct_masks(path)[1] for path in paths.values()])
    last: list[AlphaSurface] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_surface(lines, masks, numbers, result)]
        if on_partial is not None:
            on_partial(last[0])

    how = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress}
    try:
        return _surface(lines, masks, numbers, evaluate_masks(model, examples, masks, on_partial=part, **how))
    except Cancelled as stop:
        stop.partial = last[0] if last else None
        raise


def _surface(lines: list[tuple], masks: np.ndarray, numbers: np.ndarray, result: MaskEvaluation) -> AlphaSurface:
    low, high = wilson(result.accuracy * result.trials, result.trials)
    frame = pd.DataFrame(lines, columns=["sparsity", "low", "high"])
    return AlphaSurface(
        frame.assign(
            heads_pruned=(~masks).sum((1, 2)),
            mask=numbers,
            accuracy=result.accuracy,
            accuracy_low=low,
            accuracy_high=high,
            loss=result.loss,
            agreement=result.agreement,
        )
    )
