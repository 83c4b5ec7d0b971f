"""Accuracy against sparsity: every criterion over the same held-out examples, beside random removal.

All masks of all methods are measured together, batch by batch, so that they share what they can and every point is there
from the first batch on and sharpens. Intervals are Wilson's for a share of right answers. Random removal is an envelope over
seeds; a criterion that stays inside it has shown nothing, and `judgements.compare_with_random` says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

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

REGIMES = ((0.0, 0.1, "redundancy"), (0.1, 0.3, "transition"), (0.3, 0.5, "specialization"), (0.5, 1.0, "collapse"))


@dataclass(frozen=True, eq=False)
class Curves:
    """frame: a line for each method, seed and sparsity; see `sparsity_curves`.

    right (lines, N), for paired tests: which examples are answered right, without labels as the unpruned model does; None
    where tokens are predicted.
    """

    frame: pd.DataFrame
    right: np.ndarray | None


def sparsity_curves(
    model: PrunableModel, examples: datasets.Dataset, scores: HeadScores, *, on_partial=None, **options
) -> pd.DataFrame:
    """The frame of `measure_curves`, which has the same arguments; `on_partial` is given frames.

    Columns: method, sparsity, heads_pruned, seed (for "random", else missing), accuracy, accuracy_low, accuracy_high
    (95 %, Wilson), loss, agreement, correlation, examples and trials (how many were measured, and answers they gave); where
    tokens are predicted perplexity = exp(loss), else "accuracy: CLASS", the share of that class's examples that are right.
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
    """Evaluate `model` on `examples` (not those of the scores) under each method's mask at each sparsity (0 to 1).

    methods: names of criteria, "hies@0.25" for HIES at an alpha of its own, or names in `rankings`, which holds (R, H) by
    name, lowest goes first: of criteria that have a run of their own (greedy_gnorm, leave_one_out), or the user's. dtype and
    store as in `evaluate_masks`. `on_partial` is given all points on the examples done so far, after every batch; when
    `progress` raises Cancelled, the exception carries the last of these frames as `.partial`.
    """
    rankings = dict(rankings or {})
    if n_random < 1 and "random" in methods:
        raise HeadPruneError(f"{n_random} random seeds were asked for; expected at least 1")
    if len(methods) == 0 or len(sparsities) == 0:
        raise HeadPruneError("no method or no sparsity was chosen; expected at least one of each")
    orders: list[tuple[str, int | None, np.ndarray]] = []
    for name in dict.fromkeys(methods):
        if name in rankings:
            orders.append((name, None, _checked(name, rankings[name], model.grid.shape)))
            continue
        found = get_criterion(name)
        for seed in range(n_random) if found.random else [None]:
            orders.append((name, seed, found.rank(scores, alpha, np.random.default_rng(seed))))
    lines = [(name, seed, float(sparsity)) for sparsity in sparsities for name, seed, _ in orders]
    masks = np.stack([prune_mask(ranking, sparsity) for sparsity in sparsities for _, _, ranking in orders])
    last: list[Curves] = []

    def part(result: MaskEvaluation) -> None:
        last[:] = [_curves(model, lines, masks, result)]
        if on_partial is not None:
            on_partial(last[0])

    options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": progress}
    try:
        return _curves(model, lines, masks, evaluate_masks(model, examples, masks, on_partial=part, **options))
    except Cancelled as stop:
        stop.partial = last[0].frame if last else None
        raise


def wilson(successes, trials: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval (low, high) for shares of `trials`."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = np.asarray(successes, float) / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return np.clip(middle - reach, 0.0, 1.0), np.clip(middle + reach, 0.0, 1.0)


def main_measure(curves: pd.DataFrame) -> str:
    """What to judge curves by: accuracy, or agreement with the unpruned model where there are no labels."""
    return "accuracy" if curves.accuracy.notna().any() else "agreement"


def _checked(name: str, ranking, shape: tuple[int, int]) -> np.ndarray:
    ranking = np.asarray(ranking, float)
    if ranking.shape != shape:
        raise HeadPruneError(f"the ranking {name!r} has shape {ranking.shape}; expected {shape}, one number for each head")
    return ranking


def _curves(model: PrunableModel, lines: list[tuple], masks: np.ndarray, result: MaskEvaluation) -> Curves:
    low, high = wilson(result.accuracy * result.trials, result.trials)
    names, n_random, sparsities = zip(*lines, strict=True)
    columns = {
        "method": names,
        "sparsity": sparsities,
        "heads_pruned": (~masks).sum((1, 2)),
        "seed": pd.array(n_random, dtype="Int64"),
        "accuracy": result.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": result.loss,
        "agreement": result.agreement,
        "correlation": result.correlation,
        "examples": result.losses.shape[1],
        "trials": result.trials,
    }
    if result.recall is None:
        return Curves(pd.DataFrame(columns | {"perplexity": np.exp(result.loss)}), None)
    by_class = {f"accuracy: {label}": result.recall[:, c] for c, label in enumerate(model.labels)}
    return Curves(pd.DataFrame(columns | by_class), result.right.astype(bool))
