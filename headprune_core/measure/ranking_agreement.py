"""Rankings of heads set side by side: do criteria agree, on the order of all heads and on which of them go?

Order: Kendall's tau-b of every pair of rankings. What goes: the Jaccard overlap |A and B| / |A or B| of the heads that two
rankings remove at a sparsity; two random sets overlap too, and `chance_overlap` says how much.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.scores.bootstrap import around, chosen, resample_indices, resampled_means
from headprune_core.scores.correlation import kendall
from headprune_core.scores.head_scores import HeadScores

from .ablation import LeaveOneOut

RESAMPLES = 300


@dataclass(frozen=True)
class AgreementMatrix:
    """How K rankings agree in pairs.

    kendall (K, K): tau-b over all heads. overlap (K, K): Jaccard overlap of the sets removed, nan where none are.
    removed: how many heads of `heads` go. chance: the overlap that two random sets of that size have on average.
    """

    names: tuple[str, ...]
    kendall: np.ndarray
    overlap: np.ndarray
    removed: int
    heads: int

    @property
    def chance(self) -> float:
        return chance_overlap(self.heads, self.removed)

    def to_frame(self) -> pd.DataFrame:
        """One line per pair: first, second, kendall, overlap."""
        first, second = np.triu_indices(len(self.names), 1)
        names = np.array(self.names)
        columns = {"first": names[first], "second": names[second]}
        return pd.DataFrame(columns | {"kendall": self.kendall[first, second], "overlap": self.overlap[first, second]})


def agreement_matrix(rankings: Mapping[str, np.ndarray], sparsity: float) -> AgreementMatrix:
    """Compare `rankings` by name, each (R, H) with the lowest removed first, and what they remove at `sparsity` (0 to 1)."""
    if len(rankings) < 2 or len({np.shape(ranking) for ranking in rankings.values()}) != 1:
        shapes = ", ".join(f"{name} {np.shape(ranking)}" for name, ranking in rankings.items())
        raise HeadPruneError(f"the rankings are {shapes or 'none'}; expected two or more of one shape (R, H)")
    values = np.stack([np.asarray(ranking, float) for ranking in rankings.values()])
    gone = np.stack([~prune_mask(ranking, sparsity).ravel() for ranking in values]).astype(int)
    both, count = gone @ gone.T, gone.sum(1)
    either = count[:, None] + count - both
    overlap = np.where(either > 0, both / np.maximum(either, 1), np.nan)
    return AgreementMatrix(tuple(rankings), _pairs(values), overlap, int(count[0]), gone.shape[1])


def chance_overlap(heads: int, removed: int) -> float:
    """The expected Jaccard overlap of two random sets of `removed` of `heads` heads; nan where none are removed."""
    if removed == 0:
        return float("nan")
    common = np.arange(removed + 1)
    return float((hypergeom(heads, removed, removed).pmf(common) * common / (2 * removed - common)).sum())


def criterion_rankings(scores: HeadScores, *, alpha: float = 0.5) -> dict[str, np.ndarray]:
    """The ranking (R, H) of every registered criterion that `scores` give: neither random ones nor those that take more."""
    fixed = [c for c in CRITERIA.values() if not c.random and c.produced_by is None]
    there = [c for c in fixed if set(c.needs) <= set(scores.per_example)]
    return {c.name: np.asarray(c.rank(scores, alpha, np.random.default_rng(0)), float) for c in there}


def drawn_rankings(scores: HeadScores, *, alpha: float = 0.5, resamples: int = RESAMPLES, seed: int = 0):
    """`criterion_rankings` for each of `resamples` draws of the examples: arrays (B, R, H) by name."""
    count = len(next(iter(scores.per_example.values())))
    drawn = [criterion_rankings(chosen(scores, index), alpha=alpha) for index in resample_indices(count, resamples, seed)]
    return {name: np.stack([rankings[name] for rankings in drawn]) for name in drawn[0]}


def removal_share(drawn: np.ndarray, sparsity: float) -> np.ndarray:
    """(R, H) share of drawn rankings (B, R, H) under which each head is among those removed at `sparsity`."""
    return np.mean([~prune_mask(ranking, sparsity) for ranking in drawn], axis=0)


def kendall_intervals(rankings: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (K, K): 95 % intervals of every pair's Kendall, from rankings (R, H) and drawn (B, R, H)."""
    found = _pairs(np.stack([rankings[name] for name in drawn]))
    return around(found, _pairs(np.stack(list(drawn.values()), axis=1)))


def compare_with_ablation(
    scores: HeadScores,
    ablation: LeaveOneOut,
    *,
    paired: bool,
    alpha: float = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Kendall of every criterion with what leaving each head out really does.

    Columns: criterion; kendall, low, high with the ablation's `abs_loss_change`; increase, increase_low, increase_high with its
    `loss_change`. Intervals are 95 % bootstrap ones, see `around`. paired: both were computed on the same examples, in
    the same order, which are then drawn together; else each has draws of its own.
    """
    count = len(next(iter(scores.per_example.values())))
    if paired and count != len(ablation.per_example):
        raise HeadPruneError(
            f"the scores have {count} examples and the ablation {len(ablation.per_example)}; paired needs the same ones"
        )
    found = criterion_rankings(scores, alpha=alpha)
    drawn = drawn_rankings(scores, alpha=alpha, resamples=resamples, seed=seed)
    table = pd.DataFrame({"criterion": list(found)})
    names = (("kendall", "low", "high"), ("increase", "increase_low", "increase_high"))
    for columns, values in zip(names, (np.abs(ablation.per_example), ablation.per_example), strict=True):
        again = _flat(resampled_means(values, resamples, seed if paired else seed + 1))
        middle = [float(kendall(ranking.ravel(), values.mean(0).ravel())) for ranking in found.values()]
        table[columns[0]] = middle
        limits = [around(k, kendall(_flat(drawn[name]), again)) for k, name in zip(middle, found, strict=True)]
        table[[*columns[1:]]] = limits
    return table


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _pairs(rankings: np.ndarray) -> np.ndarray:
    """(..., K, K) Kendall of every pair of rankings (..., K, R, H)."""
    flat = rankings.reshape(*rankings.shape[:-2], -1)
    first, second = np.triu_indices(flat.shape[-2], 1)
    matrix = np.ones((*flat.shape[:-1], flat.shape[-2]))
    matrix[..., first, second] = matrix[..., second, first] = kendall(flat[..., first, :], flat[..., second, :])
    return matrix
