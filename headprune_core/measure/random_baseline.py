"""Random baseline for a pruned model: masks that prune the same number of heads at random, evaluated on the same examples.

A mask that does not beat this baseline carries no information about head importance. It corresponds to the random envelope
in the figures of the Greedy-Gnorm paper, for a single mask; random rankings of a whole curve are compared in
`curve_verdicts`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np

from headprune_core.arguments import whole_number
from headprune_core.checked_mask import checked_mask
from headprune_core.data.measures import format_difference, format_value, measure_label
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .evaluation import evaluate_masks
from .paired_tests import SIGNIFICANCE_LEVEL
from .permutation_tests import difference_from_mean

N_RANDOM = 20
# With n random masks or rankings, the smallest rank-based p-value is 1 / (n + 1): 19 are needed to reach the 5% level.
MIN_RANDOM_MASKS = round(1 / SIGNIFICANCE_LEVEL) - 1


@dataclass(frozen=True, eq=False)
class RandomBaseline:
    """A mask compared with S random masks of the same size on the same examples.

    Attributes:
        measure: "accuracy", or "agreement" with the unpruned model if there are no labels; for regression "pearson" or
            "correlation".
        value: the measure under the mask.
        random_values: (S,), the measure under each random mask.
        gain: the measure minus its mean under the random masks, and the 95% bootstrap CI over examples (low, high) of this
            difference; None if unknown.
        examples: number of examples.
    """

    measure: str
    value: float
    random_values: np.ndarray
    gain: tuple[float, float, float] | None = None
    examples: int = 0

    @property
    def n_beaten(self) -> int:
        """Number of random masks with a lower value than the mask."""
        return int((self.random_values < self.value).sum())

    @property
    def p_value(self) -> float:
        """One-sided rank-based p-value of the mask among the random ones; at least 1 / (S + 1)."""
        return (1 + len(self.random_values) - self.n_beaten) / (len(self.random_values) + 1)

    @property
    def better_than_random(self) -> bool:
        """True if the mask is significantly better than random masks: it beats all S of them, and S is at least 19."""
        return self.n_beaten == len(self.random_values) >= MIN_RANDOM_MASKS

    @property
    def summary(self) -> str:
        """One sentence with the values, the number of random masks and the rank-based p-value."""
        count = len(self.random_values)
        parts = self.value, self.random_values.min(), self.random_values.max(), self.random_values.mean()
        value, low, high, mean = (format_value(self.measure, part) for part in parts)
        values = f"{low} to {high} (mean {mean})" if count > 1 else low
        masks = f"{count} random masks" if count > 1 else "1 random mask"
        text = f"{measure_label(self.measure)} {value} vs. {values} for {masks} of the same size"
        if self.gain is not None:
            text += f", {gain_text(self.measure, self.gain, self.examples)}"
        if self.better_than_random:
            return (
                f"{text}; better than all {count}: significantly better than random at the 5% level "
                f"(rank-based p ≤ 1/{count + 1})."
            )
        if self.n_beaten == count:
            beaten = f"all {count}" if count > 1 else "this one"
            return (
                f"{text}; better than {beaten}, but at least {MIN_RANDOM_MASKS} random masks are needed for significance at "
                "the 5% level."
            )
        beaten = f"{self.n_beaten} of {count}" if self.n_beaten else f"none of {count}"
        return f"{text}; better than {beaten}: not significantly better than random (rank-based p = {self.p_value:.2f})."


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
    """Evaluate a mask and random masks that prune the same number of heads.

    Args:
        model: the unpruned or a pruned model; only heads that it still has are pruned.
        examples: evaluation examples, not those of the scores.
        kept: bool (R, H), True = kept.
        n_random: number of random masks, with the seeds 0 to n_random - 1.
        batch_size: maximum batch size.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note).

    Returns:
        The value of the mask and those of the random masks.

    Raises:
        HeadPruneError: if `kept` is not a mask of the model's heads or n_random is below 1.
    """
    kept = checked_mask(kept, model.grid.shape)
    n_random = whole_number("n_random", n_random, 1)
    available = np.flatnonzero(model.grid.kept)
    count = int((model.grid.kept & ~kept).sum())
    masks = np.repeat(model.grid.kept[None], n_random + 1, axis=0)
    masks[0] &= kept
    for seed in range(n_random):
        pruned = np.random.default_rng(seed).choice(available, count, replace=False)
        masks[seed + 1].ravel()[pruned] = False
    result = evaluate_masks(model, examples, masks, batch_size=batch_size, cache=cache, progress=progress)
    found = result.measured()
    outcomes = [result.outcomes(i) for i in range(len(masks))]
    gain = difference_from_mean(outcomes[0], outcomes[1:])
    return RandomBaseline(found.name, float(found.value[0]), found.value[1:], gain, result.losses.shape[1])


def gain_text(measure: str, gain: tuple[float, float, float], examples: int) -> str:
    """Return a difference from the mean of random masks in words.

    Args:
        measure: name of the measure.
        gain: difference and its 95% CI (low, high).
        examples: number of examples.

    Returns:
        Text such as "a difference of +3.1 pp from their mean (95% bootstrap CI +1.0 to +5.2, n = 500)".
    """
    difference, low, high = (format_difference(measure, value) for value in gain)
    interval = f"95% bootstrap CI {low.removesuffix(' pp')} to {high.removesuffix(' pp')}"
    return f"a difference of {difference} from their mean ({interval}, n = {examples:,})"
