"""The scatter plot of heads with a menu for each axis, the correlation in words, and the selection by click and lasso."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core.figures.traits.head_scatter import Axes, describe_head_scatter, head_scatter
from headprune_core.scores.correlation import association
from pages.parts.chart import figure
from pages.parts.common.sentences import plain
from pages.parts.common.workspace import Workspace
from pages.parts.heads.head_table import HeadTable
from pages.parts.heads.selection import clear, select, selection

KEY = "head_scatter"
DEFAULTS = {"x": "his_scaled", "y": "ae_scaled", "color": "row", "size": None}
TITLES = {"x": "x axis", "y": "y axis", "color": "Color", "size": "Size"}


def axes_menus(table: HeadTable) -> Axes:
    """Show a menu for each axis, and return the chosen columns.

    Args:
        table: The table of heads.
    """
    everything, chosen = list(table.labels), {}
    options = {"x": everything, "y": everything, "color": [None, *everything], "size": [None, *table.numbers]}
    for column, (axis, names) in zip((*st.columns(2), *st.columns(2)), options.items(), strict=True):
        key = f"axis_{axis}"
        if st.session_state.get(key, names[0]) not in names:  # a column of another model, or of traits that are gone
            del st.session_state[key]
        chosen[axis] = column.selectbox(
            TITLES[axis],
            names,
            names.index(DEFAULTS[axis]),
            format_func=lambda name: "None" if name is None else table.labels[name],
            key=key,
            persist_state="session",
        )
    return Axes(**chosen)


def scatter(loaded: Workspace, table: HeadTable, axes: Axes, note: str = "") -> None:
    """Draw the heads, and say how the two axes are correlated.

    Args:
        loaded: The workspace.
        table: The table of heads.
        axes: The columns to show.
        note: Sentence for the text alternative.
    """
    heads, labels = selection(), table.labels
    lasso = st.toggle("Draw a lasso", key="axis_lasso", help="Drag on the plot around the heads to select")
    text = describe_head_scatter(table.frame, axes, labels, heads)
    rows = loaded.scores.grid.row_labels
    chart = head_scatter(table.frame, axes, labels, shares=table.shares, selected=heads, row_labels=rows, lasso=lasso)
    shown = table.frame[list(dict.fromkeys(("row", "head", *axes.columns)))]
    title = f"{labels[axes.y]} against {labels[axes.x]}"
    select_options = {"on_select": _take, "selection_mode": ("points", "lasso")}
    figure(chart, title, KEY, alt=f"{text} {note}".strip(), data=shown, boxes=lasso, **select_options)
    st.markdown(plain(relation(table.frame, axes, labels)))
    st.caption(
        "Click a point to select its head, or turn on **Draw a lasso** and draw around several. A frame marks selected "
        "heads. 95% CIs: 1,000 resamples of the heads; p-values: 2,000 permutations. Heads count as independent."
    )


def relation(frame: pd.DataFrame, axes: Axes, labels: dict[str, str]) -> str:
    """Return the relation of the two axes in words: their correlation, or the mean per category.

    Args:
        frame: One row per head.
        axes: The columns.
        labels: Label of each column.
    """
    names = f"{labels[axes.y]} against {labels[axes.x]}"
    if axes.x == axes.y:
        return "Both axes show the same column."
    numbers = [pd.api.types.is_numeric_dtype(frame[name]) for name in (axes.x, axes.y)]
    if all(numbers):
        return f"{names}: {_association(frame[axes.x].to_numpy(float), frame[axes.y].to_numpy(float)).text}"
    if not any(numbers):
        return f"{names}: both are categories, so there is no correlation."
    group, value = (axes.y, axes.x) if numbers[0] else (axes.x, axes.y)
    means = frame.groupby(group)[value].agg(["mean", "count"]).sort_values("count", ascending=False)
    listed = ", ".join(f"{name} {line['mean']:.3g} (n = {line['count']:.0f})" for name, line in means.iterrows())
    return f"Mean of {labels[value]} by {labels[group]}: {listed}."


@st.cache_data(max_entries=64, show_spinner=False)
def _association(x: np.ndarray, y: np.ndarray):
    return association(x, y)


def _take() -> None:
    """Select the heads of the chosen points; the frame of a selected head is a point of that head."""
    heads = [point["customdata"][:2] for point in st.session_state[KEY]["selection"]["points"] if point.get("customdata")]
    if heads:
        select(heads)
    else:
        clear()
