"""Pearson, Spearman and Kendall correlations along the last axis.

Each function takes u and v (..., n), broadcast against each other, and returns (...), nan if either of the two is constant.
"""

import numpy as np
from scipy import stats


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
