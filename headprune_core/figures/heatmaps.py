"""Heatmaps of scores by layer and head, and their text alternatives."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from .roles import FRAME, colorscale
from .style import HEAD, LAYER, MARGIN, tick

METRIC_LABELS = {
    "his": "HIS (head importance score)",
    "ae": "AE (attention entropy)",
    "hies": "HIES (head importance–entropy score)",
    "gnorm": "Gnorm (gradient-norm score)",
}
METRIC_SHORT_LABELS = {name: text.partition(" (")[0] for name, text in METRIC_LABELS.items()}
_TITLE_SIZE = 14  # pixels: the longest title fits a column of 300 pixels


def score_heatmap(
    values: np.ndarray,
    title: str,
    hover: Sequence[str],
    selected: tuple[int, int] | None = None,
    unit: str = "",
    labels: Sequence[str] | None = None,
    role: str = "neutral",
) -> go.Figure:
    """Draw scores by layer and head, with a click target on every cell.

    Args:
        values: (R, H) score of each head.
        title: title of the figure, or "" for none.
        hover: hover text of each head, row by row.
        selected: (row, head) to frame, or None.
        unit: title of the color bar, such as "nats", "Rank" or "Scaled (0–1)"; "" gives "Score".
        labels: name of each row, or None to number the rows.
        role: criterion that gives the color, as in `roles.ramp`. Dark is pruned last, so for "ae" low values are dark.

    Returns:
        A heatmap and a trace of invisible markers whose customdata is [row, head].
    """
    rows, heads = values.shape
    cell = min(27, max(12, 480 // rows))  # pixels: many layers still fit a screen
    row, head = (index.ravel() for index in np.indices(values.shape))
    bar = {"thickness": 10, "title": {"text": unit or "Score", "side": "right"}, "exponentformat": "power"}
    colors = colorscale(role, dark="low" if role == "ae" else "high")
    figure = go.Figure(go.Heatmap(z=values, colorscale=colors, xgap=2, ygap=2, hoverinfo="skip", colorbar=bar))
    # Streamlit does not report clicks on a heatmap, but it reports those on invisible squares over the cells.
    figure.add_scatter(
        x=head,
        y=row,
        mode="markers",
        marker={"symbol": "square", "size": max(6, min(26, cell, 330 // heads)), "opacity": 0},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=np.column_stack([row, head]).tolist(),  # a plain list comes back from a click unchanged
        text=list(hover),
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    if selected is not None:
        r, h = selected
        box = {"x0": h - 0.5, "x1": h + 0.5, "y0": r - 0.5, "y1": r + 0.5}
        figure.add_shape(type="rect", **box, line={"color": FRAME[1], "width": 5})
        figure.add_shape(type="rect", **box, line={"color": FRAME[0], "width": 3})
    figure.update_xaxes(
        title=HEAD, range=[-0.5, heads - 0.5], dtick=tick(heads), showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(
        title=LAYER, range=[rows - 0.5, -0.5], dtick=tick(rows), showgrid=False, zeroline=False, fixedrange=True
    )
    if labels is not None and has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    if title:
        figure.update_layout(title={"text": title, "font": {"size": _TITLE_SIZE}})
    figure.update_layout(height=max(220, 92 + cell * rows), margin=MARGIN, dragmode=False, hoverdistance=24)
    return figure


def has_custom_labels(labels: Sequence[str]) -> bool:
    """Return True if rows have names other than their numbers, as in an encoder-decoder."""
    return any(label != str(row) for row, label in enumerate(labels))


def row_name(label: str) -> str:
    """Return a row's name within a sentence: "layer 3" for a number, "cross 0" unchanged."""
    return f"layer {label}" if label.isdigit() else label


def describe_heatmap(values: np.ndarray, name: str, labels: Sequence[str] | None = None) -> str:
    """Describe a heatmap: its highest and lowest head and the row of the highest mean.

    Args:
        values: (R, H) score of each head.
        name: name of the score.
        labels: name of each row, or None to number the rows.

    Returns:
        One sentence.
    """
    rows = [row_name(label) for label in labels or map(str, range(len(values)))]
    top, low = (np.unravel_index(pick(values), values.shape) for pick in (np.argmax, np.argmin))
    row = int(values.mean(1).argmax())
    return (
        f"{name} by layer and head: highest at {rows[top[0]]}, head {top[1]}; lowest at {rows[low[0]]}, head {low[1]}; "
        f"{rows[row]} has the highest mean."
    )
