"""The control of a pruned model: as many heads taken out at random, several times, on the same examples.

A choice of heads that is no better than chance's has found nothing, however good its accuracy looks (the random envelope of
Greedy-Gnorm's figures, for one mask).
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .evaluation import evaluate_masks

N_RANDOM = 20
ENOUGH = 19  # random masks, all worse: at most once in twenty by chance


@dataclass(frozen=True, eq=False)
class RandomBaseline:
    """What a mask and random ones that remove as many heads are worth on the same examples.

    measure: "accuracy", or "agreement" with the unpruned model where there are no labels. value: the mask's share, 0 to 1.
    random_values (S,): those of the random masks.
    """

    measure: str
    value: float
    random_values: np.ndarray

    @property
    def n_beaten(self) -> int:
        """How many of the random masks are worse than the mask."""
        return int((self.random_values < self.value).sum())

    @property
    def better_than_chance(self) -> bool:
        """Whether every one of enough random masks is worse: chance alone does that once in S + 1 times at most."""
        return self.n_beaten == len(self.random_values) >= ENOUGH

    @property
    def words(self) -> str:
        """One sentence on whether the choice of heads was worth something."""
        least, most, masks = self.random_values.min(), self.random_values.max(), len(self.random_values)
        choices = "random choice of as many heads gives" if masks == 1 else "random choices of as many heads give"
        told = (
            f"{masks} {choices} {self.measure} {least:.1%} to {most:.1%} (mean {self.random_values.mean():.1%}); this one gives "
            f"{self.value:.1%}"
        )
        if self.better_than_chance:
            return f"{told}, more than any of them: the choice of heads matters, and this one is better than chance."
        if self.n_beaten == masks:
            return f"{told}, more than any of them; {masks} are too few to tell that from chance, {ENOUGH} are not."
        if self.n_beaten == 0:
            return f"{told}, no more than any of them: this choice of heads is no better than chance."
        return f"{told}, more than {self.n_beaten} of them: this choice of heads is not shown to be better than chance."


def random_baseline(
    model: PrunableModel,
    examples: datasets.Dataset,
    kept,
    *,
    n_random: int = N_RANDOM,
    batch_size: int = 32,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> RandomBaseline:
    """Measure the mask `kept` (R, H), True = kept, and `n_random` random ones that remove as many of the heads of `model`.

    Raises HeadPruneError for a mask of another shape, and for less than one random mask.
    """
    kept = np.asarray(kept, bool)
    if kept.shape != model.grid.shape:
        raise HeadPruneError(f"the mask has shape {kept.shape}; expected {model.grid.shape}, that of the model's heads")
    if n_random < 1:
        raise HeadPruneError(f"{n_random} random masks were asked for; expected at least 1")
    there = np.flatnonzero(model.grid.kept)
    removed = int((model.grid.kept & ~kept).sum())
    masks = np.repeat(model.grid.kept[None], n_random + 1, axis=0)
    masks[0] &= kept
    for seed in range(n_random):
        gone = np.random.default_rng(seed).choice(there, removed, replace=False)
        masks[seed + 1].ravel()[gone] = False
    found = evaluate_masks(model, examples, masks, batch_size=batch_size, cache=cache, progress=progress)
    measure = "agreement" if np.isnan(found.accuracy[0]) else "accuracy"
    values = getattr(found, measure)
    return RandomBaseline(measure, float(values[0]), values[1:])
