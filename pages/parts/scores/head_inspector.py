"""The inspector: one head, what every criterion says of it, how sure that is, and the texts where it counts most."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core.figures.data import per_example_histogram
from headprune_core.figures.heatmaps import row_name
from pages.parts.common.workspace import Workspace


def inspector(loaded: Workspace, selected: tuple[int, int], hies: np.ndarray) -> None:
    """Everything about head `selected` = (row, head); hies (R, H) as shown beside it."""
    row, head = selected
    scores = loaded.scores
    place = row_name(scores.grid.row_labels[row])
    st.subheader(f"{place[0].upper()}{place[1:]}, head {head}", anchor=False)
    st.caption(f"{scores.grid.row_names[row]} · {scores.grid.parameters_per_head[row, head]:,.0f} parameters")
    left, middle, right = st.columns([5, 4, 5])
    lines = []
    for name, metric, values in (
        ("HIS", "his", scores.his),
        ("AE" if loaded.options.entropy == "normalized" else "AE, nats", "ae", scores.ae),
        ("HIES", None, hies),
        ("Gnorm", "gnorm", scores.gnorm),
    ):
        interval = "" if metric is None else _interval(loaded, metric, selected)
        rank = f"{int((values > values[selected]).sum()) + 1} of {values.size}"
        lines.append({"criterion": name, "value": f"{values[selected]:.3g}", "95 %": interval, "rank": rank})
    left.markdown("**What the criteria say** (rank 1 = highest)")
    left.dataframe(pd.DataFrame(lines), hide_index=True)
    his = scores.per_example["his"][:, row, head]
    words = f"Its importance on the {len(his)} texts runs from {his.min():.3g} to {his.max():.3g}."
    middle.markdown("**How it differs from text to text**")
    middle.plotly_chart(
        per_example_histogram(his, "importance on a text", his.mean()), alt=words, config={"displayModeBar": False}
    )
    right.markdown("**Texts that lean on it most**")
    top = np.argsort(-his)[:3]
    texts = loaded.calibration["text"] if "text" in loaded.calibration.column_names else None
    right.dataframe(
        pd.DataFrame(
            {"importance": his[top], "text": [texts[int(i)] if texts is not None else f"example {i}" for i in top]}
        ),
        hide_index=True,
        column_config={"importance": st.column_config.NumberColumn(format="%.3g", width="small")},
    )


def _interval(loaded: Workspace, metric: str, selected: tuple[int, int]) -> str:
    low, high = loaded.scores.bootstrap(metric)
    return f"{low[selected]:.3g} to {high[selected]:.3g}"
