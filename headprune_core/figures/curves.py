"""The figure of accuracy against sparsity: one line per criterion over the range of random rankings."""

from fractions import Fraction

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.data.measures import format_value
from headprune_core.measure.curves import REGIMES, main_measure

from .style import GRAY, MARGIN, PERCENT, SPARSITY, for_plotly, label, metric_axis, metric_format, metric_name, style


def curves_figure(curves: pd.DataFrame, measure: str = "accuracy", chance: float | None = None) -> go.Figure:
    """Draw a metric against sparsity: one line per criterion over the range of random rankings.

    The shaded regimes of sparsity are those of arXiv 2510.13832.

    Args:
        curves: result of `sparsity_curves`.
        measure: column to draw, such as "accuracy", "agreement", "pearson", "correlation", "loss" or "perplexity".
        chance: accuracy at chance level (1 / C), drawn as a line, or None.

    Returns:
        A line chart; error bars are the 95% CI in the frame (Wilson for accuracy, bootstrap for correlations).
    """
    figure = go.Figure()
    value = f"%{{y:{metric_format(measure)}}}"
    end = float(curves.sparsity.max())
    for number, (low, high, name) in enumerate(REGIMES):
        if low < end:  # Names alternate between two heights, or they would overlap on a phone.
            figure.add_vrect(
                x0=low,
                x1=min(high, end),
                fillcolor=GRAY.format(0.05 * number),
                line_width=0,
                layer="below",
                annotation={"text": name.capitalize(), "font_size": 11, "opacity": 0.75, "yshift": 16 * (number % 2)},
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
            name=f"Random: range ({n_random} ranking{'s' * (n_random != 1)})",
        )
        figure.add_scatter(
            x=random.sparsity,
            y=random["mean"],
            mode="lines",
            line={"color": GRAY.format(1), "dash": "dot"},
            name="Random: mean",
            hovertemplate=f"random mean: {value}<extra></extra>",
        )
    for method, curve in curves[curves.method != "random"].groupby("method", sort=False):
        figure.add_trace(_line(curve, method, measure))
    unpruned = curves.loc[curves.heads_pruned == 0, measure]
    if len(unpruned) and measure not in ("agreement", "correlation", "perplexity"):
        figure.add_hline(
            y=unpruned.iloc[0],
            line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)},
            annotation_text="Unpruned",
            annotation_position="bottom right",
        )
    if chance is not None and measure == "accuracy":
        figure.add_hline(
            y=chance,
            line={"dash": "dot", "width": 1, "color": GRAY.format(1)},
            annotation_text=f"Chance ({_chance(chance)})",
            annotation_position="top right",
        )
    figure.update_xaxes(title=SPARSITY, tickformat=PERCENT, range=[-0.012, (end or 1) + 0.012])
    figure.update_yaxes(**metric_axis(measure, regression="pearson" in curves))
    figure.update_layout(
        height=520,
        margin={**MARGIN, "t": 32},
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
    )
    return figure


def describe_curves(curves: pd.DataFrame, at: float = 0.5) -> str:
    """Describe every criterion and the random range at the sparsity nearest to `at`.

    Args:
        curves: result of `sparsity_curves`.
        at: sparsity, 0 to 1.

    Returns:
        One sentence with the main metric of the curves.
    """
    measure = main_measure(curves)
    at = min(curves.sparsity.unique(), key=lambda sparsity: abs(sparsity - at))
    values = curves[curves.sparsity == at].set_index("method")[measure]
    parts = [f"{label(method)} {format_value(measure, value)}" for method, value in values.items() if method != "random"]
    if "random" in values:
        random = values.loc[["random"]]
        parts.append(f"random {format_value(measure, random.min())} to {format_value(measure, random.max())}")
    name = metric_name(measure)
    return f"{name[0].upper()}{name[1:]} at {at:.0%} sparsity: {', '.join(parts)}."


def _line(curve: pd.DataFrame, method: str, measure: str) -> go.Scatter:
    (color, dash, symbol), name = style(method), for_plotly(label(method))
    interval = None
    if f"{measure}_low" in curve:
        up, down = curve[f"{measure}_high"] - curve[measure], curve[measure] - curve[f"{measure}_low"]
        interval = {"array": up, "arrayminus": down, "thickness": 1, "width": 2}
    return go.Scatter(
        x=curve.sparsity,
        y=curve[measure],
        name=name,
        mode="lines+markers",
        error_y=interval,
        line={"color": color, "dash": dash, "width": 2.5},
        marker={"symbol": symbol, "size": 9, "color": color},
        hovertemplate=f"{name}: %{{y:{metric_format(measure)}}}<extra></extra>",
    )


def _chance(chance: float) -> str:
    share = Fraction(chance).limit_denominator(1000)
    return str(share) if share.numerator == 1 and abs(share - chance) < 1e-9 else f"{chance:.1%}"
