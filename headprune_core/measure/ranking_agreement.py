"""Agreement of rankings of heads: Kendall's tau-b over all heads, and overlap of the pruned heads at a sparsity.

The overlap is the Jaccard index |A and B| / |A or B| of the heads that two rankings prune; `chance_overlap` is its expected
value for random sets. Criteria are also compared with leave-one-out ablation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.scores.bootstrap import centered_interval, resample_indices, resampled_means, select_examples
from headprune_core.scores.correlation import kendall
from headprune_core.scores.head_scores import HeadScores

from .ablation import LeaveOneOut

RESAMPLES = 300


@dataclass(frozen=True)
class AgreementMatrix:
    """Pairwise agreement of K rankings.

    Attributes:
        names: names of the rankings.
        kendall: (K, K), Kendall's tau-b over all heads.
        overlap: (K, K), Jaccard index of the pruned heads; nan if none are pruned.
        removed: number of pruned heads.
        heads: number of heads.
    """

    names: tuple[str, ...]
    kendall: np.ndarray
    overlap: np.ndarray
    removed: int
    heads: int

    @property
    def chance(self) -> float:
        """Expected overlap of two random sets of the same size."""
        return chance_overlap(self.heads, self.removed)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pair, with the columns first, second, kendall and overlap."""
        first, second = np.triu_indices(len(self.names), 1)
        names = np.array(self.names)
        columns = {"first": names[first], "second": names[second]}
        return pd.DataFrame(columns | {"kendall": self.kendall[first, second], "overlap": self.overlap[first, second]})


def agreement_matrix(rankings: Mapping[str, np.ndarray], sparsity: float) -> AgreementMatrix:
    """Compare rankings in pairs.

    Args:
        rankings: (R, H) by name, lowest values are pruned first.
        sparsity: fraction of heads to prune for the overlap, 0 to 1.

    Returns:
        Kendall's tau-b and overlap of each pair.

    Raises:
        HeadPruneError: for fewer than two rankings or different shapes.
    """
    if len(rankings) < 2 or len({np.shape(ranking) for ranking in rankings.values()}) != 1:
        shapes = ", ".join(f"{name} {np.shape(ranking)}" for name, ranking in rankings.items())
        raise HeadPruneError(f"rankings must be two or more of one shape (R, H), got {shapes or 'none'}")
    values = np.stack([np.asarray(ranking, float) for ranking in rankings.values()])
    pruned = np.stack([~prune_mask(ranking, sparsity).ravel() for ranking in values]).astype(int)
    both, count = pruned @ pruned.T, pruned.sum(1)
    either = count[:, None] + count - both
    overlap = np.where(either > 0, both / np.maximum(either, 1), np.nan)
    return AgreementMatrix(tuple(rankings), _pairs(values), overlap, int(count[0]), pruned.shape[1])


def chance_overlap(heads: int, removed: int) -> float:
    """Return the expected Jaccard index of two random sets of heads.

    Args:
        heads: number of heads.
        removed: number of heads in each set.

    Returns:
        The expected value, 0 to 1; nan if the sets are empty.
    """
    if removed == 0:
        return float("nan")
    common = np.arange(removed + 1)
    return float((hypergeom(heads, removed, removed).pmf(common) * common / (2 * removed - common)).sum())


def criterion_rankings(scores: HeadScores, *, alpha: float = 0.5) -> dict[str, np.ndarray]:
    """Return the rankings of all registered criteria that depend on head scores only.

    Args:
        scores: head scores; criteria whose scores are missing are left out.
        alpha: of HIES, 0 to 1.

    Returns:
        (R, H) by name, without random criteria and those computed separately.
    """
    fixed = [c for c in CRITERIA.values() if not c.random and c.produced_by is None]
    available = [c for c in fixed if set(c.needs) <= set(scores.per_example)]
    return {c.name: np.asarray(c.rank(scores, alpha, np.random.default_rng(0)), float) for c in available}


