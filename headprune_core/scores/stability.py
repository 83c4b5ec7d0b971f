"""Rank stability against the number of examples: how few would have ranked the heads alike? No model is run.

Two questions, two answers. *Does the ranking still move?* Kendall's tau-b of the ranking from the first n examples with the
ranking from all N. The n are among the N, so this runs to 1 whatever the scores are worth: it flatters. *Would other texts
say the same?* Kendall of two subsets of n examples that share none, the split half (Spearman 1910); it needs n <= N / 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

from .bootstrap import percentiles, resampled_scores, shares
from .correlation import kendall
from .head_scores import HeadScores

SIZES = (8, 16, 32, 64, 128)
STEADY = 0.9  # Kendall from which on two rankings are called the same: one pair of heads in twenty is swapped
RESAMPLES = 200


@dataclass(frozen=True)
class RankStability:
    """How steady the ranking of heads by one metric is.

    table: a line per size below `examples`, the number of all. size; kendall of the first `size` examples with all; low,
    high: the middle 95 % of that over random subsets of the size; apart: the mean Kendall of two random subsets of the
    size that share no example, with apart_low and apart_high; nan where size > examples / 2.
    """

    metric: str
    examples: int
    table: pd.DataFrame

    @property
    def recommended_size(self) -> int | None:
        """The smallest size from which on Kendall with all the examples stays at STEADY or above; None where never."""
        steady = (self.table.kendall >= STEADY).to_numpy()
        if not len(steady) or not steady[-1]:
            return None
        return int(self.table["size"].iloc[len(steady) - np.argmin(steady[::-1]) if not steady.all() else 0])

    @property
    def verdict(self) -> str:
        """The recommendation in one sentence, with what texts that share nothing say."""
        if self.table.empty:
            return f"{self.examples} text{'s are' if self.examples > 1 else ' is'} too few to tell; load more texts."
        size, enough = int(self.table["size"].iloc[-1]), self.recommended_size
        if enough is None:
            found = self.table.kendall.iloc[-1]
            words = (
                f"{self.examples} texts may be too few: {size} of them agree with all to only {found:.2f}. Load more texts."
            )
        else:
            words = f"{enough} texts give nearly the ranking of all {self.examples} (Kendall at least {STEADY:g})."
        apart = self.table.dropna(subset="apart")
        if len(apart):
            words += f" Two sets of {int(apart['size'].iloc[-1])} that share no text agree to {apart.apart.iloc[-1]:.2f}."
        return words


def rank_stability(
    scores: HeadScores,
    metric: str,
    sizes: Sequence[int] = SIZES,
    *,
    alpha: float = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RankStability:
    """How the ranking by `metric` ("his", "ae", "gnorm", or "hies" at `alpha`) settles as examples are added.

    Sizes at or above the number of examples are left out. Prefixes nest, and are balanced where the examples come with the
    classes in turn, as `load_examples` gives them; random subsets are not balanced.
    """
    if min(sizes, default=0) < 1:
        raise HeadPruneError(f"the sizes are {list(sizes)}; expected at least one, each 1 or more")
    if resamples < 1:
        raise HeadPruneError(f"{resamples} resamples were asked for; expected at least 1")
    count = len(next(iter(scores.per_example.values())))
    generator = np.random.default_rng(seed)

    def rankings(members: np.ndarray) -> np.ndarray:  # (B, n) example numbers -> (B, R * H)
        return resampled_scores(scores, metric, shares(members, count), alpha=alpha).reshape(len(members), -1)

    whole = rankings(np.arange(count)[None])
    lines = []
    for size in sorted({int(size) for size in sizes if size < count}):
        shuffled = generator.permuted(np.tile(np.arange(count), (resamples, 1)), axis=1)
        first = rankings(shuffled[:, :size])
        found = float(kendall(rankings(np.arange(size)[None]), whole)[0])
        apart = np.full(1, np.nan)
        if 2 * size <= count:
            apart = kendall(first, rankings(shuffled[:, size : 2 * size]))
        low, high = percentiles(kendall(first, whole))
        lines.append((size, found, low, high, apart.mean(), *percentiles(apart)))
    names = ["size", "kendall", "low", "high", "apart", "apart_low", "apart_high"]
    return RankStability(metric, count, pd.DataFrame(lines, columns=names))


def split_half(per_example: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
    """Kendall of the head rankings that two random halves of the examples give, by their means of values (N, R, H).

    Returns the mean over random halvings and the limits of the middle 95 %. Near 0 the ranking is noise, and how something
    else correlates with it says nothing. All N examples do somewhat better than their halves.
    """
    count = len(per_example)
    if count < 2:
        raise HeadPruneError(f"{count} example cannot be halved; expected at least 2")
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (resamples, 1)), axis=1)
    values = per_example.reshape(count, -1)
    halves = (shares(part, count) @ values for part in (order[:, : count // 2], order[:, count // 2 : 2 * (count // 2)]))
    found = kendall(*halves)
    low, high = percentiles(found)
    return float(found.mean()), float(low), float(high)
