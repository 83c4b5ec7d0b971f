"""Scores of one head: with intervals, its place in the pruning order, and its importance on every example."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, HeadScores, criterion_rankings
from headprune_core.figures.data import per_example_histogram
from headprune_core.figures.heatmaps import row_name
from headprune_core.measure.ranking_agreement import resampled_rankings
from headprune_core.scores.bootstrap import percentiles
from pages.parts.alpha.alpha_state import current_alpha_state
from pages.parts.chart import figure
from pages.parts.common.labels import AE, CI, GNORM, HIES, HIS
from pages.parts.common.sentences import plain
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .selection import Head


def head_name(loaded: Workspace, head: Head) -> str:
    """Return the name of a head, as in "Layer 3, head 5"."""
    name = row_name(loaded.scores.grid.row_labels[head[0]])
    return f"{name[0].upper()}{name[1:]}, head {head[1]}"


def score_table(loaded: Workspace, head: Head, *, intervals: bool = True) -> None:
    """Show the scores of a head and the position at which each criterion prunes it.

    Args:
        loaded: The workspace.
        head: (row, head).
        intervals: Whether to show the 95% CI of each score.
    """
    scores, alpha = loaded.scores, float(setting("alpha"))
    rankings, lines = criterion_rankings(scores, alpha=alpha), []
    places = _places(loaded.key, alpha, scores) if intervals else {}
    for name, metric, values in (
        ("HIS", "his", scores.his),
        ("AE" if loaded.options.entropy == "normalized" else "AE (nats)", "ae", scores.ae),
        (f"HIES (α = {alpha:g})", "hies", scores.hies(alpha)),
        ("Gnorm", "gnorm", scores.gnorm),
    ):
        interval = {"95% CI": "" if metric == "hies" else _interval(loaded, metric, head)} if intervals else {}
        position = {"Pruned as": f"{pruning_position(rankings[metric], head)} of {values.size}"}
        if metric in places:
            low, high = places[metric]
            position["95% CI of the place"] = f"{low[head]:.0f} to {high[head]:.0f}"
        lines.append({"Criterion": name, "Score": f"{values[head]:.3g}"} | interval | position)
    st.table(pd.DataFrame(lines).set_index("Criterion"))


def score_section(loaded: Workspace, head: Head) -> None:
    """Show scores, gradient norms, and importance by example."""
    st.header("Scores", anchor=False)
    st.markdown(_explained())
    left, right = st.columns([5, 4], gap="large")
    with left:
        score_table(loaded, head)
        st.caption(
            "95% CI: bootstrap, 1,000 resamples of the calibration examples. Pruned as 1: the first head to be pruned."
        )
        norms = loaded.scores.per_example["gnorm"][:, :, head[0], head[1]].mean(0)
        parts = ", ".join(f"{part} {norm:.3g}" for part, norm in zip("QKV", norms, strict=True))
        st.caption(f"Mean gradient norms, whose product is Gnorm: {parts}.")
    his = loaded.scores.per_example["his"][:, head[0], head[1]]
    text = f"Importance ranges from {his.min():.3g} to {his.max():.3g} over {len(his)} examples (mean {his.mean():.3g})."
    with right:
        st.markdown("**HIS by example**")
        chart = per_example_histogram(his, "HIS per example", his.mean())
        figure(chart, f"HIS of {head_name(loaded, head)} by example", "his_by_example", alt=text)
        st.caption(text)


def pruning_state(loaded: Workspace, head: Head) -> str:
    """Return whether the mask of the page Alpha prunes the head, and its position in the pruning order."""
    try:
        state = current_alpha_state(loaded)
    except HeadPruneError as error:
        return f"The constraints under Alpha cannot be met: {plain(str(error))}."
    current = f"At the current setting (HIES with α = {state.setting.alpha:g}, {state.setting.sparsity:.0%} sparsity)"
    if tuple(head) in state.rules.edits.keep:
        return f"{current}, this head is **kept**: it is set to Always keep."
    if tuple(head) in state.rules.edits.remove:
        return f"{current}, this head is **pruned**: it is set to Always prune."
    position = f"as number {pruning_position(state.hies, head)} of {state.hies.size}"
    if state.mask[head]:
        return f"{current}, this head is **kept**. By its score it would be pruned {position}."
    return f"{current}, this head is **pruned** {position}."


def pruning_position(ranking: np.ndarray, head: Head) -> int:
    """Return the position, from 1, at which a head is pruned: lowest ranking value first, ties by (row, head)."""
    order = np.argsort(ranking.ravel(), kind="stable")
    return int(np.flatnonzero(order == np.ravel_multi_index(head, ranking.shape))[0]) + 1


@st.cache_data(max_entries=16, show_spinner="Bootstrapping…")
def _places(key: str, alpha: float, _scores: HeadScores) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The 95% CI (low, high), each (R, H), of the place in the pruning order by criterion, over resampled examples."""
    found = {}
    for metric, values in resampled_rankings(_scores, alpha=alpha).items():
        order = np.argsort(values.reshape(len(values), -1), axis=1, kind="stable")
        places = np.empty(order.shape)
        np.put_along_axis(places, order, np.arange(1.0, order.shape[1] + 1)[None], axis=1)
        found[metric] = tuple(end.reshape(values.shape[1:]) for end in percentiles(places))
    return found


def _explained() -> str:
    return f"The {HIS}, the {AE}, the {HIES} and the {GNORM}, with the {CI}."


def _interval(loaded: Workspace, metric: str, head: Head) -> str:
    low, high = loaded.scores.bootstrap(metric)
    return f"{low[head]:.3g} to {high[head]:.3g}"