def resampled_rankings(scores: HeadScores, *, alpha: float = 0.5, resamples: int = RESAMPLES, seed: int = 0):
    """Return the rankings of `criterion_rankings` for bootstrap resamples of the examples.

    Args:
        scores: head scores.
        alpha: of HIES, 0 to 1.
        resamples: number of resamples B.
        seed: of the resampling.

    Returns:
        (B, R, H) by name.
    """
    count = len(next(iter(scores.per_example.values())))
    samples = (select_examples(scores, index) for index in resample_indices(count, resamples, seed))
    resampled = [criterion_rankings(sample, alpha=alpha) for sample in samples]
    return {name: np.stack([rankings[name] for rankings in resampled]) for name in resampled[0]}


def removal_share(resampled: np.ndarray, sparsity: float) -> np.ndarray:
    """Return how often each head is pruned over bootstrap resamples.

    Args:
        resampled: (B, R, H), rankings of the resamples.
        sparsity: fraction of heads to prune, 0 to 1.

    Returns:
        (R, H), share of resamples in which the head is pruned.
    """
    return np.mean([~prune_mask(ranking, sparsity) for ranking in resampled], axis=0)


def kendall_intervals(
    rankings: Mapping[str, np.ndarray], resampled: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute bootstrap intervals of Kendall's tau-b between rankings.

    Args:
        rankings: (R, H) by name.
        resampled: (B, R, H) by name, the rankings of bootstrap resamples.

    Returns:
        (low, high), each (K, K): 95% CI of each pair, in the order of `resampled`.
    """
    estimates = _pairs(np.stack([rankings[name] for name in resampled]))
    return centered_interval(estimates, _pairs(np.stack(list(resampled.values()), axis=1)))


def compare_with_ablation(
    scores: HeadScores,
    ablation: LeaveOneOut,
    *,
    paired: bool,
    alpha: float = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the rank correlation of each criterion with leave-one-out ablation.

    Args:
        scores: head scores.
        ablation: result of `leave_one_out`.
        paired: whether both come from the same examples in the same order, which are then resampled together; otherwise they
            are resampled independently.
        alpha: of HIES, 0 to 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        One row per criterion, with the columns criterion; kendall, low, high: Kendall's tau-b with the absolute change in
        loss and its 95% bootstrap CI; increase, increase_low, increase_high: the same with the signed change in loss.

    Raises:
        HeadPruneError: if `paired` and the numbers of examples differ.
    """
    count = len(next(iter(scores.per_example.values())))
    if paired and count != len(ablation.per_example):
        raise HeadPruneError(
            f"paired=True needs the same examples, got {count} for the scores and {len(ablation.per_example)} for the "
            "ablation"
        )
    rankings = criterion_rankings(scores, alpha=alpha)
    resampled = resampled_rankings(scores, alpha=alpha, resamples=resamples, seed=seed)
    table = pd.DataFrame({"criterion": list(rankings)})
    names = (("kendall", "low", "high"), ("increase", "increase_low", "increase_high"))
    for columns, values in zip(names, (np.abs(ablation.per_example), ablation.per_example), strict=True):
        means = _flat(resampled_means(values, resamples, seed if paired else seed + 1))
        estimates = [float(kendall(ranking.ravel(), values.mean(0).ravel())) for ranking in rankings.values()]
        table[columns[0]] = estimates
        table[[*columns[1:]]] = [
            centered_interval(estimate, kendall(_flat(resampled[name]), means))
            for estimate, name in zip(estimates, rankings, strict=True)
        ]
    return table


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _pairs(rankings: np.ndarray) -> np.ndarray:
    """Return (..., K, K) Kendall's tau-b of every pair of rankings (..., K, R, H)."""
    flat = rankings.reshape(*rankings.shape[:-2], -1)
    first, second = np.triu_indices(flat.shape[-2], 1)
    matrix = np.ones((*flat.shape[:-1], flat.shape[-2]))
    matrix[..., first, second] = matrix[..., second, first] = kendall(flat[..., first, :], flat[..., second, :])
    return matrix
