"""Measures of predictions: their names and number formats, and the ones that are no share of correct predictions.

A correlation with constant outputs, which is undefined, counts as 0, because such outputs say nothing about the labels.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata

NAMES = {  # within a sentence; other measures are called by their key
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "correlation": "correlation with the unpruned model",
    "micro_f1": "micro F1",
    "entity_f1": "entity F1",
}
SHARES = ("accuracy", "agreement")  # shown in percent, their differences in percentage points
RESAMPLES = 1000  # of the bootstrap over examples
CONSTANT = (
    1e-4  # outputs whose standard deviation is this share of the unpruned model's or less vary by rounding errors only
)


@dataclass(frozen=True, eq=False)
class Measured:
    """One measure of M masks.

    Attributes:
        name: "accuracy", "agreement", "pearson" or "correlation".
        value: (M,).
        low: (M,), lower bound of the 95% CI: Wilson's for a share, else a bootstrap over examples.
        high: (M,), upper bound of that interval.
    """

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def sentence_name(name: str) -> str:
    """Return the name of a measure within a sentence."""
    return NAMES.get(name, name)


def measure_label(name: str) -> str:
    """Return the name of a measure at the beginning of a sentence."""
    text = sentence_name(name)
    return text[0].upper() + text[1:]


def format_value(name: str, value: float) -> str:
    """Format a value of a measure: percent for a share, else three decimals."""
    if not np.isfinite(value):
        return "undefined"
    return f"{value:.1%}" if name in SHARES else f"{value:.3f}"


def format_difference(name: str, difference: float) -> str:
    """Format a difference of two values with its sign: percentage points for shares, else three decimals."""
    if not np.isfinite(difference):
        return "undefined"
    return f"{100 * difference:+.1f} pp" if name in SHARES else f"{difference:+.3f}"


def wilson(successes, trials: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's score interval of proportions.

    Args:
        successes: number or array of successes.
        trials: number of trials.
        confidence: level of the interval, 0 to 1.

    Returns:
        (low, high), each of the shape of `successes`, 0 to 1.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = np.asarray(successes, float) / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return np.clip(middle - reach, 0.0, 1.0), np.clip(middle + reach, 0.0, 1.0)


def correlations(outputs: np.ndarray, expected: np.ndarray, unpruned: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation over examples, mean over outputs.

    Args:
        outputs: (M, N, C), of M masks.
        expected: (N, C), labels or the outputs of the unpruned model.
        unpruned: (N, C), outputs of the unpruned model, which say when outputs are constant.

    Returns:
        (M,), 0 for constant outputs; nan if `expected` is constant.
    """
    n = outputs.shape[1]
    return _weighted_correlations(outputs, expected, unpruned, np.full((1, n), 1.0 / n))[0]


def spearman(outputs: np.ndarray, expected: np.ndarray, unpruned: np.ndarray) -> np.ndarray:
    """Compute Spearman's correlation over examples, mean over outputs.

    Args:
        outputs: (M, N, C), of M masks.
        expected: (N, C), labels.
        unpruned: (N, C), outputs of the unpruned model.

    Returns:
        (M,), 0 for constant outputs; nan if `expected` is constant.
    """
    varies = _varies(outputs, unpruned)[:, None]
    ranks = np.where(varies, rankdata(outputs, axis=1), 0.0)
    return correlations(ranks, rankdata(expected, axis=0), rankdata(unpruned, axis=0))


def correlation_interval(outputs: np.ndarray, expected: np.ndarray, unpruned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the 95% bootstrap CI of `correlations` over examples (percentiles).

    Args:
        outputs: (M, N, C), of M masks.
        expected: (N, C), labels or the outputs of the unpruned model.
        unpruned: (N, C), outputs of the unpruned model.

    Returns:
        (low, high), each (M,).
    """
    return _percentiles(_weighted_correlations(outputs, expected, unpruned, resampling_weights(outputs.shape[1])))


def correlation_difference(
    first: np.ndarray, second: np.ndarray, expected: np.ndarray, unpruned: np.ndarray
) -> tuple[float, float, float]:
    """Compare the correlations of two models on the same examples, by a paired bootstrap over examples.

    Args:
        first: (N, C), outputs of the first model.
        second: (N, C), outputs of the second model.
        expected: (N, C), labels.
        unpruned: (N, C), outputs of the unpruned model.

    Returns:
        The first correlation minus the second, and its 95% bootstrap CI (low, high).
    """
    both = np.stack([first, second])
    a, b = correlations(both, expected, unpruned)
    resampled = _weighted_correlations(both, expected, unpruned, resampling_weights(len(first)))
    low, high = _percentiles(resampled[:, 0] - resampled[:, 1])
    return float(a - b), float(low), float(high)


def resampling_weights(n: int) -> np.ndarray:
    """Return the weights (B, N) of N examples in B bootstrap resamples; each row sums to 1."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) / n


def micro_f1(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute F1 over all pairs of an example and a label.

    Args:
        predicted: bool (M, N, C), of M masks.
        labels: bool (N, C).

    Returns:
        (M,); nan if no label is expected and none is predicted.
    """
    hits, total = (predicted & labels).sum((1, 2)), predicted.sum((1, 2)) + labels.sum()
    return f1(hits, total)


def f1(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return F1 = 2 hits / total, where total counts the predicted and the expected; nan if total is 0."""
    return np.divide(2.0 * hits, total, out=np.full(np.shape(hits), np.nan), where=np.asarray(total) > 0)


def _percentiles(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95% interval over the first axis; nan where a resample has no value."""
    known = np.isfinite(resampled)
    usable = known.mean(0) > 0.5  # a resample of few examples may have equal labels
    filled = np.where(known, resampled, np.nan)
    low, high = np.nanquantile(np.where(usable, filled, 0.0), [0.025, 0.975], axis=0)
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def _varies(outputs: np.ndarray, unpruned: np.ndarray) -> np.ndarray:
    """Which outputs (M, C) differ between examples by more than rounding errors."""
    return outputs.std(1) > CONSTANT * unpruned.std(0)


def _weighted_correlations(outputs, expected, unpruned, weights: np.ndarray) -> np.ndarray:
    """Correlations (B, M) under the weights (B, N) of B resamples."""
    varies = _varies(outputs, unpruned)
    found = []
    for c in range(outputs.shape[2]):
        x, y = outputs[:, :, c], expected[:, c]
        x, y = x - x.mean(1, keepdims=True), y - y.mean()  # smaller numbers, smaller rounding errors
        mean_x, mean_y = weights @ x.T, (weights @ y)[:, None]
        spread_x = np.maximum(weights @ (x * x).T - mean_x**2, 0.0)
        spread_y = np.maximum((weights @ (y * y))[:, None] - mean_y**2, 0.0)
        together = weights @ (x * y).T - mean_x * mean_y
        size = np.sqrt(spread_x * spread_y)
        r = np.divide(together, size, out=np.zeros_like(size), where=varies[:, c] & (size > 0))
        constant_labels = spread_y <= 1e-12 * max(float(np.square(y).mean()), 1e-300)
        found.append(np.where(constant_labels, np.nan, np.clip(r, -1.0, 1.0)))
    return np.mean(found, axis=0)
