"""The figure of accuracy against sparsity: one line per criterion over the range of random rankings."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.measure.curves import REGIMES, main_measure

from .style import GRAY, MARGIN, for_plotly, label, style


def curves_figure(curves: pd.DataFrame, measure: str = "accuracy", chance: float | None = None) -> go.Figure:
    """Accuracy (or agreement, correlation, loss) against sparsity: a line a method over the envelope of random removal."""
    figure = go.Figure()
    end = float(curves.sparsity.max())
    for number, (low, high, name) in enumerate(REGIMES):
        if low < end:  # names at two heights: on a phone they would overlap
            figure.add_vrect(
                x0=low,
                x1=min(high, end),
                fillcolor=GRAY.format(0.05 * number),
                line_width=0,
                layer="below",
                annotation={"text": name, "font_size": 11, "opacity": 0.75, "yshift": 16 * (number % 2)},
                annotation_position="top left",
            )
    random = curves[curves.method == "random"].groupby("sparsity")[measure].agg(["min", "mean", "max"]).reset_index()
    if len(random):
        x = np.r_[random.sparsity, random.sparsity[::-1]]
        y = np.r_[random["max"], random["min"][::-1]]
        n_random = curves.seed.nunique()
        figure.add_scatter(
            x=x,
            y=y,
            fill="toself",
            fillcolor=GRAY.format(0.28),
            line_width=0,
            hoverinfo="skip",
            mode="lines",
            name=f"random, {n_random} seeds",
        )
        figure.add_scatter(
            x=random.sparsity,
            y=random["mean"],
            mode="lines",
            line={"color": GRAY.format(1), "dash": "dot"},
            name="random, mean",
            hovertemplate="random mean: %{y:.3f}<extra></extra>",
        )
    for method, curve in curves[curves.method != "random"].groupby("method", sort=False):
        figure.add_trace(_line(curve, method, measure))
    whole = curves.loc[curves.heads_pruned == 0, measure]
    if len(whole) and measure in ("accuracy", "loss"):
        figure.add_hline(
            y=whole.iloc[0],
            line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)},
            annotation_text="unpruned",
            annotation_position="bottom right",
        )
    if chance is not None and measure == "accuracy":
        figure.add_hline(
            y=chance,
            line={"dash": "dot", "width": 1, "color": GRAY.format(1)},
            annotation_text="guessing",
            annotation_position="top right",
        )
    figure.update_xaxes(title="heads removed", tickformat=".0%", range=[-0.012, (end or 1) + 0.012])
    figure.update_yaxes(title=measure if measure != "correlation" else "correlation of logits with the unpruned model's")
    figure.update_layout(
        height=520,
        margin={**MARGIN, "t": 32},
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
    )
    return figure


def describe_curves(curves: pd.DataFrame, at: float = 0.5) -> str:
    """The figure in a sentence: every method and random removal at the sparsity nearest to `at`."""
    measure = main_measure(curves)
    at = min(curves.sparsity.unique(), key=lambda sparsity: abs(sparsity - at))
    there = curves[curves.sparsity == at].set_index("method")[measure]
    parts = [f"{label(method)} {value:.1%}" for method, value in there.items() if method != "random"]
    if "random" in there:
        parts.append(f"random {there.loc[['random']].min():.1%} to {there.loc[['random']].max():.1%}")
    what = "Accuracy" if measure == "accuracy" else "Agreement with the unpruned model"
    return f"{what} with {at:.0%} of the heads removed: {', '.join(parts)}."


def _line(curve: pd.DataFrame, method: str, measure: str) -> go.Scatter:
    (color, dash, symbol), name = style(method), for_plotly(label(method))
    spread = None
    if measure == "accuracy":
        up, down = curve.accuracy_high - curve.accuracy, curve.accuracy - curve.accuracy_low
        spread = {"array": up, "arrayminus": down, "thickness": 1, "width": 2}
    return go.Scatter(
        x=curve.sparsity,
        y=curve[measure],
        name=name,
        mode="lines+markers",
        error_y=spread,
        line={"color": color, "dash": dash, "width": 2.5},
        marker={"symbol": symbol, "size": 9, "color": color},
        hovertemplate=f"{name}: %{{y:.3f}}<extra></extra>",
    )
