"""Pearson, Spearman and Kendall correlations along the last axis, and the correlation of two values over heads.

The first three functions take u and v (..., n), broadcast against each other, and return (...), nan if either is constant.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_HEADS = 3  # for a correlation over heads
RESAMPLES, PERMUTATIONS = 1000, 2000


def pearson(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute Pearson's r of u and v (..., n) along the last axis."""
    u, v = u - u.mean(-1, keepdims=True), v - v.mean(-1, keepdims=True)
    length = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
    return np.where(length > 1e-12, (u * v).sum(-1) / np.where(length > 1e-12, length, 1.0), np.nan)


def spearman(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute Spearman's rho, Pearson's r of the ranks; ties share the mean of their ranks."""
    return pearson(stats.rankdata(u, axis=-1), stats.rankdata(v, axis=-1))


def kendall(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute Kendall's tau-b: concordant minus discordant pairs as a share of untied pairs."""
    # The p-value is not used; "asymptotic" avoids the exact one, which takes longer than tau itself.
    return np.asarray(stats.kendalltau(*np.broadcast_arrays(u, v), axis=-1, method="asymptotic").statistic, float)


@dataclass(frozen=True)
class Association:
    """Correlation of two values over heads.

    Attributes:
        pearson: Pearson's r.
        pearson_ci: Its 95% bootstrap CI over heads (low, high).
        pearson_p: Its two-sided p-value from permutations of the heads.
        spearman: Spearman's rho.
        spearman_ci: Its 95% bootstrap CI over heads.
        spearman_p: Its two-sided p-value from permutations of the heads.
        n: Number of heads for which both values are known.
    """

    pearson: float
    pearson_ci: tuple[float, float]
    pearson_p: float
    spearman: float
    spearman_ci: tuple[float, float]
    spearman_p: float
    n: int

    @property
    def text(self) -> str:
        """The result in one sentence."""
        if not np.isfinite(self.pearson):
            reason = "fewer than 3 heads have both values" if self.n < MIN_HEADS else "one value is the same for every head"
            return f"The correlation is undefined, because {reason}."
        parts = [
            f"{name} = {value:.2f} (95% CI {low:.2f} to {high:.2f}, {format_p(p)})"
            for name, value, (low, high), p in (
                ("Pearson r", self.pearson, self.pearson_ci, self.pearson_p),
                ("Spearman ρ", self.spearman, self.spearman_ci, self.spearman_p),
            )
        ]
        return f"{parts[0]}; {parts[1]}; n = {self.n:,} heads."


def association(u: np.ndarray, v: np.ndarray, *, seed: int = 0) -> Association:
    """Compute the correlation of two values over heads, with intervals and p-values.

    Heads count as independent, which they are not if the heads of one layer are alike.

    Args:
        u: Values of any shape; heads with nan in either are left out.
        v: Values of the same shape.
        seed: Seed of the 1,000 resamples and 2,000 permutations.

    Returns:
        The correlations; nan for fewer than 3 heads or constant values.
    """
    u, v = np.ravel(u).astype(float), np.ravel(v).astype(float)
    known = np.isfinite(u) & np.isfinite(v)
    u, v, generator = u[known], v[known], np.random.default_rng(seed)
    n, nothing = len(u), float("nan")
    if n < MIN_HEADS or not np.isfinite(pearson(u, v)):
        return Association(nothing, (nothing,) * 2, nothing, nothing, (nothing,) * 2, nothing, n)
    sample = generator.integers(0, n, (RESAMPLES, n))
    shuffled = generator.permuted(np.broadcast_to(v, (PERMUTATIONS, n)), axis=1)
    found = []
    for measure in (pearson, spearman):
        value, resampled = float(measure(u, v)), measure(u[sample], v[sample])
        low, high = np.nanquantile(resampled, [0.025, 0.975])  # nan where a resample is constant
        extreme = (np.abs(measure(u, shuffled)) >= abs(value) - 1e-12).sum()
        found += [value, (float(low), float(high)), float((1 + extreme) / (1 + PERMUTATIONS))]
    return Association(*found, n)


def format_p(value: float) -> str:
    """Return a p-value in a sentence, as in "p = 0.012" or "p < 0.001"."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
