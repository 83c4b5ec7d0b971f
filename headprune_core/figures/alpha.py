"""Figures of what alpha is worth, as pure functions: the step function of accuracy over alpha, and alpha against sparsity.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear. Steps are drawn where they
are, however narrow: no grid over alpha comes between.
"""

import numpy as np
import plotly.graph_objects as go

from headprune_core.alpha_choice.alpha_accuracy import AlphaAccuracy
from headprune_core.alpha_choice.alpha_surface import AlphaSurface
from headprune_core.alpha_choice.recommendation import AlphaRecommendation, format_inside
from headprune_core.measure.curves import wilson

from .style import GRAY, MARGIN, style

_STEP, _CHOSEN = "#0072b2", "#d55e00"
_NAMES = {"accuracy": "accuracy", "agreement": "agreement with the unpruned model"}
_ALPHA = "alpha (0: entropy alone, 1: importance alone)"


def alpha_steps(found: AlphaAccuracy, chosen: AlphaRecommendation | None = None) -> go.Figure:
    """The measure over alpha, a step an interval, with its 95 % band, the two ends, the random mean and the choice."""
    by = chosen.by if chosen is not None else found.measure
    value = getattr(found, by)
    low, high = wilson(value * found.trials, found.trials)
    edges = np.array([found.path[0].low, *(part.high for part in found.path)])
    figure = go.Figure()
    x = np.repeat(edges, 2)[1:-1]
    figure.add_scatter(
        x=np.r_[x, x[::-1]],
        y=np.r_[np.repeat(high, 2), np.repeat(low, 2)[::-1]],
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor="rgba(0, 114, 178, 0.25)",
        hoverinfo="skip",
        showlegend=False,  # the line says it: on a phone every entry costs the plot a line
        name="95 % interval",
    )
    random = getattr(found, f"random_{by}")
    if len(random):
        figure.add_scatter(
            x=[0, 1],
            y=[random.mean()] * 2,
            mode="lines",
            line={"color": GRAY.format(1), "dash": "dot", "width": 2},
            name=f"random, mean of {len(random)}",
            hovertemplate="random mean: %{y:.3f}<extra></extra>",
        )
    figure.add_scatter(
        x=x,
        y=np.repeat(value, 2),
        mode="lines",
        line={"color": _STEP, "width": 2.5},
        customdata=np.repeat(np.column_stack([edges[:-1], edges[1:], low, high]), 2, axis=0),
        hovertemplate="alpha %{customdata[0]:.4f} to %{customdata[1]:.4f}: %{y:.3f}, 95 % %{customdata[2]:.3f} to "
        "%{customdata[3]:.3f}<extra></extra>",
        name="HIES, 95 % interval",
    )
    for at, method, name in ((0, "ae", "AE alone"), (-1, "his", "HIS alone")):
        color, _, symbol = style(method)
        figure.add_scatter(
            x=[edges[at]],
            y=[value[at]],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 13, "line": {"width": 1, "color": GRAY.format(1)}},
            name=name,
            hovertemplate=f"{name}: %{{y:.3f}}<extra></extra>",
            cliponaxis=False,
        )
    if chosen is not None:
        _mark(figure, chosen)
    figure.update_xaxes(title=_ALPHA, range=[-0.012, 1.012], zeroline=False)
    figure.update_yaxes(title=_NAMES[by], zeroline=False)
    return figure.update_layout(
        height=520, margin={**MARGIN, "t": 24}, legend={"orientation": "h", "y": -0.2, "yanchor": "top"}, hovermode="closest"
    )


def describe_alpha_steps(found: AlphaAccuracy, chosen: AlphaRecommendation) -> str:
    """What the steps show: how many there are, their range, both ends, the choice and what it is worth."""
    values = getattr(found, chosen.by)
    random = f", random masks {chosen.random:.1%} on average" if np.isfinite(chosen.random) else ""
    ends = f"HIS alone {chosen.his:.1%}, entropy alone {chosen.ae:.1%}{random}"
    steps = f"{_count(len(found.path), 'interval')} with {_count(chosen.masks, 'mask')}"
    if chosen.masks == 1:
        return f"From alpha 0 to 1 there is one mask: {_NAMES[chosen.by]} {values[0]:.1%}{random}."
    ties = f" ({chosen.ties} masks are as good; this one is the widest)" if chosen.ties > 1 else ""
    return (
        f"From alpha 0 to 1 there are {steps}: {_NAMES[chosen.by]} goes from {values.min():.1%} to {values.max():.1%}; "
        f"{ends}. Best is alpha {chosen.alpha_text}, with {chosen.value:.1%} ({chosen.value_low:.1%} to "
        f"{chosen.value_high:.1%}){ties}."
    )


