"""Heatmaps of scores by layer and head, and the sentence that says what each one shows."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from .style import MARGIN, tick

METRIC_LABELS = {"his": "HIS · importance", "ae": "AE · entropy", "hies": "HIES · mixed", "gnorm": "Gnorm · gradients"}


def score_heatmap(
    values: np.ndarray,
    title: str,
    hover: Sequence[str],
    selected: tuple[int, int] | None = None,
    unit: str = "",
    labels: Sequence[str] | None = None,
) -> go.Figure:
    """A layer x head heatmap (R, H) with a click target on every cell (customdata [row, head]).

    hover: one text per head, row by row. labels: what the rows are called where it is not their number.
    """
    rows, heads = values.shape
    cell = min(27, max(12, 480 // rows))  # pixels: many layers still fit a screen
    row, head = (index.ravel() for index in np.indices(values.shape))
    bar = {"thickness": 10, "title": unit, "exponentformat": "power"}
    figure = go.Figure(go.Heatmap(z=values, colorscale="Cividis", xgap=2, ygap=2, hoverinfo="skip", colorbar=bar))
    # clicks on a heatmap are not reported: invisible squares over the cells are
    figure.add_scatter(
        x=head,
        y=row,
        mode="markers",
        marker={"symbol": "square", "size": max(6, min(26, cell, 330 // heads)), "opacity": 0},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=np.column_stack([row, head]).tolist(),  # a plain list comes back from a click as it went
        text=list(hover),
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    if selected is not None:
        r, h = selected
        box = {"x0": h - 0.5, "x1": h + 0.5, "y0": r - 0.5, "y1": r + 0.5}
        figure.add_shape(type="rect", **box, line={"color": "#ffffff", "width": 5})
        figure.add_shape(type="rect", **box, line={"color": "#d55e00", "width": 3})
    figure.update_xaxes(
        title="head", range=[-0.5, heads - 0.5], dtick=tick(heads), showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(
        title="layer", range=[rows - 0.5, -0.5], dtick=tick(rows), showgrid=False, zeroline=False, fixedrange=True
    )
    if labels is not None and has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    figure.update_layout(title=title, height=max(220, 92 + cell * rows), margin=MARGIN, dragmode=False, hoverdistance=24)
    return figure


def has_custom_labels(labels: Sequence[str]) -> bool:
    """Whether rows are called by other names than their numbers, as in an encoder-decoder."""
    return any(label != str(row) for row, label in enumerate(labels))


def row_name(label: str) -> str:
    """A row's label in a sentence: "layer 3", or "cross 0" as it is."""
    return f"layer {label}" if label.isdigit() else label


def describe_heatmap(values: np.ndarray, name: str, labels: Sequence[str] | None = None) -> str:
    """What a heatmap shows: where its highest and lowest heads are and which row stands out."""
    rows = [row_name(label) for label in labels or map(str, range(len(values)))]
    top, low = (np.unravel_index(pick(values), values.shape) for pick in (np.argmax, np.argmin))
    row = int(values.mean(1).argmax())
    return (
        f"{name} by layer and head: highest at {rows[top[0]]}, head {top[1]}; lowest at {rows[low[0]]}, head {low[1]}; "
        f"{rows[row]} has the highest mean."
    )
