"""Figures of the choice of alpha: accuracy as an exact step function of alpha, and alpha against sparsity.

Every step is drawn at its exact bounds, however narrow; alpha is never sampled on a grid.
"""

import numpy as np
import plotly.graph_objects as go

from headprune_core.alpha_choice.alpha_accuracy import AlphaAccuracy
from headprune_core.alpha_choice.alpha_recommendation import AlphaRecommendation, format_inside
from headprune_core.alpha_choice.alpha_surface import AlphaSurface
from headprune_core.data.measures import format_difference, format_value

from .roles import CHOICE, HUES, colorscale
from .style import AXIS_TITLES, GRAY, MARGIN, metric_axis, metric_format, metric_name, style

_STEP = HUES["hies"]
_ALPHA = "α (0 = entropy only, 1 = importance only)"


def alpha_steps(found: AlphaAccuracy, chosen: AlphaRecommendation | None = None) -> go.Figure:
    """Draw accuracy or agreement over alpha, one step per alpha interval.

    Args:
        found: accuracy of every mask along the alpha path.
        chosen: recommendation to mark, which also selects the metric; or None.

    Returns:
        A step function with its 95% CI, both ends of the path, the mean of the random masks, the interval of the
        highest value, the alpha that the verdict advises, and the cross-validated value.
    """
    by = chosen.by if chosen is not None else found.measure
    measured, shown = found.measured(by), metric_format(by)
    value, low, high = measured.value, measured.low, measured.high
    edges = np.array([found.path[0].low, *(part.high for part in found.path)])
    figure = go.Figure()
    x = np.repeat(edges, 2)[1:-1]
    figure.add_scatter(
        x=np.r_[x, x[::-1]],
        y=np.r_[np.repeat(high, 2), np.repeat(low, 2)[::-1]],
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor="rgba(213, 94, 0, 0.2)",
        hoverinfo="skip",
        showlegend=False,  # The line's entry names the band; on a phone every entry makes the plot smaller.
        name="95% CI",
    )
    random = found.random(by)
    if len(random):
        figure.add_scatter(
            x=[0, 1],
            y=[random.mean()] * 2,
            mode="lines",
            line={"color": GRAY.format(1), "dash": "dot", "width": 2},
            name=f"Random mean ({_count(len(random), 'mask')})",
            hovertemplate=f"random mean: %{{y:{shown}}}<extra></extra>",
        )
    figure.add_scatter(
        x=x,
        y=np.repeat(value, 2),
        mode="lines",
        line={"color": _STEP, "width": 2.5},
        customdata=np.repeat(np.column_stack([edges[:-1], edges[1:], low, high]), 2, axis=0),
        hovertemplate=f"α %{{customdata[0]:.4f}} to %{{customdata[1]:.4f}}: %{{y:{shown}}} (95% CI "
        f"%{{customdata[2]:{shown}}} to %{{customdata[3]:{shown}}})<extra></extra>",
        name="HIES (95% CI)",
    )
    for at, method, name in ((0, "ae", "AE only"), (-1, "his", "HIS only")):
        color, _, symbol = style(method)
        figure.add_scatter(
            x=[edges[at]],
            y=[value[at]],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 13, "line": {"width": 1, "color": GRAY.format(1)}},
            name=name,
            hovertemplate=f"{name}: %{{y:{shown}}}<extra></extra>",
            cliponaxis=False,
        )
    if chosen is not None:
        _mark(figure, chosen)
    figure.update_xaxes(title=_ALPHA, range=[-0.012, 1.012], zeroline=False)
    figure.update_yaxes(**metric_axis(by), zeroline=False)
    return figure.update_layout(
        height=520, margin={**MARGIN, "t": 24}, legend={"orientation": "h", "y": -0.2, "yanchor": "top"}, hovermode="closest"
    )


def describe_alpha_steps(found: AlphaAccuracy, chosen: AlphaRecommendation) -> str:
    """Describe the steps: their number, their range, both ends, the random mean and the recommended alpha.

    Args:
        found: accuracy of every mask along the alpha path.
        chosen: recommendation from it.

    Returns:
        One or two sentences.
    """
    values, metric = found.measured(chosen.by).value, metric_name(chosen.by)

    def text(value: float) -> str:
        return format_value(chosen.by, value)

    random = f", random masks {text(chosen.random)} on average" if np.isfinite(chosen.random) else ""
    if chosen.masks == 1:
        return f"One mask covers all alpha from 0 to 1: {metric} {text(values[0])}{random}."
    ties = f" ({chosen.ties} masks tie; this one covers the largest alpha range)" if chosen.ties > 1 else ""
    return (
        f"Alpha from 0 to 1 has {_count(len(found.path), 'interval')} with {_count(chosen.masks, 'distinct mask')}: "
        f"{metric} ranges from {text(values.min())} to {text(values.max())}; HIS only {text(chosen.his)}, AE only "
        f"{text(chosen.ae)}{random}. The highest is at alpha = {chosen.alpha_text}: {text(chosen.value)} (95% CI "
        f"{text(chosen.value_low)} to {text(chosen.value_high)}){ties}. Recommended: {chosen.advised_text}."
    )


