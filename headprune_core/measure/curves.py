"""Accuracy against sparsity: each criterion on the same held-out examples, with random rankings as baseline.

All masks of all methods are evaluated together, batch by batch, so that they share computation and every point is available
after the first batch. Intervals are Wilson's for proportions, and a bootstrap over examples for correlations. Metrics are in
`curve_metrics`, comparisons in `curve_verdicts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.criteria import get_criterion
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import HeadScores

from .evaluation import MaskEvaluation, evaluate_masks
from .mask_evaluation import some_masks
from .paired_tests import Outcomes, paired_columns

REGIMES = ((0.0, 0.1, "redundancy"), (0.1, 0.3, "transition"), (0.3, 0.5, "specialization"), (0.5, 1.0, "collapse"))


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of several methods with per-example results.

    Attributes:
        frame: one row per method, seed and sparsity; see `sparsity_curves`.
        outcomes: of each row, for paired tests.
    """

    frame: pd.DataFrame
    outcomes: tuple[Outcomes, ...]


def sparsity_curves(
    model: PrunableModel, examples: datasets.Dataset, scores: HeadScores, *, on_partial=None, **options
) -> pd.DataFrame:
    """Return the frame of `measure_curves`.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the scores.
        scores: head scores.
        on_partial: called with the frame on the examples done so far, after every batch.
        **options: the other arguments of `measure_curves`.

    Returns:
        One row per method, seed and sparsity, with the columns method, sparsity, heads_pruned, seed (of a random ranking,
        else missing), accuracy, accuracy_low, accuracy_high (95% CI, Wilson), loss, agreement, correlation, examples
        (number) and trials (number of predictions). For text generation also perplexity = exp(loss); for classes or labels
        "accuracy: CLASS", the recall of each. Further measures of the task have columns by their names. For regression,
        accuracy is missing; pearson has the interval pearson_low, pearson_high (or correlation, without labels).

        Paired comparisons of the main measure on the same examples, for every criterion: change, change_low, change_high
        (95% CI), change_p and change_test, from the unpruned model; gain, gain_low, gain_high (95% bootstrap CI over
        examples), from the mean of the random rankings of the same sparsity. Partial results lack them.
    """
    frames = None if on_partial is None else lambda curves: on_partial(curves.frame)
    return measure_curves(model, examples, scores, on_partial=frames, **options).frame


def measure_curves(
    model: PrunableModel,
    examples: datasets.Dataset,
    scores: HeadScores,
    *,
    methods: Sequence[str],
    sparsities: Sequence[float],
    alpha: float = 0.5,
    n_random: int = 20,
    batch_size: int = 32,
    dtype: str | None = None,
    rankings: Mapping[str, np.ndarray] | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    on_partial: Callable[[Curves], None] | None = None,
) -> Curves:
    """Evaluate a model under the mask of each method at each sparsity.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the scores.
        scores: head scores.
        methods: names of criteria, of HIES with a fixed alpha ("hies@0.25"), or of rankings in `rankings`.
        sparsities: fractions of heads to prune, 0 to 1.
        alpha: of HIES without a fixed alpha, 0 to 1.
        n_random: number of random rankings, with the seeds 0 to n_random - 1.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        rankings: (R, H) by name, lowest values are pruned first: of criteria that are computed separately (greedy_gnorm,
            leave_one_out), or your own.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the frame on the examples
            done so far as its attribute `partial`.
        on_partial: called with the curves on the examples done so far, after every batch.

    Returns:
        The curves on all examples.

    Raises:
        HeadPruneError: for empty methods or sparsities, fewer than one random ranking, or a ranking of another shape.
    """
    rankings = dict(rankings or {})
    if n_random < 1 and "random" in methods:
        raise HeadPruneError(f"n_random must be at least 1, got {n_random}")
    if len(methods) == 0 or len(sparsities) == 0:
        raise HeadPruneError(f"methods and sparsities must not be empty, got {len(methods)} and {len(sparsities)}")
    ranked: list[tuple[str, int | None, np.ndarray]] = []
    for name in dict.fromkeys(methods):
        if name in rankings:
            ranked.append((name, None, _checked(name, rankings[name], model.grid.shape)))
            continue
        criterion = get_criterion(name)
        for seed in range(n_random) if criterion.random else [None]:
            ranked.append((name, seed, criterion.rank(scores, alpha, np.random.default_rng(seed))))
    rows = [(name, seed, float(sparsity)) for sparsity in sparsities for name, seed, _ in ranked]
    masks = np.stack([prune_mask(ranking, sparsity) for sparsity in sparsities for _, _, ranking in ranked])
    masks = np.concatenate([np.ones_like(masks[:1]), masks])  # the unpruned model is the first
    last: list[Curves] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_curves(model, rows, masks, result)]
        if on_partial is not None:
            on_partial(last[0])

    options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress}
    try:
        result = evaluate_masks(model, examples, masks, on_partial=part, **options)
    except Cancelled as stop:
        stop.partial = last[0].frame if last else None
        raise
    found = _curves(model, rows, masks, result)
    return replace(found, frame=found.frame.assign(**paired_columns(found.frame, found.outcomes, result.outcomes(0))))


def main_measure(curves: pd.DataFrame) -> str:
    """Return the main measure of curves.

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        "accuracy", or "agreement" with the unpruned model if there are no labels; for regression "pearson" or "correlation".
    """
    if "pearson" in curves:
        return "pearson" if curves.pearson.notna().any() else "correlation"
    return "accuracy" if curves.accuracy.notna().any() else "agreement"


def measure_columns(result: MaskEvaluation) -> dict[str, np.ndarray]:
    """Return the measures of an evaluation as columns of a frame.

    Args:
        result: evaluation of M masks.

    Returns:
        (M,) by name: accuracy with its 95% CI, loss, agreement, correlation and the further measures of the task; for
        regression also pearson, and the interval of the main measure.
    """
    main, accuracy = result.measured(), result.measured("accuracy")
    columns = {"accuracy": accuracy.value, "accuracy_low": accuracy.low, "accuracy_high": accuracy.high}
    if not result.task.has_decisions:
        missing = np.full(len(result.loss), np.nan)
        columns["pearson"] = missing
        columns |= {main.name: main.value, f"{main.name}_low": main.low, f"{main.name}_high": main.high}
    return {
        **columns,
        "loss": result.loss,
        "agreement": result.agreement,
        "correlation": result.correlation,
        **result.further,
    }


def _checked(name: str, ranking, shape: tuple[int, int]) -> np.ndarray:
    ranking = np.asarray(ranking, float)
    if ranking.shape != shape:
        raise HeadPruneError(f"ranking {name!r} must have shape {shape}, one number for each head, got {ranking.shape}")
    return ranking


def _curves(model: PrunableModel, rows: list[tuple], masks: np.ndarray, result: MaskEvaluation) -> Curves:
    """Return the curves; the first mask is that of the unpruned model, which has no row."""
    masks, result = masks[1:], some_masks(result, slice(1, None))
    names, seeds, sparsities = zip(*rows, strict=True)
    columns = {
        "method": names,
        "sparsity": sparsities,
        "heads_pruned": (~masks).sum((1, 2)),
        "seed": pd.array(seeds, dtype="Int64"),
        **measure_columns(result),
        "examples": result.losses.shape[1],
        "trials": result.trials,
    }
    if model.generates:
        columns["perplexity"] = np.exp(result.loss)
    if result.recall is not None:
        columns |= {f"accuracy: {label}": result.recall[:, c] for c, label in enumerate(model.labels)}
    return Curves(pd.DataFrame(columns), tuple(result.outcomes(i) for i in range(len(masks))))
