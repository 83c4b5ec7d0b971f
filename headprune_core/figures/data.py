"""Figures of a dataset: lengths, classes, and one head's score on every example."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .roles import CLASSES, HUES, NEUTRAL
from .style import GRAY, MARGIN, for_plotly


def length_histogram(lengths: Sequence[int], limit: int | None = None) -> go.Figure:
    """Draw the number of tokens per example and, if it is near, the model's maximum length.

    Args:
        lengths: tokens of each example, special tokens included.
        limit: maximum sequence length of the model in tokens, or None if there is none.

    Returns:
        A histogram with a dashed line at `limit` if an example reaches half of it.
    """
    figure = go.Figure(go.Histogram(x=list(lengths), marker_color=NEUTRAL, nbinsx=24))
    figure.update_traces(hovertemplate="%{x} tokens: %{y} examples<extra></extra>")
    if limit and max(lengths) > 0.5 * limit:
        figure.add_vline(x=limit, line={"dash": "dash", "color": GRAY.format(1)}, annotation_text="Maximum length")
    figure.update_xaxes(title="Tokens per example")
    figure.update_yaxes(title="Examples")
    figure.update_layout(height=240, margin={**MARGIN, "t": 16}, bargap=0.08)
    return figure


def label_bars(counts: pd.Series) -> go.Figure:
    """Draw the number of examples of each class.

    Args:
        counts: (C,) examples per class, indexed by class name.

    Returns:
        A horizontal bar chart, first class on top.
    """
    figure = go.Figure(
        go.Bar(x=counts.to_numpy(), y=[for_plotly(name) for name in counts.index], orientation="h", text=counts.to_numpy())
    )
    colors = [CLASSES[i % len(CLASSES)] for i in range(len(counts))]
    figure.update_traces(marker_color=colors, hovertemplate="%{y}: %{x} examples<extra></extra>")
    figure.update_xaxes(title="Examples")
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(height=240, margin={**MARGIN, "t": 16})
    return figure


def per_example_histogram(values: np.ndarray, title: str, mean: float) -> go.Figure:
    """Draw one head's score on every example.

    Args:
        values: (N,) score of the head on each example.
        title: title of the horizontal axis, such as "HIS per example".
        mean: mean of the values, drawn as a line.

    Returns:
        A histogram.
    """
    figure = go.Figure(go.Histogram(x=values, nbinsx=20, marker_color=HUES["his"]))
    figure.add_vline(x=mean, line={"color": GRAY.format(1), "width": 3}, annotation_text="Mean")
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="Examples")
    figure.update_layout(height=210, margin={**MARGIN, "t": 24}, bargap=0.08)
    return figure
