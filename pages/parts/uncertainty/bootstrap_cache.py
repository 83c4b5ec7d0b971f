"""Bootstrap results of the loaded scores, computed once for each model, dataset and alpha."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import RankStability, compare_with_ablation, criterion_rankings, rank_stability, split_half
from headprune_core.measure.ranking_agreement import kendall_intervals, resampled_rankings
from headprune_core.scores.bootstrap import available, percentiles, resample_indices, resample_weights, resampled_scores
from pages.parts.common.workspace import Workspace, digest

from .ablation_run import AblationResult

RESAMPLES = 1000
_cached = st.cache_data(max_entries=32, show_spinner="Bootstrapping…")


def stability(loaded: Workspace, alpha: float) -> list[RankStability]:
    """Return the rank stability of every available metric."""
    return _stability(_key(loaded), loaded.scores, alpha)


def intervals(loaded: Workspace, metric: str, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of a metric and the ends of their 95% CI: three arrays (R, H)."""
    return _intervals(_key(loaded), loaded.scores, metric, alpha)


def rankings(loaded: Workspace, alpha: float) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the resampled rankings (B, R, H) of every criterion, and the 95% CI (low, high) of τ for each pair."""
    return _rankings(_key(loaded), loaded.scores, alpha)


def against(loaded: Workspace, result: AblationResult, alpha: float) -> tuple[pd.DataFrame, dict[str, tuple]]:
    """Return Kendall's τ of every criterion with the ablation, and the split-half reliability of the ablation by measure."""
    return _against(_key(loaded), result.size, result.held_out, loaded.scores, result.found, alpha)


def _key(loaded: Workspace) -> str:
    return digest(loaded.key, loaded.scores.settings)


@_cached
def _stability(key, _scores, alpha):
    return [rank_stability(_scores, metric, alpha=alpha) for metric in available(_scores)]


@_cached
def _intervals(key, _scores, metric, alpha):
    count = len(next(iter(_scores.per_example.values())))
    drawn = resampled_scores(_scores, metric, resample_weights(resample_indices(count, RESAMPLES), count), alpha=alpha)
    values = resampled_scores(_scores, metric, np.full((1, count), 1.0 / count), alpha=alpha)[0]
    return values, *percentiles(drawn)


@_cached
def _rankings(key, _scores, alpha):
    drawn = resampled_rankings(_scores, alpha=alpha)
    return drawn, kendall_intervals(criterion_rankings(_scores, alpha=alpha), drawn)


@_cached
def _against(key, size, held_out, _scores, _found, alpha):
    table = compare_with_ablation(_scores, _found, paired=not held_out, alpha=alpha)
    halves = {}
    if size > 1:
        halves = {"abs_loss_change": split_half(np.abs(_found.per_example)), "loss_change": split_half(_found.per_example)}
    return table, halves
