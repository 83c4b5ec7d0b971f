"""Rank stability: how many calibration examples are enough, computed from stored values without running the model.

Two measures: Kendall's tau-b between the ranking from the first n examples and from all N, which is biased upward because
the n are a subset of the N; and tau-b between the rankings from two disjoint subsets of n <= N / 2 examples, the split-half
reliability (Spearman 1910), which is not biased in this way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

from .bootstrap import percentiles, resample_weights, resampled_scores
from .correlation import kendall
from .head_scores import HeadScores

SIZES = (8, 16, 32, 64, 128)
STABLE_TAU = 0.9  # tau from which two rankings count as the same: one pair of heads in twenty is discordant
RESAMPLES = 200


@dataclass(frozen=True)
class RankStability:
    """Stability of the ranking of heads by one metric.

    Attributes:
        metric: The metric.
        examples: Number of all examples N.
        table: One row per size n < N, with the columns size; kendall, tau between the first n examples and all; low and
            high, the central 95% of tau between a random subset of n examples and all; apart, the mean tau between two
            random disjoint subsets of n examples, with apart_low and apart_high; nan for n > N / 2.
    """

    metric: str
    examples: int
    table: pd.DataFrame

    @property
    def recommended_size(self) -> int | None:
        """The smallest size from which tau with all examples stays at STABLE_TAU or above, or None."""
        stable = (self.table.kendall >= STABLE_TAU).to_numpy()
        if not len(stable) or not stable[-1]:
            return None
        return int(self.table["size"].iloc[len(stable) - np.argmin(stable[::-1]) if not stable.all() else 0])

    @property
    def verdict(self) -> str:
        """The recommendation, with tau between two disjoint subsets."""
        if self.table.empty:
            subject = "1 example is" if self.examples == 1 else f"{self.examples} examples are"
            return f"{subject} too few to assess the stability of the ranking. Load more."
        size, enough = int(self.table["size"].iloc[-1]), self.recommended_size
        if enough is None:
            tau = self.table.kendall.iloc[-1]
            text = f"{self.examples} examples may be too few (τ = {tau:.2f} between {size} examples and all). Load more."
        else:
            text = f"{enough} examples give almost the same ranking as all {self.examples} (τ ≥ {STABLE_TAU:g})."
        apart = self.table.dropna(subset="apart")
        if len(apart):
            text += f" Two disjoint subsets of {int(apart['size'].iloc[-1])} examples: τ = {apart.apart.iloc[-1]:.2f}."
        return text


def rank_stability(
    scores: HeadScores,
    metric: str,
    sizes: Sequence[int] = SIZES,
    *,
    alpha: float = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RankStability:
    """Measure how the ranking of heads depends on the number of examples, without running the model.

    The first n examples are balanced over classes if the classes alternate, as in `load_examples`; random subsets are not.

    Args:
        scores: Scores with per-example values.
        metric: "his", "ae", "gnorm" or "hies".
        sizes: Numbers of examples n; sizes of N or more are ignored.
        alpha: Alpha of HIES.
        resamples: Number of random subsets per size.
        seed: Seed of the subsets.

    Returns:
        The stability of the ranking.

    Raises:
        HeadPruneError: If an argument is invalid or the metric was not computed.
    """
    if min(sizes, default=0) < 1:
        raise HeadPruneError(f"sizes must hold at least one number, each at least 1, got {list(sizes)}")
    if resamples < 1:
        raise HeadPruneError(f"resamples must be at least 1, got {resamples}")
    count = len(next(iter(scores.per_example.values())))
    generator = np.random.default_rng(seed)

    def rankings(indices: np.ndarray) -> np.ndarray:  # (B, n) example indices -> (B, R * H)
        return resampled_scores(scores, metric, resample_weights(indices, count), alpha=alpha).reshape(len(indices), -1)

    from_all = rankings(np.arange(count)[None])
    rows = []
    for size in sorted({int(size) for size in sizes if size < count}):
        shuffled = generator.permuted(np.tile(np.arange(count), (resamples, 1)), axis=1)
        subsets = rankings(shuffled[:, :size])
        tau = float(kendall(rankings(np.arange(size)[None]), from_all)[0])
        apart = np.full(1, np.nan)
        if 2 * size <= count:
            apart = kendall(subsets, rankings(shuffled[:, size : 2 * size]))
        low, high = percentiles(kendall(subsets, from_all))
        rows.append((size, tau, low, high, apart.mean(), *percentiles(apart)))
    names = ["size", "kendall", "low", "high", "apart", "apart_low", "apart_high"]
    return RankStability(metric, count, pd.DataFrame(rows, columns=names))


def split_half(per_example: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
    """Compute the split-half reliability: Kendall's tau-b between the rankings from two random halves of the examples.

    Near 0, the ranking is noise, and correlations with it are not informative. The ranking from all N examples is somewhat
    more reliable than that from half of them.

    Args:
        per_example: (N, R, H) values; heads are ranked by their means.
        resamples: Number of random splits.
        seed: Seed of the splits.

    Returns:
        The mean over the splits, and the lower and upper limits of their central 95%.

    Raises:
        HeadPruneError: If there are fewer than 2 examples.
    """
    count = len(per_example)
    if count < 2:
        raise HeadPruneError(f"a split needs at least 2 examples, got {count}")
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (resamples, 1)), axis=1)
    values = per_example.reshape(count, -1)
    halves = (
        resample_weights(part, count) @ values for part in (order[:, : count // 2], order[:, count // 2 : 2 * (count // 2)])
    )
    taus = kendall(*halves)
    low, high = percentiles(taus)
    return float(taus.mean()), float(low), float(high)
