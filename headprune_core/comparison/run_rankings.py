"""Rankings of the heads of one run: from resamples of its examples, from halves of them, and as places in pruning order.

Shapes: N examples, R rows, H heads, B resamples. The lowest values are pruned first.
"""

import numpy as np

from headprune_core.scores.bootstrap import resample_indices, resample_weights, resampled_scores
from headprune_core.scores.correlation import kendall
from headprune_core.scores.head_scores import HeadScores

SPLITS = 100
PRUNED_FIRST_IF_HIGH = ("ae",)


def weighted_rankings(scores: HeadScores, criterion: str, alpha: float, weights: np.ndarray) -> np.ndarray:
    """Return rankings (B, R, H) by weights of the examples.

    Args:
        scores: Scores of the run.
        criterion: "his", "ae", "hies" or "gnorm".
        alpha: Alpha of HIES.
        weights: (B, N) weights of the examples.
    """
    values = resampled_scores(scores, criterion, weights, alpha=alpha)
    return -values if criterion in PRUNED_FIRST_IF_HIGH else values


def bootstrap_rankings(scores: HeadScores, criterion: str, alpha: float, resamples: int, seed: int) -> np.ndarray | None:
    """Return rankings (B, R, H) of bootstrap resamples; None for one example, which says nothing about its variation.

    Args:
        scores: Scores of the run.
        criterion: As in `weighted_rankings`.
        alpha: Alpha of HIES.
        resamples: Number of resamples B.
        seed: Seed of the resamples.
    """
    count = number_of_examples(scores)
    if count < 2:
        return None
    weights = resample_weights(resample_indices(count, resamples, seed), count)
    return weighted_rankings(scores, criterion, alpha, weights)


def half_agreement(scores: HeadScores, criterion: str, alpha: float, seed: int) -> float:
    """Return the mean of Kendall's tau-b between two random halves of the examples; nan for one example.

    Args:
        scores: Scores of the run.
        criterion: As in `weighted_rankings`.
        alpha: Alpha of HIES.
        seed: Seed of the splits.
    """
    count = number_of_examples(scores)
    if count < 2:
        return float("nan")
    order, half = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (SPLITS, 1)), axis=1), count // 2
    weights = (resample_weights(part, count) for part in (order[:, :half], order[:, half : 2 * half]))
    return float(paired_taus(*(weighted_rankings(scores, criterion, alpha, part) for part in weights)).mean())


def number_of_examples(scores: HeadScores) -> int:
    """Return the number of examples N of a run."""
    return len(next(iter(scores.per_example.values())))


def paired_taus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of two times B rankings (B, R, H), resample by resample."""
    return kendall(first.reshape(len(first), -1), second.reshape(len(second), -1))


def pruning_places(rankings: np.ndarray) -> np.ndarray:
    """Return places (..., R, H) in the pruning order from 1; ties are broken by (row, head), as `prune_mask` does."""
    flat = rankings.reshape(*rankings.shape[:-2], -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    return (np.argsort(order, axis=-1, kind="stable") + 1).reshape(rankings.shape)