def surface_heatmap(surface: AlphaSurface) -> go.Figure:
    """Draw accuracy or agreement over alpha, as exact steps, and sparsity.

    Args:
        surface: accuracy along the alpha path at several sparsities.

    Returns:
        A heatmap with the best alpha interval of each sparsity marked.
    """
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
            colorscale=colorscale("neutral"),
            colorbar={
                "thickness": 10,
                "tickformat": metric_axis(by)["tickformat"],
                "title": {"text": AXIS_TITLES[by], "side": "right"},
            },
            hovertemplate=f"α %{{customdata[0]:.4f}} to %{{customdata[1]:.4f}}: %{{z:{metric_format(by)}}}<extra></extra>",
        )
    )
    figure.add_scatter(
        x=best.alpha,
        y=np.arange(len(names)),
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": "#ffffff", "line": {"width": 1.5, "color": "#000000"}},
        customdata=np.column_stack([best.low, best.high, best.value]),
        hovertemplate="best: α %{customdata[0]:.4f} to %{customdata[1]:.4f}, "
        f"%{{customdata[2]:{metric_format(by)}}}<extra></extra>",
        name="Best α per sparsity",
        showlegend=True,
    )
    figure.update_xaxes(title=_ALPHA, range=[0, 1], showgrid=False, zeroline=False)
    figure.update_yaxes(title="Sparsity", tickvals=np.arange(len(names)), ticktext=names, showgrid=False, zeroline=False)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(height=160 + 44 * len(names), margin=MARGIN, legend=legend)


def describe_surface(surface: AlphaSurface) -> str:
    """Describe the best alpha at each sparsity and the sparsity at which alpha has the largest effect.

    Args:
        surface: accuracy along the alpha path at several sparsities.

    Returns:
        Several short sentences.
    """
    best, by = surface.best, surface.measure
    lines = "; ".join(
        f"at {_percent(line.sparsity)} sparsity, {format_value(by, line.value)} with alpha = "
        f"{format_inside(line.alpha, line.low, line.high)} (HIS only: {format_value(by, line.his)})"
        for line in best.itertuples()
    )
    most = best.loc[best.spread.fillna(0.0).idxmax()]
    spread = format_difference(by, most.spread).lstrip("+")
    return (
        f"Best {metric_name(surface.measure)}: {lines}. Alpha has the largest effect at "
        f"{_percent(most.sparsity)} sparsity: {spread} between the best and the worst mask."
    )


def _mark(figure: go.Figure, chosen: AlphaRecommendation) -> None:
    """Mark the interval of the highest value, the advised alpha, and the cross-validated value of choosing alpha."""
    line = {"color": CHOICE, "width": 1}
    figure.add_vrect(x0=chosen.low, x1=chosen.high, fillcolor="rgba(148, 103, 189, 0.2)", line=line, layer="below")
    his_only = chosen.advised_alpha == 1.0
    if his_only and not chosen.is_his:
        _star(figure, chosen, chosen.alpha, chosen.value, "star-open", f"Highest: α = {chosen.alpha_text}")
    advised = "HIS only (α = 1)" if his_only else f"α = {chosen.alpha_text}"
    _star(figure, chosen, chosen.advised_alpha, chosen.advised_value, "star", f"Recommended: {advised}")
    held = chosen.cross_validated
    if held is not None:
        figure.add_scatter(
            x=[chosen.alpha],
            y=[held.value],
            mode="markers",
            marker={"color": CHOICE, "symbol": "circle-open", "size": 20, "line": {"width": 2}},
            error_y={"array": [held.high - held.value], "arrayminus": [held.value - held.low], "color": CHOICE},
            name="Cross-validated",
            hovertemplate=f"cross-validated {metric_name(chosen.by)}: %{{y:{metric_format(chosen.by)}}} (95% CI "
            f"{format_value(chosen.by, held.low)} to {format_value(chosen.by, held.high)})<extra></extra>",
        )


def _star(figure: go.Figure, chosen: AlphaRecommendation, alpha: float, value: float, symbol: str, name: str) -> None:
    outline = {"width": 2 if symbol.endswith("open") else 1, "color": CHOICE if symbol.endswith("open") else GRAY.format(1)}
    figure.add_scatter(
        x=[alpha],
        y=[value],
        mode="markers",
        marker={"color": CHOICE, "symbol": symbol, "size": 15, "line": outline},
        name=name,
        hovertemplate=f"{name}: %{{y:{metric_format(chosen.by)}}}<extra></extra>",
        cliponaxis=False,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
