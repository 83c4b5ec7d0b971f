"""Paired comparisons of two methods that have several predictions per example, or predict numbers.

- Several predictions per example (tokens): the difference of accuracies. Predictions of one example depend on each other,
  so examples are resampled (bootstrap interval), and the two methods are swapped within examples (permutation test).
- Numbers: the difference of correlations, with the same bootstrap, and a permutation test on standardized outputs.

McNemar's exact test in `paired_tests` is the permutation test of one decision per example.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from headprune_core.data.measures import CONSTANT, correlation_difference, correlations, resampling_weights
from headprune_core.errors import HeadPruneError

SWAPS = 4096  # patterns of swapped examples in a permutation test: all of them up to 12 examples, else a random sample


@dataclass(frozen=True)
class PairedTest:
    """Comparison of two methods on the same examples.

    Attributes:
        difference: the measure of the first method minus that of the second.
        low: lower bound of the 95% CI (bootstrap over examples; Newcombe for `McNemar`) of the difference.
        high: upper bound of that interval.
        p_value: two-sided p-value of `test`.
        n: number of examples.
        test: name of the test within a sentence.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    test: ClassVar[str] = "permutation test"


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one method achieves on each of N examples.

    Attributes:
        values: bool (N,), whether the prediction is correct; number of correct predictions (N,) of each example; or outputs
            (N, C) of a regression model.
        counts: (N,), number of predictions of each example, if there are several.
        expected: (N, C), labels of a regression model, or the outputs of the unpruned model.
        unpruned: (N, C), outputs of the unpruned model, for regression.
    """

    values: np.ndarray
    counts: np.ndarray | None = None
    expected: np.ndarray | None = None
    unpruned: np.ndarray | None = None


def token_test(correct_a, correct_b, counts) -> PairedTest:
    """Compare the accuracies of two methods that have several predictions for each of N examples.

    Args:
        correct_a: (N,), number of correct predictions of each example under the first method.
        correct_b: (N,), the same for the second method, in the same order.
        counts: (N,), number of predictions of each example.

    Returns:
        The difference of the shares of correct predictions, with its 95% bootstrap CI over examples (percentiles), and the
        p-value of a permutation test that swaps the methods within examples.

    Raises:
        HeadPruneError: if the arrays are empty or of different lengths, or if there is no prediction.
    """
    a, b, counts = (np.asarray(some, float) for some in (correct_a, correct_b, counts))
    if not a.shape == b.shape == counts.shape or a.ndim != 1 or not counts.sum() > 0:
        raise HeadPruneError(
            "correct_a, correct_b and counts must be three arrays of one length with at least one prediction, got shapes "
            f"{a.shape}, {b.shape} and {counts.shape}"
        )
    differences, n = a - b, len(a)
    sums = differences.sum() - 2 * np.concatenate([swapped @ differences for swapped in _swaps(n)])
    resampled = _resampled([Outcomes(a, counts), Outcomes(b, counts)])
    low, high = np.nanquantile(resampled[:, 0] - resampled[:, 1], [0.025, 0.975])
    return PairedTest(float(sums[0] / counts.sum()), float(low), float(high), _p_value(sums), n)


def correlation_test(first: np.ndarray, second: np.ndarray, expected: np.ndarray, unpruned: np.ndarray) -> PairedTest:
    """Compare the correlations of two regression models with the same numbers.

    The permutation test swaps the outputs of the models within examples, after they are standardized, which leaves each
    correlation as it is.

    Args:
        first: (N, C), outputs of the first model.
        second: (N, C), outputs of the second model.
        expected: (N, C), labels, or outputs of the unpruned model.
        unpruned: (N, C), outputs of the unpruned model, which say when outputs are constant.

    Returns:
        The first correlation minus the second (means over outputs), with its 95% bootstrap CI and the p-value.
    """
    difference, low, high = correlation_difference(first, second, expected, unpruned)
    a, b = (_standardized(some, unpruned) for some in (first, second))
    y = expected - expected.mean(0)
    y = y / np.maximum(np.linalg.norm(y, axis=0), np.finfo(float).tiny)
    differences = np.zeros(0)
    for swapped in _swaps(len(first)):
        gains = [swapped @ some for some in (b - a, b * b - a * a, (b - a) * y)]  # what the first model gains by swaps
        parts = [(a.sum(0), (a * a).sum(0), (a * y).sum(0), 1), (b.sum(0), (b * b).sum(0), (b * y).sum(0), -1)]
        r = [
            _correlation(len(first), *(total + sign * gain for total, gain in zip(totals, gains, strict=True)))
            for *totals, sign in parts
        ]
        differences = np.concatenate([differences, (r[0] - r[1]).mean(1)])
    return PairedTest(difference, low, high, _p_value(differences), len(first))


def difference_from_mean(first: Outcomes, others: Sequence[Outcomes]) -> tuple[float, float, float]:
    """Compare a method with the mean of several others on the same examples, such as random masks.

    Args:
        first: outcomes of the method.
        others: outcomes of the others.

    Returns:
        The measure of the method minus the mean measure of the others, and its 95% bootstrap CI over examples (low, high).
    """
    together = [first, *others]
    value, *rest = _measured(together)
    resampled = _resampled(together)
    differences = resampled[:, 0] - resampled[:, 1:].mean(1)
    low, high = np.nanquantile(differences, [0.025, 0.975]) if np.isfinite(differences).any() else (np.nan, np.nan)
    found = np.round([value - np.mean(rest), low, high], 12) + 0.0  # no rounding error gives a sign to 0
    return tuple(found.tolist())


def _measured(outcomes: Sequence[Outcomes]) -> np.ndarray:
    """The measure (K,) of each of K methods: accuracy, or correlation."""
    values, one = np.stack([some.values for some in outcomes]).astype(float), outcomes[0]
    if one.expected is not None:
        return correlations(values, one.expected, one.unpruned)
    return values.mean(1) if one.counts is None else values.sum(1) / one.counts.sum()


def _resampled(outcomes: Sequence[Outcomes]) -> np.ndarray:
    """The measures (B, K) of K methods on B bootstrap resamples of the examples; nan where a resample has no value."""
    one, weights = outcomes[0], _weights(len(outcomes[0].values))
    if one.expected is None:
        total = weights @ (np.ones(weights.shape[1]) if one.counts is None else one.counts)
        values = np.stack([some.values for some in outcomes], axis=1).astype(float)
        return (weights @ values) / np.where(total > 0, total, np.nan)[:, None]
    x = np.stack([_standardized(some.values, one.unpruned) for some in outcomes], axis=1)  # (N, K, C)
    y = _standardized(one.expected, np.zeros_like(one.expected))[:, None]

    def mean(some: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, some, 1)

    spread_x, spread_y = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2
    together, known = mean(x * y) - mean(x) * mean(y), spread_y > 1e-12
    size = np.sqrt(np.maximum(spread_x, 0.0) * np.maximum(spread_y, 0.0))
    r = np.divide(together, size, out=np.zeros_like(together), where=(spread_x > 1e-12) & known)
    return np.where(known, r, np.nan).mean(2)


_weights = lru_cache(maxsize=1)(resampling_weights)  # (B, N)


def _swaps(n: int) -> Iterator[np.ndarray]:
    """Yield blocks (B, N) of zeros and ones, 1 = swapped: all patterns, or SWAPS of them; the first swaps nothing."""
    if 2**n <= SWAPS:
        yield (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
        return
    generator, block = np.random.default_rng(0), 512
    for start in range(0, SWAPS, block):
        swapped = generator.integers(0, 2, (block, n)).astype(float)
        swapped[0] *= start > 0
        yield swapped


def _p_value(differences: np.ndarray) -> float:
    """The share of patterns whose difference is at least as large as that without swaps, which is the first."""
    sizes = np.abs(differences)
    return float((sizes >= sizes[0] - 1e-9 * max(1.0, sizes[0])).mean())


def _standardized(outputs: np.ndarray, unpruned: np.ndarray) -> np.ndarray:
    """Outputs (N, C) with mean 0 and variance 1; 0 for constant ones, as in `correlations`."""
    spread = outputs.std(0)
    varies = spread > CONSTANT * unpruned.std(0)
    return (outputs - outputs.mean(0)) * varies / np.where(varies, spread, 1.0)


def _correlation(n: int, x: np.ndarray, xx: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Pearson's r from sums (B, C) of x, x squared and x times y, if y has mean 0 and norm 1."""
    spread = np.maximum(xx - x * x / n, 0.0)
    return np.divide(xy, np.sqrt(spread), out=np.zeros_like(xy), where=spread > 1e-12 * n)
