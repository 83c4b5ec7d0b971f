"""Bootstrap of scores over examples, from stored per-example values without running the model.

The nonparametric bootstrap (Efron 1979) draws N examples with replacement, many times, and recomputes the scores for each
resample. The same functions take subsets drawn without replacement.
"""

from dataclasses import replace

import numpy as np

from headprune_core.arguments import whole_number
from headprune_core.errors import HeadPruneError

from .head_scores import HeadScores
from .hies import hies

RANKED = ("his", "ae", "hies", "gnorm")  # scores that rank heads; inverse rankings reverse these


def resample_indices(examples: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Draw example indices with replacement.

    Args:
        examples: Number of examples N.
        resamples: Number of resamples B.
        seed: Seed; equal seeds give equal indices, so that resamples can be paired.

    Returns:
        (B, N) example indices.

    Raises:
        HeadPruneError: If `resamples` is no whole number of at least 1, or `seed` is none of at least 0.
    """
    resamples, seed = whole_number("resamples", resamples, 1), whole_number("seed", seed, 0)
    return np.random.default_rng(seed).integers(0, examples, (resamples, examples))


def resample_weights(indices: np.ndarray, examples: int) -> np.ndarray:
    """Return the weight of each example in each resample.

    Args:
        indices: (B, n) example indices.
        examples: Number of examples N.

    Returns:
        (B, N) weights; each row sums to 1.
    """
    counts = np.zeros((len(indices), examples))
    np.add.at(counts, (np.arange(len(indices))[:, None], indices), 1.0)
    return counts / indices.shape[1]


def resampled_means(per_example: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Compute the mean of per-example values in each resample.

    Args:
        per_example: (N, ...) values.
        resamples: Number of resamples B.
        seed: Seed of the resamples.

    Returns:
        (B, ...) means.
    """
    count = len(per_example)
    return np.tensordot(resample_weights(resample_indices(count, resamples, seed), count), per_example, 1)


def resampled_scores(scores: HeadScores, metric: str, weights: np.ndarray, *, alpha: float = 0.5) -> np.ndarray:
    """Compute a score of every head in each resample.

    Args:
        scores: Scores with per-example values.
        metric: One of RANKED.
        weights: (B, N) weights of the examples in each resample.
        alpha: Alpha of HIES.

    Returns:
        (B, R, H) scores.

    Raises:
        HeadPruneError: If the metric is unknown or was not computed.
    """
    if metric not in RANKED:
        raise HeadPruneError(f"unknown score {metric!r}; choose one of {', '.join(RANKED)}")
    if metric == "hies":
        return hies(resampled_scores(scores, "his", weights), resampled_scores(scores, "ae", weights), alpha)
    if metric not in scores.per_example:
        raise HeadPruneError(f"{metric!r} was not computed; these scores contain {', '.join(scores.per_example)}")
    means = np.tensordot(weights, scores.per_example[metric], 1)
    return means.prod(1) if metric == "gnorm" else means


def available(scores: HeadScores) -> list[str]:
    """Return the members of RANKED that `scores` contains or can compute."""
    needs = {"hies": {"his", "ae"}}
    return [metric for metric in RANKED if needs.get(metric, {metric}) <= set(scores.per_example)]


def select_examples(scores: HeadScores, index) -> HeadScores:
    """Return the scores of a selection of examples.

    Args:
        scores: Scores of N examples.
        index: Example indices, which may repeat.

    Returns:
        Scores with the per-example values of the selected examples.
    """
    return replace(scores, per_example={metric: values[index] for metric, values in scores.per_example.items()})


def percentiles(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Compute a percentile interval over resamples.

    Args:
        values: (B, ...) values of a statistic.
        confidence: Confidence level.

    Returns:
        Lower and upper limits, each (...); nan if a resample is nan.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
    return low, high


def centered_interval(estimate: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the 95% CI of a correlation, centered on the estimate.

    Resampling with replacement adds noise, which biases every resampled correlation towards 0, sometimes so far that the
    percentile interval does not contain the estimate. The interval is therefore shifted so that the mean of the resamples
    equals the estimate, and clipped to [-1, 1].

    Args:
        estimate: (...) correlations from all examples.
        values: (B, ...) correlations from the resamples.

    Returns:
        Lower and upper limits, each (...).
    """
    low, high = percentiles(values)
    shift = estimate - values.mean(0)
    return np.clip(low + shift, -1.0, 1.0), np.clip(high + shift, -1.0, 1.0)
