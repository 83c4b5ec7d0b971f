"""Three correlations along the last axis: of values (Pearson), of ranks (Spearman), of the order of pairs (Kendall's tau-b).

Each takes u and v (..., n), broadcast against each other, and gives (...), nan where either is constant.
"""

import numpy as np
from scipy import stats


def pearson(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pearson's r."""
    u, v = u - u.mean(-1, keepdims=True), v - v.mean(-1, keepdims=True)
    length = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
    return np.where(length > 1e-12, (u * v).sum(-1) / np.where(length > 1e-12, length, 1.0), np.nan)


def spearman(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Spearman's rho: Pearson's r of the ranks, equal values sharing the mean of theirs."""
    return pearson(stats.rankdata(u, axis=-1), stats.rankdata(v, axis=-1))


def kendall(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Kendall's tau-b: pairs in the same order less pairs in opposite order, over the pairs that are not tied."""
    u, v = np.broadcast_arrays(u, v)
    pairs = zip(u.reshape(-1, u.shape[-1]), v.reshape(-1, v.shape[-1]), strict=True)
    # the p-value is not used: "asymptotic" spares the exact one, which takes longer than tau itself
    found = [stats.kendalltau(a, b, method="asymptotic").statistic for a, b in pairs]
    return np.array(found, float).reshape(u.shape[:-1])
