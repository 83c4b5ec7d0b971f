"""Figures of a dataset: lengths, classes, and one head's score on every example."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .style import MARGIN, for_plotly


def length_histogram(lengths: Sequence[int], limit: int | None = None) -> go.Figure:
    """How many tokens the texts have, and where the model's positions end if that is near."""
    figure = go.Figure(go.Histogram(x=list(lengths), marker_color="#0072b2", nbinsx=24))
    figure.update_traces(hovertemplate="%{x} tokens: %{y} texts<extra></extra>")
    if limit and max(lengths) > 0.5 * limit:
        figure.add_vline(x=limit, line={"dash": "dash", "color": "#d55e00"}, annotation_text="longest the model reads")
    figure.update_xaxes(title="tokens in a text")
    figure.update_yaxes(title="texts")
    figure.update_layout(height=240, margin={**MARGIN, "t": 16}, bargap=0.08)
    return figure


def label_bars(counts: pd.Series) -> go.Figure:
    """How many examples each class has."""
    figure = go.Figure(
        go.Bar(x=counts.to_numpy(), y=[for_plotly(name) for name in counts.index], orientation="h", text=counts.to_numpy())
    )
    figure.update_traces(marker_color="#0072b2", hovertemplate="%{y}: %{x} examples<extra></extra>")
    figure.update_xaxes(title="examples")
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(height=240, margin={**MARGIN, "t": 16})
    return figure


def per_example_histogram(values: np.ndarray, title: str, mean: float) -> go.Figure:
    """One head's value on every example, and their mean."""
    figure = go.Figure(go.Histogram(x=values, nbinsx=20, marker_color="#0072b2"))
    figure.add_vline(x=mean, line={"color": "#d55e00", "width": 3}, annotation_text="mean")
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="examples")
    figure.update_layout(height=210, margin={**MARGIN, "t": 24}, bargap=0.08)
    return figure
