"""Maximum sparsity for an allowed decrease in accuracy: heads are pruned by a ranking until the decrease is too large.

The result is the largest number of heads for which this mask and all smaller ones of the ranking stay within the allowed
decrease; a curve that drops below it and recovers ends at the drop. Masks are evaluated in growing groups, starting with few
pruned heads, and evaluation ends with the first mask that loses too much. Without labels, agreement with the unpruned model
is used.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.data.measures import sentence_name
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.prune_mask import nested_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .evaluation import MaskEvaluation, evaluate_masks
from .paired_tests import compare
from .permutation_tests import Outcomes, PairedTest

MASKS_PER_BATCH = 8  # size of the first group; each group is twice as large, because similar masks share computation


@dataclass(frozen=True, eq=False)
class AccuracyBudget:
    """Maximum sparsity for an allowed decrease in accuracy, and the evaluated masks.

    Attributes:
        max_drop_pp: allowed decrease, in percentage points (hundredths for correlations).
        measure: "accuracy", or the measure that replaces it (see `MaskEvaluation.measure`), of which all values called
            accuracy then are.
        sparsity: the maximum sparsity; `prune_mask` returns `mask` for it under the same constraints.
        heads_removed: number of heads pruned at it.
        mask: bool (R, H), True = kept.
        accuracy: accuracy under the mask, 0 to 1.
        accuracy_low: lower bound of its 95% CI (Wilson, or a bootstrap over examples for correlations).
        accuracy_high: upper bound of that interval.
        unpruned: accuracy of the unpruned model.
        change: the mask compared with the unpruned model on the same examples.
        limited_by_accuracy: whether a larger mask was evaluated and lost too much; otherwise the constraints allow no more.
        measured: one row per evaluated mask, with the columns heads_removed, sparsity, accuracy, accuracy_low,
            accuracy_high, points_lost (pp) and within (whether the decrease is allowed).
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
    change: PairedTest
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
    """Find the maximum sparsity at which accuracy decreases by at most `points` percentage points.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the ranking.
        ranking: (R, H), lowest values are pruned first.
        points: allowed decrease, 0 to 100 pp; hundredths for correlations.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the result so far as its
            attribute `partial`.
        **constraints: of `prune_mask`.

    Returns:
        The maximum sparsity, its mask, and all evaluated masks.

    Raises:
        HeadPruneError: for invalid `points` or shapes, and if the heads that are always pruned already lose more than
            `points`.
    """
    if not 0.0 <= points <= 100.0:
        raise HeadPruneError(f"points must be between 0 and 100, got {points}")
    ranking = np.asarray(ranking, float)
    if ranking.shape != model.grid.shape:
        raise HeadPruneError(f"ranking must have shape {model.grid.shape}, one number for each head, got {ranking.shape}")
    sparsities, masks = nested_masks(ranking, **constraints)
    unpruned = np.ones((1, *model.grid.shape), bool)  # in every group, because decreases are relative to it
    size, total = MASKS_PER_BATCH, len(masks) * len(examples)
    tables: list[pd.DataFrame] = []
    outcomes: list[Outcomes] = []
    done: AccuracyBudget | None = None

    def report(at: int, of: int, note: str) -> None:
        if progress is not None:
            before = sum(map(len, tables))
            part = min(size, len(masks) - before)
            progress((before * of + part * at) * len(examples) // of, total, note)

    try:
        while done is None or (not done.limited_by_accuracy and len(done.measured) < len(masks)):
            part = slice(sum(map(len, tables)), sum(map(len, tables)) + size)
            options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": report}
            result = evaluate_masks(model, examples, np.concatenate([unpruned, masks[part]]), **options)
            tables.append(_table(result, masks[part], sparsities[part], points))
            outcomes += [result.outcomes(i + 1) for i in range(len(masks[part]))]
            measured = pd.concat(tables, ignore_index=True)
            done, size = _budget(result, measured, outcomes, masks, points), 2 * size
        if progress is not None:
            progress(total, total, "Measuring accuracy")
    except Cancelled as stop:
        stop.partial = done
        raise
    return done


def _table(result: MaskEvaluation, masks: np.ndarray, sparsities: np.ndarray, points: float) -> pd.DataFrame:
    """Return one row per mask; the unpruned model is the first of the evaluation."""
    found = result.measured()
    values, low, high = found.value, found.low, found.high
    if not np.isfinite(values).all():
        raise HeadPruneError(
            f"the {sentence_name(found.name)} is undefined, because these {result.losses.shape[1]} examples have equal "
            "labels or outputs; use other evaluation examples"
        )
    lost = 100.0 * (values[0] - values)
    columns = {
        "heads_removed": (~masks).sum((1, 2)),
        "sparsity": sparsities,
        "accuracy": values[1:],
        "accuracy_low": low[1:],
        "accuracy_high": high[1:],
        "points_lost": lost[1:],
        "within": lost[1:] <= points + 1e-9,  # a decrease of exactly `points` is allowed, despite rounding errors
    }
    return pd.DataFrame(columns)


def _budget(
    result: MaskEvaluation, measured: pd.DataFrame, outcomes: list[Outcomes], masks: np.ndarray, points: float
) -> AccuracyBudget:
    within = measured.within.to_numpy()
    last = int(within.argmin()) - 1 if not within.all() else len(within) - 1
    if last < 0:
        raise HeadPruneError(
            f"the {measured.heads_removed[0]} heads that are always pruned lose {measured.points_lost[0]:.2f} pp, more than "
            f"the {points:g} pp allowed; always prune fewer heads or allow more"
        )
    row, found = measured.iloc[last], result.measured()
    return AccuracyBudget(
        max_drop_pp=float(points),
        measure=found.name,
        sparsity=float(row.sparsity),
        heads_removed=int(row.heads_removed),
        mask=masks[last],
        accuracy=float(row.accuracy),
        accuracy_low=float(row.accuracy_low),
        accuracy_high=float(row.accuracy_high),
        unpruned=float(found.value[0]),
        change=compare(outcomes[last], result.outcomes(0)),
        limited_by_accuracy=not within.all(),
        measured=measured,
    )
