"""Paired tests of two methods on the same examples.

McNemar's exact test (McNemar 1947) with Newcombe's interval for the difference of paired proportions (Statistics in Medicine
17, 2635-2650, 1998, method 10), and Holm's correction (1979) if several methods are compared with one. If an example has
several predictions (tokens), its share of correct ones is compared by a bootstrap over examples. More than two methods at
once are left to `alpha_choice.cochran`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from headprune_core.data.measures import wilson
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import method_label

PAIRED = ["method", "difference", "low", "high", "b", "c", "p_value", "p_holm"]
SIGNIFICANCE_LEVEL = 0.05  # of every test in this package


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's exact test of two methods on the same examples.

    Attributes:
        b: number of examples that only the first method classifies correctly.
        c: number of examples that only the second method classifies correctly.
        p_value: exact, two-sided.
        difference: accuracy of the first method minus that of the second.
        low: lower bound of the 95% CI (Newcombe) of the difference.
        high: upper bound of that interval.
    """

    b: int
    c: int
    p_value: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class ShareDifference:
    """Mean difference of per-example shares between two methods, with a bootstrap interval.

    Attributes:
        difference: mean over examples of the first method's share minus the second's.
        low: lower bound of the 95% bootstrap CI.
        high: upper bound of that interval.
    """

    difference: float
    low: float
    high: float


def mcnemar(right_a, right_b) -> McNemar:
    """Compare two methods on the same N examples with McNemar's exact test.

    Args:
        right_a: bool (N,), True for the examples that the first method classifies correctly.
        right_b: bool (N,), the same for the second method, in the same order.

    Returns:
        The discordant counts, the exact two-sided p-value, and the difference of accuracies with its 95% CI.

    Raises:
        HeadPruneError: if the arrays are not bool, empty, or of different lengths.
    """
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0 or a.dtype != bool or b.dtype != bool:
        raise HeadPruneError(
            "right_a and right_b must be two bool arrays of one length, got shapes "
            f"{a.shape} and {b.shape}, types {a.dtype} and {b.dtype}"
        )
    first, second = int((a & ~b).sum()), int((~a & b).sum())
    p_value = binomtest(first, first + second).pvalue if first + second else 1.0
    low, high = _difference_interval(int((a & b).sum()), first, second, int((~a & ~b).sum()))
    return McNemar(first, second, float(p_value), (first - second) / a.size, low, high)