def surface_heatmap(surface: AlphaSurface) -> go.Figure:
    """The measure over alpha (exact steps) and sparsity, the best interval of each sparsity marked."""
    frame, by, best = surface.frame, surface.measure, surface.best
    edges = np.unique(np.r_[frame.low, frame.high])
    middles = (edges[:-1] + edges[1:]) / 2.0
    lines, details = [], []
    for _, part in frame.groupby("sparsity", sort=True):
        at = np.searchsorted(part.high.to_numpy(), middles)
        lines.append(part[by].to_numpy(float)[at])
        details.append(part[["low", "high"]].to_numpy()[at])
    names = [_percent(sparsity) for sparsity in best.sparsity]
    figure = go.Figure(
        go.Heatmap(
            x=edges,
            y=np.arange(len(names) + 1) - 0.5,
            z=np.array(lines),
            customdata=np.array(details),
            colorscale="Cividis",
            colorbar={"thickness": 10, "tickformat": ".0%"},
            hovertemplate="alpha %{customdata[0]:.4f} to %{customdata[1]:.4f}: %{z:.3f}<extra></extra>",
        )
    )
    figure.add_scatter(
        x=best.alpha,
        y=np.arange(len(names)),
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": "#ffffff", "line": {"width": 1.5, "color": "#000000"}},
        customdata=np.column_stack([best.low, best.high, best.value]),
        hovertemplate="best: alpha %{customdata[0]:.4f} to %{customdata[1]:.4f}, %{customdata[2]:.3f}<extra></extra>",
        name="best",
        showlegend=True,
    )
    figure.update_xaxes(title=_ALPHA, range=[0, 1], showgrid=False, zeroline=False)
    figure.update_yaxes(
        title="heads removed", tickvals=np.arange(len(names)), ticktext=names, showgrid=False, zeroline=False
    )
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(height=160 + 44 * len(names), margin=MARGIN, legend=legend)


def describe_surface(surface: AlphaSurface) -> str:
    """The surface in words: the best alpha at each sparsity, and at which alpha makes most difference."""
    best = surface.best
    told = "; ".join(
        f"{_percent(line.sparsity)}: alpha {format_inside(line.alpha, line.low, line.high)} with {line.value:.1%} (HIS "
        f"alone {line.his:.1%})"
        for line in best.itertuples()
    )
    most = best.loc[best.spread.idxmax()]
    return (
        f"Best {_NAMES[surface.measure]} by share of heads removed. {told}. Alpha makes most difference with "
        f"{_percent(most.sparsity)} removed: {100 * most.spread:.1f} points between its best and its worst mask."
    )


def _mark(figure: go.Figure, chosen: AlphaRecommendation) -> None:
    """The recommended interval, its alpha, and what choosing is worth on texts that had no part in it."""
    line = {"color": _CHOSEN, "width": 1}
    figure.add_vrect(x0=chosen.low, x1=chosen.high, fillcolor="rgba(213, 94, 0, 0.15)", line=line, layer="below")
    figure.add_scatter(
        x=[chosen.alpha],
        y=[chosen.value],
        mode="markers",
        marker={"color": _CHOSEN, "symbol": "star", "size": 15, "line": {"width": 1, "color": GRAY.format(1)}},
        name=f"recommended: {chosen.alpha_text}",
        hovertemplate=f"recommended, alpha {chosen.low:.4f} to {chosen.high:.4f}: %{{y:.3f}}<extra></extra>",
    )
    held = chosen.cross_validated
    if held is not None:
        figure.add_scatter(
            x=[chosen.alpha],
            y=[held.value],
            mode="markers",
            marker={"color": _CHOSEN, "symbol": "circle-open", "size": 20, "line": {"width": 2}},
            error_y={"array": [held.high - held.value], "arrayminus": [held.value - held.low], "color": _CHOSEN},
            name="on other texts",
            hovertemplate=f"choosing, on other texts: %{{y:.3f}}, 95 % {held.low:.3f} to {held.high:.3f}<extra></extra>",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
