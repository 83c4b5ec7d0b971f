"""Do importance and entropy say different things? The orthogonality check of arXiv 2510.13832.

The correlation of HIS~ and AE~ over all heads. This is about the scores themselves; the paper's Lemma 4.3 speaks of their
gradients, which is another statement. |r| > 0.7 means redundant signals, and little to gain from HIES.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import HeadPruneError
from .hies import min_max

REDUNDANT = 0.7
RESAMPLES = 1000
PERMUTATIONS = 2000


@dataclass(frozen=True)
class Orthogonality:
    """Correlations of HIS~ and AE~ over heads.

    pearson, spearman, kendall: over all heads. ci: 95 % bootstrap interval of Pearson over examples, (nan, nan) where
    only means were given. p_value: two-sided, by permutation. per_row (R,): Pearson within each row, nan where a row is
    constant. redundant: |pearson| > 0.7.
    """

    pearson: float
    spearman: float
    kendall: float
    ci: tuple[float, float]
    p_value: float
    per_row: np.ndarray
    redundant: bool

    @property
    def verdict(self) -> str:
        """The finding in one sentence."""
        r = f"r = {self.pearson:.2f}"
        if not np.isfinite(self.pearson):
            return "One of the two scores is the same for every head, so there is nothing to correlate."
        if self.redundant:
            return f"Redundant: importance and entropy rank heads alike ({r}), so there is little to gain from mixing them."
        if abs(self.pearson) > 0.3:
            return f"Partly overlapping: the two share some information ({r}), but each still adds its own."
        return f"Close to orthogonal: importance and entropy say different things about a head ({r}), so mixing can help."


def orthogonality(his, ae, *, normalize: str = "layer", seed: int = 0) -> Orthogonality:
    """Correlate HIS and AE, each (R, H), or per example (N, R, H) for a bootstrap interval over examples.

    The permutation test shuffles heads within their row where scaling is per layer, over all heads where it is global.
    """
    his, ae = np.asarray(his, float), np.asarray(ae, float)
    if his.shape != ae.shape or his.ndim not in (2, 3):
        raise HeadPruneError(f"HIS has shape {his.shape} and AE {ae.shape}; expected (R, H), or (N, R, H) for both")
    generator = np.random.default_rng(seed)
    ci = (float("nan"), float("nan"))
    if his.ndim == 3:
        ci = _bootstrap(his, ae, normalize, generator)
        his, ae = his.mean(0), ae.mean(0)
    u, v = min_max(his, normalize), min_max(ae, normalize)
    r = float(pearson(u.ravel(), v.ravel()))
    return Orthogonality(
        pearson=r,
        spearman=_rank(stats.spearmanr, u, v),
        kendall=_rank(stats.kendalltau, u, v),
        ci=ci,
        p_value=_permutation(u, v, r, normalize, generator),
        per_row=pearson(u, v),
        redundant=abs(r) > REDUNDANT,
    )


def pearson(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pearson's r along the last axis; nan where either is constant."""
    u, v = u - u.mean(-1, keepdims=True), v - v.mean(-1, keepdims=True)
    length = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
    return np.where(length > 1e-12, (u * v).sum(-1) / np.where(length > 1e-12, length, 1.0), np.nan)


def _rank(statistic, u, v) -> float:
    if np.ptp(u) == 0 or np.ptp(v) == 0:
        return float("nan")
    return float(statistic(u.ravel(), v.ravel()).statistic)


def _bootstrap(his, ae, normalize, generator) -> tuple[float, float]:
    """95 % percentile interval of Pearson's r with the examples drawn anew."""
    n = len(his)
    weights = generator.multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) / n
    u, v = (min_max(np.tensordot(weights, s, 1), normalize).reshape(RESAMPLES, -1) for s in (his, ae))
    drawn = pearson(u, v)
    if np.isnan(drawn).any():
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _permutation(u, v, r, normalize, generator) -> float:
    if not np.isfinite(r):
        return float("nan")
    shape = u.shape if normalize == "layer" else (1, u.size)
    shuffled = generator.permuted(np.broadcast_to(v.reshape(shape), (PERMUTATIONS, *shape)), axis=-1)
    drawn = pearson(u.ravel(), shuffled.reshape(PERMUTATIONS, -1))
    return float((1 + (np.abs(drawn) >= abs(r) - 1e-12).sum()) / (1 + PERMUTATIONS))
