"""Do importance and entropy say different things? The orthogonality check of arXiv 2510.13832.

The correlation of HIS~ and AE~ over all heads. This is about the scores themselves; the paper's Lemma 4.3 speaks of their
gradients, which is another statement. |r| > 0.7 means redundant signals, and little to gain from HIES.
"""

from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError

from .bootstrap import percentiles, resampled_means
from .correlation import kendall, pearson, spearman
from .hies import min_max

REDUNDANT = 0.7
RESAMPLES = 1000
PERMUTATIONS = 2000


@dataclass(frozen=True)
class Orthogonality:
    """Correlations of HIS~ and AE~ over heads.

    pearson, spearman, kendall: over all heads. ci, spearman_ci, kendall_ci: their 95 % bootstrap intervals over examples,
    from the same draws, (nan, nan) where only means were given. p_value: two-sided, by permutation, of Pearson. per_row
    (R,): Pearson within each row, nan where a row is constant. redundant: |pearson| > 0.7.
    """

    pearson: float
    spearman: float
    kendall: float
    ci: tuple[float, float]
    spearman_ci: tuple[float, float]
    kendall_ci: tuple[float, float]
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
    """Correlate HIS and AE, each (R, H), or per example (N, R, H) for bootstrap intervals over examples.

    The permutation test shuffles heads within their row where scaling is per layer, over all heads where it is global.
    """
    his, ae = np.asarray(his, float), np.asarray(ae, float)
    if his.shape != ae.shape or his.ndim not in (2, 3):
        raise HeadPruneError(f"HIS has shape {his.shape} and AE {ae.shape}; expected (R, H), or (N, R, H) for both")
    resample_indices = None
    if his.ndim == 3:
        resample_indices = tuple(_flat(resampled_means(values, RESAMPLES, seed), normalize) for values in (his, ae))
        his, ae = his.mean(0), ae.mean(0)
    u, v = min_max(his, normalize), min_max(ae, normalize)
    flat = u.ravel(), v.ravel()
    r = float(pearson(*flat))
    return Orthogonality(
        pearson=r,
        spearman=float(spearman(*flat)),
        kendall=float(kendall(*flat)),
        ci=_interval(pearson, resample_indices),
        spearman_ci=_interval(spearman, resample_indices),
        kendall_ci=_interval(kendall, resample_indices),
        p_value=_permutation(u, v, r, normalize, np.random.default_rng(seed)),
        per_row=pearson(u, v),
        redundant=abs(r) > REDUNDANT,
    )


def _flat(values: np.ndarray, normalize: str) -> np.ndarray:
    return min_max(values, normalize).reshape(len(values), -1)


def _interval(statistic, resample_indices) -> tuple[float, float]:
    """95 % percentile interval of a correlation over the draws of the examples."""
    if resample_indices is None:
        return float("nan"), float("nan")
    low, high = percentiles(statistic(*resample_indices))
    return float(low), float(high)


def _permutation(u, v, r, normalize, generator) -> float:
    if not np.isfinite(r):
        return float("nan")
    shape = u.shape if normalize == "layer" else (1, u.size)
    shuffled = generator.permuted(np.broadcast_to(v.reshape(shape), (PERMUTATIONS, *shape)), axis=-1)
    drawn = pearson(u.ravel(), shuffled.reshape(PERMUTATIONS, -1))
    return float((1 + (np.abs(drawn) >= abs(r) - 1e-12).sum()) / (1 + PERMUTATIONS))
