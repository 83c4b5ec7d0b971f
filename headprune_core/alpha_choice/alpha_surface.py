"""Accuracy over alpha and sparsity: the exact step function in alpha at several sparsities, evaluated together.

Each sparsity has its own alpha path; equal masks within and across paths are evaluated once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import alpha_path, distinct_masks
from headprune_core.measure.curves import main_measure, measure_columns
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import HeadScores

from .recommendation import best_mask


@dataclass(frozen=True, eq=False)
class AlphaSurface:
    """Accuracy of every mask along alpha at several sparsities.

    Attributes:
        frame: one row per sparsity and alpha interval, with the columns sparsity, low, high, heads_pruned, mask (index among
            the masks of the sparsity) and those of `measure_columns`.
    """

    frame: pd.DataFrame

    @property
    def measure(self) -> str:
        """The main measure; see `main_measure`."""
        return main_measure(self.frame)

    @property
    def best(self) -> pd.DataFrame:
        """The best mask at each sparsity, selected as in `recommend_alpha`; its value is optimistically biased.

        One row per sparsity, with the columns sparsity, masks (number of distinct masks), low, high and alpha (midpoint) of
        the widest interval of the best mask, value (main measure under it), his and ae (the same at alpha = 1 and alpha =
        0), and spread (best minus worst value).
        """
        rows = []
        for sparsity, part in self.frame.groupby("sparsity", sort=True):
            value, width = part[self.measure].to_numpy(float), (part.high - part.low).to_numpy()
            masks = part["mask"].to_numpy()
            first = np.unique(masks, return_index=True)[1]
            known = np.nan_to_num(value, nan=-np.inf)  # a correlation of too few examples is undefined
            intervals = np.flatnonzero(masks == best_mask(known[first], np.bincount(masks, width)))
            at = intervals[width[intervals].argmax()]
            low, high = float(part.low.iloc[at]), float(part.high.iloc[at])
            ends = (value[at], value[-1], value[0], value.max() - value.min())
            rows.append((sparsity, len(first), low, high, (low + high) / 2.0, *ends))
        columns = ["sparsity", "masks", "low", "high", "alpha", "value", "his", "ae", "spread"]
        return pd.DataFrame(rows, columns=columns)


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
    """Evaluate every mask along alpha at several sparsities.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the scores.
        scores: with his and ae.
        sparsities: fractions of heads to prune, 0 to 1.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the surface on the
            examples done so far as its attribute `partial`.
        on_partial: called with the surface on the examples done so far, after every batch.
        **options: of `alpha_path` (normalize, entropy_direction, constraints).

    Returns:
        The surface on all examples.

    Raises:
        HeadPruneError: if `sparsities` is empty.
    """
    if len(sparsities) == 0:
        raise HeadPruneError("sparsities must have at least one value, got none")
    paths = {float(sparsity): alpha_path(scores.his, scores.ae, sparsity, **options) for sparsity in sparsities}
    rows = [(sparsity, part.low, part.high) for sparsity, path in paths.items() for part in path]
    masks = np.stack([part.mask for path in paths.values() for part in path])
    numbers = np.concatenate([distinct_masks(path)[1] for path in paths.values()])
    last: list[AlphaSurface] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_surface(rows, masks, numbers, result)]
        if on_partial is not None:
            on_partial(last[0])

    how = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress}
    try:
        return _surface(rows, masks, numbers, evaluate_masks(model, examples, masks, on_partial=part, **how))
    except Cancelled as stop:
        stop.partial = last[0] if last else None
        raise


def _surface(rows: list[tuple], masks: np.ndarray, numbers: np.ndarray, result: MaskEvaluation) -> AlphaSurface:
    frame = pd.DataFrame(rows, columns=["sparsity", "low", "high"])
    return AlphaSurface(
        frame.assign(
            heads_pruned=(~masks).sum((1, 2)),
            mask=numbers,
            **measure_columns(result),
        )
    )
