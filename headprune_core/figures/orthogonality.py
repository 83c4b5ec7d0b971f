"""Figures of the orthogonality check: scaled HIS vs. scaled AE, and their correlation within each layer."""

import numpy as np
import plotly.graph_objects as go

from headprune_core.scores.orthogonality import REDUNDANT, Orthogonality

from .roles import NEUTRAL, colorscale
from .style import GRAY, LAYER, MARGIN, tick


def orthogonality_scatter(his: np.ndarray, ae: np.ndarray, check: Orthogonality) -> go.Figure:
    """Draw scaled AE against scaled HIS, one point per head.

    Args:
        his: (R, H) HIS, scaled to 0 to 1.
        ae: (R, H) AE, scaled to 0 to 1.
        check: correlations of the two.

    Returns:
        A scatter plot, colored by layer, with the linear fit if the correlation is defined.
    """
    row, head = (index.ravel() for index in np.indices(his.shape))
    figure = go.Figure()
    figure.add_scatter(
        x=his.ravel(),
        y=ae.ravel(),
        mode="markers",
        marker={
            "size": 11,
            "color": row,
            "colorscale": colorscale("neutral"),
            "line": {"width": 1, "color": GRAY.format(0.8)},
            "colorbar": {"title": LAYER, "thickness": 10, "dtick": tick(len(his))},
        },
        customdata=np.column_stack([row, head]),
        hovertemplate="layer %{customdata[0]}, head %{customdata[1]}<br>scaled HIS %{x:.3f}<br>scaled AE %{y:.3f}"
        "<extra></extra>",
        showlegend=False,
    )
    if np.isfinite(check.pearson):
        slope, start = np.polyfit(his.ravel(), ae.ravel(), 1)
        ends = np.array([his.min(), his.max()])
        figure.add_scatter(
            x=ends,
            y=slope * ends + start,
            mode="lines",
            line={"color": GRAY.format(1), "dash": "dash"},
            hoverinfo="skip",
            name=f"Linear fit (Pearson r = {check.pearson:.2f})",
        )
    figure.update_xaxes(title="Scaled HIS (importance)", range=[-0.05, 1.05], zeroline=False)
    figure.update_yaxes(title="Scaled AE (entropy)", range=[-0.05, 1.05], zeroline=False)
    figure.update_layout(height=460, margin=MARGIN, legend={"x": 0.99, "y": 1.0, "xanchor": "right", "yanchor": "bottom"})
    return figure


def per_row_correlation(check: Orthogonality) -> go.Figure:
    """Draw Pearson's r of HIS and AE within each layer.

    Args:
        check: correlations, of which `per_row` (R,) is drawn.

    Returns:
        A horizontal bar chart with lines at |r| = 0.7, beyond which the two scores are redundant.
    """
    figure = go.Figure(go.Bar(x=check.per_row, y=np.arange(len(check.per_row)), orientation="h", marker_color=NEUTRAL))
    note = {"text": f"|r| = {REDUNDANT:g}<br>redundant", "font": {"size": 11}}
    for r in (-REDUNDANT, REDUNDANT):
        line = {"dash": "dot", "color": GRAY.format(1)}
        figure.add_vline(x=r, line=line, annotation=dict(note), annotation_position="top")  # Plotly changes it
    figure.update_traces(hovertemplate="layer %{y}: r = %{x:.2f}<extra></extra>")
    figure.update_xaxes(title="Pearson r (HIS vs. AE) per layer", range=[-1, 1])
    figure.update_yaxes(title=LAYER, range=[len(check.per_row) - 0.5, -0.5], dtick=tick(len(check.per_row)))
    figure.update_layout(height=max(240, 92 + 27 * min(len(check.per_row), 24)), margin=MARGIN, dragmode=False)
    return figure
