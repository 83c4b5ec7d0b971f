"""Figures of the orthogonality check: scaled HIS against scaled AE, and their correlation within each layer."""

import numpy as np
import plotly.graph_objects as go

from headprune_core.scores.orthogonality import Orthogonality

from .style import MARGIN, tick


def orthogonality_scatter(his: np.ndarray, ae: np.ndarray, check: Orthogonality) -> go.Figure:
    """Scaled importance against scaled entropy, both (R, H), a point a head, colored by layer."""
    row, head = (index.ravel() for index in np.indices(his.shape))
    figure = go.Figure()
    figure.add_scatter(
        x=his.ravel(),
        y=ae.ravel(),
        mode="markers",
        marker={
            "size": 11,
            "color": row,
            "colorscale": "Cividis",
            "line": {"width": 1, "color": "rgba(128,128,128,0.8)"},
            "colorbar": {"title": "layer", "thickness": 10, "dtick": tick(len(his))},
        },
        customdata=np.column_stack([row, head]),
        hovertemplate="layer %{customdata[0]}, head %{customdata[1]}<br>HIS~ %{x:.3f}<br>AE~ %{y:.3f}<extra></extra>",
        showlegend=False,
    )
    if np.isfinite(check.pearson):
        slope, start = np.polyfit(his.ravel(), ae.ravel(), 1)
        ends = np.array([his.min(), his.max()])
        figure.add_scatter(
            x=ends,
            y=slope * ends + start,
            mode="lines",
            line={"color": "#d55e00", "dash": "dash"},
            hoverinfo="skip",
            name=f"r = {check.pearson:.2f}",
        )
    figure.update_xaxes(title="HIS~, scaled importance", range=[-0.05, 1.05], zeroline=False)
    figure.update_yaxes(title="AE~, scaled entropy", range=[-0.05, 1.05], zeroline=False)
    figure.update_layout(height=460, margin=MARGIN, legend={"x": 0.99, "y": 1.0, "xanchor": "right", "yanchor": "bottom"})
    return figure


def per_row_correlation(check: Orthogonality) -> go.Figure:
    """Pearson's r of importance and entropy within each layer, with the lines beyond which the two are redundant."""
    figure = go.Figure(go.Bar(x=check.per_row, y=np.arange(len(check.per_row)), orientation="h", marker_color="#0072b2"))
    for line in (-0.7, 0.7):
        figure.add_vline(x=line, line={"dash": "dot", "color": "#d55e00"})
    figure.update_traces(hovertemplate="layer %{y}: r = %{x:.2f}<extra></extra>")
    figure.update_xaxes(title="r within the layer", range=[-1, 1])
    figure.update_yaxes(title="layer", range=[len(check.per_row) - 0.5, -0.5], dtick=tick(len(check.per_row)))
    figure.update_layout(height=460, margin=MARGIN)
    return figure
