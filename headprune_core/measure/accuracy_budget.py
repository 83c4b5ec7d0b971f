"""How far a budget of accuracy goes: heads are removed in the order of a ranking until more than so many points are lost.

The answer is the largest number of heads such that this mask, and every one before it on the way there, stays within the
budget: a curve that dips and comes back ends at the dip. Masks are measured from the full model on, few at first, and the
first that costs too much ends the work. Without labels, agreement with the unpruned model stands for accuracy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.prune_mask import nested_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .curves import wilson
from .evaluation import MaskEvaluation, evaluate_masks

TOGETHER = 8  # masks that are measured in one go at first; twice as many the next time, for those that share much cost less


@dataclass(frozen=True, eq=False)
class AccuracyBudget:
    """How far it goes, and what was measured on the way.

    sparsity: prune_mask gives `mask` (R, H) at it, under the same constraints. measure: "accuracy", or "agreement" without
    labels, which accuracy, accuracy_low, accuracy_high (95 %, Wilson) and whole, the unpruned model's, then are. points: the
    budget. broken: whether a mask beyond it was measured that costs too much; else the constraints allow no more.
    measured: a line for each mask, with heads_removed, sparsity, accuracy, accuracy_low, accuracy_high, points_lost, within.
    """

    max_drop_pp: float
    measure: str
    sparsity: float
    heads_removed: int
    mask: np.ndarray
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    unpruned: float
    limited_by_accuracy: bool
    measured: pd.DataFrame


def max_sparsity(
    model: PrunableModel,
    examples: datasets.Dataset,
    ranking,
    points: float,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **constraints,
) -> AccuracyBudget:
    """Remove heads, lowest of `ranking` (R, H) first, until more than `points` percentage points of accuracy are lost.

    examples: not those that the ranking comes from. constraints: those of `prune_mask`. dtype and store as in
    `evaluate_masks`. When `progress` raises Cancelled, the exception carries the result so far as `.partial`. Raises
    HeadPruneError where the heads removed by hand alone cost more than `points`.
    """
    if not 0.0 <= points <= 100.0:
        raise HeadPruneError(f"{points} points of accuracy may be lost; expected 0 to 100")
    ranking = np.asarray(ranking, float)
    if ranking.shape != model.grid.shape:
        raise HeadPruneError(f"the ranking has shape {ranking.shape}; expected {model.grid.shape}, one number for each head")
    sparsities, masks = nested_masks(ranking, **constraints)
    whole = np.ones((1, *model.grid.shape), bool)  # measured with every part, as what the others are compared with
    size, total = TOGETHER, len(masks) * len(examples)
    lines: list[pd.DataFrame] = []
    done: AccuracyBudget | None = None

    def report(at: int, of: int, note: str) -> None:
        if progress is not None:
            before = sum(map(len, lines))
            part = min(size, len(masks) - before)
            progress((before * of + part * at) * len(examples) // of, total, note)

    try:
        while done is None or (not done.limited_by_accuracy and len(done.measured) < len(masks)):
            part = slice(sum(map(len, lines)), sum(map(len, lines)) + size)
            options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": report}
            found = evaluate_masks(model, examples, np.concatenate([whole, masks[part]]), **options)
            lines.append(_lines(found, masks[part], sparsities[part], points))
            done, size = _result(found, pd.concat(lines, ignore_index=True), masks, points), 2 * size
        if progress is not None:
            progress(total, total, "Measuring accuracy")
    except Cancelled as stop:
        stop.partial = done
        raise
    return done


def _measure(found: MaskEvaluation) -> str:
    return "agreement" if np.isnan(found.accuracy).all() else "accuracy"


def _lines(found: MaskEvaluation, masks: np.ndarray, sparsities: np.ndarray, points: float) -> pd.DataFrame:
    """A line for each of some masks, which were evaluated after the unpruned model."""
    values = getattr(found, _measure(found))
    low, high = wilson(values * found.trials, found.trials)
    lost = 100.0 * (values[0] - values)
    columns = {
        "heads_removed": (~masks).sum((1, 2)),
        "sparsity": sparsities,
        "accuracy": values[1:],
        "accuracy_low": low[1:],
        "accuracy_high": high[1:],
        "points_lost": lost[1:],
        "within": lost[1:] <= points + 1e-9,  # a loss of just so many points is within, however it is rounded
    }
    return pd.DataFrame(columns)


def _result(found: MaskEvaluation, measured: pd.DataFrame, masks: np.ndarray, points: float) -> AccuracyBudget:
    within = measured.within.to_numpy()
    last = int(within.argmin()) - 1 if not within.all() else len(within) - 1
    if last < 0:
        raise HeadPruneError(
            f"the {measured.heads_removed[0]} heads removed by hand cost {measured.points_lost[0]:.2f} points already; "
            f"expected at most {points:g}: remove fewer by hand or allow more"
        )
    line, measure = measured.iloc[last], _measure(found)
    return AccuracyBudget(
        max_drop_pp=float(points),
        measure=measure,
        sparsity=float(line.sparsity),
        heads_removed=int(line.heads_removed),
        mask=masks[last],
        accuracy=float(line.accuracy),
        accuracy_low=float(line.accuracy_low),
        accuracy_high=float(line.accuracy_high),
        unpruned=float(getattr(found, measure)[0]),
        limited_by_accuracy=not within.all(),
        measured=measured,
    )