def share_difference(share_a, share_b, *, resamples: int = 2000, seed: int = 0) -> ShareDifference:
    """Compare two methods by the share of correct predictions of each of N examples.

    Args:
        share_a: (N,), 0 to 1, under the first method. Every example has the same weight.
        share_b: (N,), the same for the second method, in the same order.
        resamples: number of bootstrap resamples of the examples.
        seed: of the resampling.

    Returns:
        The mean difference with its 95% bootstrap CI (percentiles).

    Raises:
        HeadPruneError: if the arrays are empty or of different lengths.
    """
    a, b = np.asarray(share_a, float), np.asarray(share_b, float)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise HeadPruneError(f"share_a and share_b must be two arrays of one length, got shapes {a.shape} and {b.shape}")
    differences = a - b
    generator, count = np.random.default_rng(seed), len(differences)
    resampled = [differences[generator.integers(0, count, count)].mean() for _ in range(resamples)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return ShareDifference(float(differences.mean()), float(low), float(high))


def is_significant(test: McNemar | ShareDifference) -> bool:
    """Return True if a paired difference is significant at the 5% level.

    Args:
        test: a result of `mcnemar` or `share_difference`.

    Returns:
        Whether the 95% CI excludes 0 and, if available, McNemar's exact p-value is below 0.05.
    """
    excludes_zero = bool(test.low > 0 or test.high < 0)
    return excludes_zero and (not isinstance(test, McNemar) or test.p_value < SIGNIFICANCE_LEVEL)


def why_not_significant(test: McNemar | ShareDifference) -> str:
    """Return the reason why a paired difference is not significant at the 5% level.

    Args:
        test: a result of `mcnemar` or `share_difference`.

    Returns:
        A sentence without its period; empty if the difference is significant.
    """
    if is_significant(test):
        return ""
    if test.low > 0 or test.high < 0:
        return (
            f"The 95% CI excludes 0, but the exact McNemar test is not significant at the 5% level (p = {test.p_value:.3f})"
        )
    return "The 95% CI includes 0"


def significance_text(test: McNemar | ShareDifference) -> str:
    """Return the end of a sentence that states whether a difference is significant.

    Args:
        test: a result of `mcnemar` or `share_difference`.

    Returns:
        "significant at the 5% level" or "not significant at the 5% level"; the sentence around it states p and n.
    """
    return f"{'' if is_significant(test) else 'not '}significant at the 5% level"


def format_p(p_value: float) -> str:
    """Format a p-value with two significant digits.

    Args:
        p_value: 0 to 1.

    Returns:
        Text such as "p = 0.034" or "p < 0.001".
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def paired(curves: pd.DataFrame, right, sparsity: float, against: str = "his") -> pd.DataFrame:
    """Compare every method with one reference method on the same examples, at a measured sparsity.

    Random rankings are left out: they are many, and `compare_with_random` compares with their range.

    Args:
        curves: frame of `measure_curves`.
        right: bool (rows of `curves`, N), correct predictions, in the order of the rows.
        sparsity: one of the measured sparsities, 0 to 1.
        against: the reference method.

    Returns:
        A frame with the columns method; difference (of accuracy, above 0 if the method is better than the reference), low,
        high (95% CI, Newcombe); b, c and p_value as in `McNemar`; p_holm: p_value after Holm's correction for the number of
        methods.

    Raises:
        HeadPruneError: if there are no per-example predictions, or if the sparsity or reference was not measured.
    """
    if right is None:
        raise HeadPruneError("these curves have no per-example predictions; compute them with measure_curves")
    right = np.asarray(right)
    if right.ndim != 2 or len(right) != len(curves):
        raise HeadPruneError(
            f"right must have shape ({len(curves)}, N), one row for each row of the curves, got {right.shape}"
        )
    at = np.isclose(curves.sparsity.to_numpy(float), sparsity)
    if not at.any():
        measured = ", ".join(f"{value:g}" for value in sorted(curves.sparsity.unique()))
        raise HeadPruneError(f"sparsity must be one of the measured values {measured}, got {sparsity:g}")
    methods = curves.method.to_numpy()
    position = {method: int(np.flatnonzero(at & (methods == method))[0]) for method in dict.fromkeys(methods[at])}
    if against not in position or against == "random":
        available = ", ".join(method for method in position if method != "random")
        raise HeadPruneError(f"against must be one of {available or '(no method measured)'}, got {method_label(against)}")
    others = [method for method in position if method not in (against, "random")]
    tests = [mcnemar(right[position[method]], right[position[against]]) for method in others]
    rows = [(m, t.difference, t.low, t.high, t.b, t.c, t.p_value) for m, t in zip(others, tests, strict=True)]
    table = pd.DataFrame(rows, columns=PAIRED[:-1])
    return table.assign(p_holm=holm(table.p_value))


def holm(p_values) -> np.ndarray:
    """Return Holm-corrected p-values.

    Args:
        p_values: (m,), uncorrected.

    Returns:
        (m,): the k-th smallest p times m - k + 1, at least the corrected values of all smaller ones, at most 1 (Holm 1979).
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)), 1.0)
    return corrected


def _difference_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Newcombe's method 10 for (first - second) / N."""
    n = both + first + second + neither
    share_a, share_b = (both + first) / n, (both + second) / n
    low, high = wilson([both + first, both + second], n)
    down_a, down_b, up_a, up_b = share_a - low[0], share_b - low[1], high[0] - share_a, high[1] - share_b
    scale = np.sqrt(float(both + first) * (second + neither) * (both + second) * (first + neither))
    together = both * neither - first * second
    together = max(together - n / 2, 0.0) if together > 0 else together  # Newcombe's continuity correction
    phi = together / scale if scale > 0 else 0.0
    difference = share_a - share_b
    below = np.sqrt(max(down_a**2 - 2 * phi * down_a * up_b + up_b**2, 0.0))
    above = np.sqrt(max(down_b**2 - 2 * phi * down_b * up_a + up_a**2, 0.0))
    return float(max(difference - below, -1.0)), float(min(difference + above, 1.0))
