"""The head inspector: scores of one head with intervals, its place in the pruning order, and its top examples."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, criterion_rankings
from headprune_core.figures.data import per_example_histogram
from headprune_core.figures.heatmaps import row_name
from pages.parts.alpha.alpha_state import current_alpha_state
from pages.parts.common.sentences import plain
from pages.parts.common.workspace import Workspace


def inspector(loaded: Workspace, selected: tuple[int, int], alpha: float) -> None:
    """Show the scores, uncertainty and top examples of one head.

    Args:
        loaded: The workspace.
        selected: (row, head).
        alpha: The HIES alpha of the page, 0 to 1.
    """
    row, head = selected
    scores = loaded.scores
    place = row_name(scores.grid.row_labels[row])
    st.header(f"{plain(place[0].upper() + place[1:])}, head {head}", anchor=False)
    st.caption(f"{plain(scores.grid.row_names[row])} · {scores.grid.parameters_per_head[row, head]:,.0f} parameters")
    st.markdown(_state(loaded, selected))
    left, middle, right = st.columns([5, 4, 5])
    rankings = criterion_rankings(scores, alpha=alpha)
    lines = []
    for name, metric, values in (
        ("HIS", "his", scores.his),
        ("AE" if loaded.options.entropy == "normalized" else "AE (nats)", "ae", scores.ae),
        (f"HIES (α = {alpha:g})", "hies", scores.hies(alpha)),
        ("Gnorm", "gnorm", scores.gnorm),
    ):
        lines.append(
            {
                "Criterion": name,
                "Score": f"{values[selected]:.3g}",
                "95% CI": "" if metric == "hies" else _interval(loaded, metric, selected),
                "Pruned as": f"{pruning_position(rankings[metric], selected)} of {values.size}",
            }
        )
    left.markdown("**Scores and pruning order**")
    left.table(pd.DataFrame(lines).set_index("Criterion"))
    left.caption("95% CI: bootstrap, 1,000 resamples of the calibration examples. Pruned as 1: the first head to be pruned.")
    his = scores.per_example["his"][:, row, head]
    text = f"Importance ranges from {his.min():.3g} to {his.max():.3g} over {len(his)} examples."
    middle.markdown("**Importance by example**")
    middle.plotly_chart(
        per_example_histogram(his, "HIS per example", his.mean()), alt=text, config={"displayModeBar": False}
    )
    right.markdown("**Examples with the highest importance**")
    top = np.argsort(-his)[:3]
    texts = loaded.calibration["text"] if "text" in loaded.calibration.column_names else None
    right.table(
        pd.DataFrame(
            {
                "Importance": [f"{value:.3g}" for value in his[top]],
                "Example": [plain(texts[int(i)]) if texts is not None else f"example {i}" for i in top],
            }
        ).set_index("Importance")
    )


def pruning_position(ranking: np.ndarray, selected: tuple[int, int]) -> int:
    """Return the position, from 1, at which a head is pruned: lowest ranking value first, ties by (row, head)."""
    order = np.argsort(ranking.ravel(), kind="stable")
    return int(np.flatnonzero(order == np.ravel_multi_index(selected, ranking.shape))[0]) + 1


def _state(loaded: Workspace, selected: tuple[int, int]) -> str:
    """Whether the current mask of the page Alpha prunes the head, and its position in the pruning order."""
    try:
        state = current_alpha_state(loaded)
    except HeadPruneError as error:
        return f"The constraints under Alpha cannot be met: {plain(str(error))}."
    setting = f"At the current setting (HIES with α = {state.setting.alpha:g}, {state.setting.sparsity:.0%} sparsity)"
    if tuple(selected) in state.rules.edits.keep:
        return f"{setting}, this head is **kept**: it is set to Always keep."
    if tuple(selected) in state.rules.edits.remove:
        return f"{setting}, this head is **pruned**: it is set to Always prune."
    position = f"as number {pruning_position(state.hies, selected)} of {state.hies.size}"
    if state.mask[selected]:
        return f"{setting}, this head is **kept**. By its score it would be pruned {position}."
    return f"{setting}, this head is **pruned** {position}."


def _interval(loaded: Workspace, metric: str, selected: tuple[int, int]) -> str:
    low, high = loaded.scores.bootstrap(metric)
    return f"{low[selected]:.3g} to {high[selected]:.3g}"
