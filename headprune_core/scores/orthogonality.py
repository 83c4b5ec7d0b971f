"""Correlation of scaled importance (HIS~) and entropy (AE~) over all heads: the orthogonality check of arXiv 2510.13832.

These are correlations of the scores. Lemma 4.3 of the paper is about the gradients of the two scores, which is a different
claim. |r| > 0.7 means that the two are redundant, so that HIES is unlikely to improve on either.
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
    """Correlations of scaled importance and scaled entropy over heads.

    Attributes:
        pearson: Pearson's r over all heads.
        spearman: Spearman's rho over all heads.
        kendall: Kendall's tau-b over all heads.
        ci: 95% bootstrap CI of Pearson's r over examples; (nan, nan) if only mean scores are known.
        spearman_ci: The same for Spearman's rho, from the same resamples.
        kendall_ci: The same for Kendall's tau-b, from the same resamples.
        p_value: Two-sided permutation p-value of Pearson's r.
        per_row: (R,) Pearson's r within each row; nan if a row is constant.
        redundant: Whether |pearson| > 0.7.
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
        """The result in one sentence."""
        r = f"r = {self.pearson:.2f}"
        if not np.isfinite(self.pearson):
            return "One score is constant across heads, so the correlation is undefined."
        if self.redundant:
            return (
                f"Redundant ({r}): importance and entropy carry similar information, so combining them is unlikely to help."
            )
        if abs(self.pearson) > 0.3:
            return f"Partly correlated ({r}): importance and entropy share some information, but each adds its own."
        return f"Nearly uncorrelated ({r}): importance and entropy carry different information, so combining them may help."


def orthogonality(his, ae, *, normalize: str = "layer", seed: int = 0) -> Orthogonality:
    """Compute the correlations of importance and entropy over heads.

    Args:
        his: (R, H) head importance scores, or (N, R, H) per example for bootstrap CIs over examples.
        ae: Attention entropies of the same shape.
        normalize: "layer" or "global", as in `hies`. The permutation test shuffles heads within their row for "layer", and
            over all heads for "global".
        seed: Seed of the resamples and permutations.

    Returns:
        The correlations.

    Raises:
        HeadPruneError: If the shapes are invalid or a score is not finite.
    """
    his, ae = np.asarray(his, float), np.asarray(ae, float)
    if his.shape != ae.shape or his.ndim not in (2, 3):
        raise HeadPruneError(f"his and ae must both have shape (R, H) or (N, R, H), got {his.shape} and {ae.shape}")
    resamples = None
    if his.ndim == 3:
        resamples = tuple(_flat(resampled_means(values, RESAMPLES, seed), normalize) for values in (his, ae))
        his, ae = his.mean(0), ae.mean(0)
    u, v = min_max(his, normalize), min_max(ae, normalize)
    flat = u.ravel(), v.ravel()
    r = float(pearson(*flat))
    return Orthogonality(
        pearson=r,
        spearman=float(spearman(*flat)),
        kendall=float(kendall(*flat)),
        ci=_interval(pearson, resamples),
        spearman_ci=_interval(spearman, resamples),
        kendall_ci=_interval(kendall, resamples),
        p_value=_permutation_p_value(u, v, r, normalize, np.random.default_rng(seed)),
        per_row=pearson(u, v),
        redundant=abs(r) > REDUNDANT,
    )


def _flat(values: np.ndarray, normalize: str) -> np.ndarray:
    return min_max(values, normalize).reshape(len(values), -1)


def _interval(statistic, resamples) -> tuple[float, float]:
    """Compute the 95% percentile interval of a correlation over the resamples of the examples."""
    if resamples is None:
        return float("nan"), float("nan")
    low, high = percentiles(statistic(*resamples))
    return float(low), float(high)


def _permutation_p_value(u, v, r, normalize, generator) -> float:
    if not np.isfinite(r):
        return float("nan")
    shape = u.shape if normalize == "layer" else (1, u.size)
    shuffled = generator.permuted(np.broadcast_to(v.reshape(shape), (PERMUTATIONS, *shape)), axis=-1)
    correlations = pearson(u.ravel(), shuffled.reshape(PERMUTATIONS, -1))
    return float((1 + (np.abs(correlations) >= abs(r) - 1e-12).sum()) / (1 + PERMUTATIONS))
