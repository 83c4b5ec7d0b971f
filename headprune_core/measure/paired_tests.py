"""Two methods on the same texts: is one right more often than chance could have it?

b texts are right under the first alone, c under the second alone; the others say nothing. Exact McNemar test: b of b + c
is a fair coin's (McNemar 1947). The difference (b - c) / N has Newcombe's interval for paired proportions, from the Wilson
intervals of the two shares and their correlation (Newcombe, Statistics in Medicine 17, 2635-2650, 1998, method 10). Several
methods against one: Holm's correction (1979), which holds whatever the tests have to do with each other. Where a text has
many answers (tokens are predicted) its share of right ones is compared instead, by a bootstrap over texts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import method_label

from .curves import wilson

PAIRED = ["method", "difference", "low", "high", "b", "c", "p_value", "p_holm"]
LEVEL = 0.05  # of the exact test


@dataclass(frozen=True)
class McNemar:
    """Two methods' answers to the same texts.

    b, c: texts right under the first (second) alone. p_value: exact, two-sided. difference: share right under the first less
    that under the second; low, high: its 95 % interval.
    """

    b: int
    c: int
    p_value: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class ShareDifference:
    """The mean over texts of a share under one method less that under another, and its 95 % bootstrap interval."""

    difference: float
    low: float
    high: float


def mcnemar(right_a, right_b) -> McNemar:
    """Compare two methods by which of N texts each gets right, both bool (N,), in the same order."""
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0 or a.dtype != bool or b.dtype != bool:
        raise HeadPruneError(
            f"answers have shapes {a.shape} and {b.shape}, types {a.dtype} and {b.dtype}; expected two bool of one length"
        )
    first, second = int((a & ~b).sum()), int((~a & b).sum())
    p_value = binomtest(first, first + second).pvalue if first + second else 1.0
    low, high = _difference_interval(int((a & b).sum()), first, second, int((~a & ~b).sum()))
    return McNemar(first, second, float(p_value), (first - second) / a.size, low, high)


def share_difference(share_a, share_b, *, resample_indices: int = 2000, seed: int = 0) -> ShareDifference:
    """Compare two methods by each text's share of right answers, both (N,) in the same order; every text counts alike."""
    a, b = np.asarray(share_a, float), np.asarray(share_b, float)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise HeadPruneError(f"shares have shapes {a.shape} and {b.shape}; expected two of one length")
    apart = a - b
    generator = np.random.default_rng(seed)
    drawn = [apart[generator.integers(0, len(apart), len(apart))].mean() for _ in range(resample_indices)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return ShareDifference(float(apart.mean()), float(low), float(high))


def shown(found: McNemar | ShareDifference) -> bool:
    """Whether a difference is more than chance gives: its 95 % interval leaves 0 out, and the exact test, which is the
    stricter of the two, agrees where there is one."""
    return bool(found.low > 0 or found.high < 0) and (not isinstance(found, McNemar) or found.p_value < LEVEL)


def doubt(found: McNemar | ShareDifference) -> str:
    """Why a difference is not shown; empty where it is."""
    if shown(found):
        return ""
    if found.low > 0 or found.high < 0:
        return f"The interval just leaves 0 out, but the exact test does not reject (p = {found.p_value:.3f})"
    return "The interval holds 0"


def verdict(found: McNemar | ShareDifference) -> str:
    """The end of a sentence on a difference: whether it is shown."""
    return "more than chance gives" if shown(found) else "not shown to be more than chance gives"


def paired(curves: pd.DataFrame, right, sparsity: float, against: str = "his") -> pd.DataFrame:
    """Every method against one of them on the same texts, at a measured sparsity.

    right: bool (lines of `curves`, N), by place. Columns: method; difference (of accuracy, above 0 where the method is
    better), low, high (95 %); b, c; p_value; p_holm: corrected for the number of methods. Random removal is left out: it is
    many orders, and its envelope says how they do.
    """
    if right is None:
        raise HeadPruneError("these curves have no answers for each text; expected those of measure_curves")
    right = np.asarray(right)
    if right.ndim != 2 or len(right) != len(curves):
        raise HeadPruneError(
            f"answers have shape {right.shape}; expected ({len(curves)}, N), one line for each of the curves"
        )
    at = np.isclose(curves.sparsity.to_numpy(float), sparsity)
    if not at.any():
        there = ", ".join(f"{value:g}" for value in sorted(curves.sparsity.unique()))
        raise HeadPruneError(f"sparsity {sparsity:g} was not measured; expected one of {there}")
    methods = curves.method.to_numpy()
    place = {method: int(np.flatnonzero(at & (methods == method))[0]) for method in dict.fromkeys(methods[at])}
    if against not in place or against == "random":
        named = ", ".join(method for method in place if method != "random")
        raise HeadPruneError(f"{method_label(against)} cannot be compared with here; expected one of {named or 'no method'}")
    others = [method for method in place if method not in (against, "random")]
    tests = [mcnemar(right[place[method]], right[place[against]]) for method in others]
    lines = [(m, t.difference, t.low, t.high, t.b, t.c, t.p_value) for m, t in zip(others, tests, strict=True)]
    table = pd.DataFrame(lines, columns=PAIRED[:-1])
    return table.assign(p_holm=holm(table.p_value))


def holm(p_values) -> np.ndarray:
    """Holm's corrected p values: the k-th smallest of m times m - k + 1, none below one before it, none above 1."""
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
    together = max(together - n / 2, 0.0) if together > 0 else together  # the correction for continuity
    phi = together / scale if scale > 0 else 0.0
    difference = share_a - share_b
    below = np.sqrt(max(down_a**2 - 2 * phi * down_a * up_b + up_b**2, 0.0))
    above = np.sqrt(max(down_b**2 - 2 * phi * down_b * up_a + up_a**2, 0.0))
    return float(max(difference - below, -1.0)), float(min(difference + above, 1.0))
