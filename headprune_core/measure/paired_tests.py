"""Paired tests of two methods on the same examples, by the kind of their predictions.

One decision per example is compared by McNemar's exact test (McNemar 1947), with Newcombe's interval for the difference of
paired proportions (Statistics in Medicine 17, 2635-2650, 1998, method 10). All others are compared by `permutation_tests`.
If several methods are compared with one, p-values have Holm's correction (1979). More than two methods at once are left to
`alpha_choice.cochran`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from headprune_core.data.measures import wilson
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import method_label

from .permutation_tests import Outcomes, PairedTest, correlation_test, difference_from_mean, token_test

PAIRED = ["method", "difference", "low", "high", "b", "c", "p_value", "p_holm"]
SIGNIFICANCE_LEVEL = 0.05  # of every test in this package
# columns of the frame of `sparsity_curves`
CHANGE, GAIN = ("change", "change_low", "change_high", "change_p"), ("gain", "gain_low", "gain_high")


@dataclass(frozen=True)
class McNemar(PairedTest):
    """Result of McNemar's exact test.

    Attributes:
        b: number of examples that only the first method classifies correctly.
        c: number of examples that only the second method classifies correctly.
    """

    b: int
    c: int
    test: ClassVar[str] = "exact McNemar test"


def compare(first: Outcomes, second: Outcomes) -> PairedTest:
    """Compare two methods by the test for their kind of predictions.

    Args:
        first: outcomes of the first method.
        second: outcomes of the second method on the same examples.

    Returns:
        The difference of accuracies (for regression of correlations), first minus second, with its 95% CI and p-value.
    """
    if first.expected is not None:
        return correlation_test(first.values, second.values, first.expected, first.unpruned)
    if first.counts is not None:
        return token_test(first.values, second.values, first.counts)
    return mcnemar(first.values, second.values)


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
    return McNemar((first - second) / a.size, low, high, float(p_value), a.size, first, second)


def is_significant(test: PairedTest) -> bool:
    """Return True if a paired difference is significant at the 5% level.

    Args:
        test: result of a paired test.

    Returns:
        Whether the 95% CI excludes 0 and the p-value is below 0.05.
    """
    return bool(test.low > 0 or test.high < 0) and test.p_value < SIGNIFICANCE_LEVEL


def why_not_significant(test: PairedTest) -> str:
    """Return the reason why a paired difference is not significant at the 5% level.

    Args:
        test: result of a paired test.

    Returns:
        A sentence without its period; empty if the difference is significant.
    """
    if is_significant(test):
        return ""
    if test.low > 0 or test.high < 0:
        return f"The 95% CI excludes 0, but the {test.test} is not significant at the 5% level (p = {test.p_value:.3f})"
    return "The 95% CI includes 0"


def significance_text(test: PairedTest) -> str:
    """Return the end of a sentence that states whether a difference is significant.

    Args:
        test: result of a paired test.

    Returns:
        "significant at the 5% level" or "not significant at the 5% level"; the sentence around it states p and n.
    """
    return f"{'' if is_significant(test) else 'not '}significant at the 5% level"


def method_text(test: PairedTest) -> str:
    """Return the test with its p-value and number of examples.

    Args:
        test: result of a paired test.

    Returns:
        Text such as "exact McNemar test, p = 0.034, n = 500".
    """
    return f"{test.test}, {format_p(test.p_value)}, n = {test.n:,}"


def format_p(p_value: float) -> str:
    """Format a p-value with two significant digits.

    Args:
        p_value: 0 to 1.

    Returns:
        Text such as "p = 0.034" or "p < 0.001".
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def paired(curves: pd.DataFrame, outcomes: Sequence[Outcomes] | None, sparsity: float, against: str = "his") -> pd.DataFrame:
    """Compare every method with one reference method on the same examples, at a measured sparsity.

    Random rankings are left out: they are many, and `compare_with_random` compares with their range.

    Args:
        curves: frame of `measure_curves`.
        outcomes: of the rows of `curves`, in their order (`Curves.outcomes`).
        sparsity: one of the measured sparsities, 0 to 1.
        against: the reference method.

    Returns:
        A frame with the columns method; difference (of the main measure, above 0 if the method is better than the
        reference), low, high (95% CI) and p_value as in `PairedTest`; b and c as in `McNemar`, else missing; p_holm: p_value
        after Holm's correction for the number of methods.

    Raises:
        HeadPruneError: if there are no per-example predictions, or if the sparsity or reference was not measured.
    """
    if outcomes is None:
        raise HeadPruneError("these curves have no per-example predictions; compute them with measure_curves")
    if len(outcomes) != len(curves):
        raise HeadPruneError(f"outcomes must be those of the {len(curves)} rows of the curves, got {len(outcomes)}")
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
    tests = [compare(outcomes[position[method]], outcomes[position[against]]) for method in others]
    table = pd.DataFrame([{"method": m, **vars(test)} for m, test in zip(others, tests, strict=True)])
    table = table.reindex(columns=PAIRED[:-1])
    return table.assign(p_holm=holm(table.p_value))


def paired_columns(curves: pd.DataFrame, outcomes: Sequence[Outcomes], unpruned: Outcomes) -> dict[str, np.ndarray]:
    """Compare every criterion with the unpruned model, and with the random rankings of the same sparsity.

    Args:
        curves: frame of `measure_curves`.
        outcomes: of its rows, in their order.
        unpruned: outcomes of the unpruned model.

    Returns:
        The columns of `sparsity_curves` on paired comparisons, missing for random rankings.
    """
    change, gain = np.full((len(CHANGE), len(curves)), np.nan), np.full((len(GAIN), len(curves)), np.nan)
    random, sparsity = (curves.method == "random").to_numpy(), curves.sparsity.to_numpy(float)
    names = np.full(len(curves), None)
    for i in np.flatnonzero(~random):
        test = compare(outcomes[i], unpruned)
        change[:, i], names[i] = (test.difference, test.low, test.high, test.p_value), test.test
        others = [outcomes[k] for k in np.flatnonzero(random & (sparsity == sparsity[i]))]
        if others:
            gain[:, i] = difference_from_mean(outcomes[i], others)
    return {**dict(zip(CHANGE, change, strict=True)), "change_test": names, **dict(zip(GAIN, gain, strict=True))}


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
