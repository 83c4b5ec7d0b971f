"""Examples drawn anew: what the scores would have been with other texts, from stored values alone. No model is run.

The nonparametric bootstrap (Efron 1979): N examples are drawn with replacement, many times, and a score computed anew
from each draw. Subsets without replacement serve to ask how few examples would have done.
"""

from dataclasses import replace

import numpy as np

from headprune_core.errors import HeadPruneError

from .head_scores import HeadScores
from .hies import hies

RANKED = ("his", "ae", "hies", "gnorm")  # what heads can be ranked by; the inverse orders are these read backwards


def resample_indices(examples: int, resamples: int, seed: int = 0) -> np.ndarray:
    """(B, N) example numbers drawn with replacement; the same for the same seed, so that draws can be paired."""
    if resamples < 1:
        raise HeadPruneError(f"{resamples} resamples were asked for; expected at least 1")
    return np.random.default_rng(seed).integers(0, examples, (resamples, examples))


def shares(drawn: np.ndarray, examples: int) -> np.ndarray:
    """(B, N) the share that each of N examples has in each row of drawn example numbers (B, n)."""
    counts = np.zeros((len(drawn), examples))
    np.add.at(counts, (np.arange(len(drawn))[:, None], drawn), 1.0)
    return counts / drawn.shape[1]


def resampled_means(per_example: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """(B, ...) means of values (N, ...) over `resamples` draws of the examples."""
    count = len(per_example)
    return np.tensordot(shares(resample_indices(count, resamples, seed), count), per_example, 1)


def resampled_scores(scores: HeadScores, metric: str, drawn: np.ndarray, *, alpha: float = 0.5) -> np.ndarray:
    """(B, R, H) `metric`, one of RANKED, for each row of `drawn` (B, N), the shares that the examples have in it."""
    if metric not in RANKED:
        raise HeadPruneError(f"there is no score {metric!r}; expected one of {', '.join(RANKED)}")
    if metric == "hies":
        return hies(resampled_scores(scores, "his", drawn), resampled_scores(scores, "ae", drawn), alpha)
    if metric not in scores.per_example:
        raise HeadPruneError(f"{metric!r} was not computed; these scores hold {', '.join(scores.per_example)}")
    means = np.tensordot(drawn, scores.per_example[metric], 1)
    return means.prod(1) if metric == "gnorm" else means


def available(scores: HeadScores) -> list[str]:
    """Those of RANKED that `scores` can give."""
    needs = {"hies": {"his", "ae"}}
    return [metric for metric in RANKED if needs.get(metric, {metric}) <= set(scores.per_example)]


def chosen(scores: HeadScores, index) -> HeadScores:
    """The scores as if only the examples of `index` (which may repeat) had been there."""
    return replace(scores, per_example={metric: values[index] for metric, values in scores.per_example.items()})


def percentiles(drawn: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) percentile interval along the first axis; nan where a draw has none."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return low, high


def around(value: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) 95 % interval of a correlation found to be `value` (...), from its values in draws (B, ...).

    Drawing with repeats adds noise of its own, which pulls every drawn correlation towards 0, at times so far that the plain
    percentiles leave out the value found. So they are shifted until the draws' mean lies on it, and kept within -1 to 1.
    """
    low, high = percentiles(drawn)
    shift = value - drawn.mean(0)
    return np.clip(low + shift, -1.0, 1.0), np.clip(high + shift, -1.0, 1.0)
