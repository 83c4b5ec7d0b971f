"""Accuracy against sparsity: every criterion over the same held-out examples, beside random removal.

Intervals are Wilson's for a share of right answers. Random removal is an envelope over seeds; a criterion that stays
inside it has shown nothing, and `judgements.verdicts` says so.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import datasets
import numpy as np
import pandas as pd

from .criteria import find_criterion
from .errors import Cancelled, HeadPruneError
from .evaluation import MaskEvaluation, evaluate_masks
from .masks import prune_mask
from .models import PrunableModel
from .scores.run import HeadScores

REGIMES = ((0.0, 0.1, "redundancy"), (0.1, 0.3, "transition"), (0.3, 0.5, "specialisation"), (0.5, 1.0, "collapse"))


def sparsity_curves(
    model: PrunableModel,
    examples: datasets.Dataset,
    scores: HeadScores,
    *,
    methods: Sequence[str],
    sparsities: Sequence[float],
    alpha: float = 0.5,
    seeds: int = 20,
    batch_size: int = 32,
    progress: Callable[[int, int, str], None] | None = None,
    on_part: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Evaluate `model` on `examples` (not those of the scores) under each method's mask at each sparsity (0 to 1).

    Columns: method, sparsity, heads_pruned, seed (for "random", else missing), accuracy, accuracy_low, accuracy_high
    (95 %), loss, agreement, correlation. `on_part` is given the frame so far after every sparsity; when `progress` raises
    Cancelled, the exception carries the same as `.partial`.
    """
    if seeds < 1 and "random" in methods:
        raise HeadPruneError(f"{seeds} random seeds were asked for; expected at least 1")
    if len(methods) == 0 or len(sparsities) == 0:
        raise HeadPruneError("no method or no sparsity was chosen; expected at least one of each")
    chosen = [(name, seed) for name in methods for seed in (range(seeds) if find_criterion(name).random else [None])]
    rankings = [_ranking(name, seed, scores, alpha) for name, seed in chosen]
    tables: list[pd.DataFrame] = []
    for number, sparsity in enumerate(sparsities):
        masks = np.stack([prune_mask(ranking, sparsity) for ranking in rankings])
        report = _within(progress, number, len(sparsities), f"Removing {sparsity:.0%} of the heads")
        try:
            result = evaluate_masks(model, examples, masks, batch_size=batch_size, progress=report)
        except Cancelled as stop:
            stop.partial = pd.concat(tables, ignore_index=True) if tables else None
            raise
        tables.append(_table(chosen, sparsity, masks, result))
        if on_part is not None:
            on_part(pd.concat(tables, ignore_index=True))
    return pd.concat(tables, ignore_index=True)


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


def _ranking(name: str, seed: int | None, scores: HeadScores, alpha: float) -> np.ndarray:
    return find_criterion(name).rank(scores, alpha, np.random.default_rng(seed))


def _within(progress, number: int, of: int, note: str):
    """A progress callback for one of several equal parts."""
    return None if progress is None else lambda done, total, _: progress(number * total + done, of * total, note)


def _table(chosen, sparsity: float, masks: np.ndarray, result: MaskEvaluation) -> pd.DataFrame:
    low, high = wilson(result.accuracy * result.trials, result.trials)
    return pd.DataFrame(
        {
            "method": [name for name, _ in chosen],
            "sparsity": float(sparsity),
            "heads_pruned": (~masks).sum((1, 2)),
            "seed": pd.array([seed for _, seed in chosen], dtype="Int64"),
            "accuracy": result.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "loss": result.loss,
            "agreement": result.agreement,
            "correlation": result.correlation,
        }
    )
