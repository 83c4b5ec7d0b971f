"""Figures of the uncertainty of scores and rankings: intervals, rank stability and agreement of rankings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.masks.criteria import CRITERIA
from headprune_core.measure.ranking_agreement import AgreementMatrix
from headprune_core.scores.stability import STABLE_TAU, RankStability

from .roles import CHOICE, STATES, colorscale
from .style import GRAY, MARGIN, label, style

STABLE_SHARE = 0.95  # share of bootstrap resamples from which on a head counts as always pruned or always kept
_PRUNED, _DEPENDS, _KEPT = "Always pruned", "Depends on sample", "Always kept"
_STATES = {  # state of a head over the resamples -> color, symbol
    _PRUNED: (GRAY.format(0.9), "x"),
    _DEPENDS: (CHOICE, "diamond"),
    _KEPT: (STATES["kept"], "circle"),
}


def head_stability(removed: np.ndarray) -> dict[str, np.ndarray]:
    """Classify heads by the share of bootstrap resamples in which they are pruned.

    Args:
        removed: (R, H) share of resamples in which each head is pruned, 0 to 1.

    Returns:
        State -> bool (R, H): always pruned (at least 95% of resamples), depends on sample, always kept.
    """
    pruned, kept = removed >= STABLE_SHARE, removed <= 1.0 - STABLE_SHARE
    return {_PRUNED: pruned, _DEPENDS: ~pruned & ~kept, _KEPT: kept}


def interval_figure(values, low, high, removed, name: str) -> go.Figure:
    """Draw the heads sorted by score, with their bootstrap intervals.

    Args:
        values: (R, H) score of each head.
        low: (R, H) lower bound of the 95% CI.
        high: (R, H) upper bound of the 95% CI.
        removed: (R, H) share of resamples in which each head is pruned, 0 to 1.
        name: title of the score axis.

    Returns:
        A scatter plot, marked by `head_stability`.
    """
    order = np.argsort(values, axis=None, kind="stable")
    rank = np.empty(values.size, int)
    rank[order] = np.arange(1, values.size + 1)
    row, head = (index.ravel() for index in np.indices(values.shape))
    figure = go.Figure()
    for state, which in head_stability(removed).items():
        at = np.flatnonzero(which)
        color, symbol = _STATES[state]
        middle = values.ravel()[at]
        figure.add_scatter(
            x=rank[at],
            y=middle,
            mode="markers",
            name=f"{state} ({len(at)})",
            marker={"color": color, "symbol": symbol, "size": 8},
            error_y={
                "array": high.ravel()[at] - middle,
                "arrayminus": middle - low.ravel()[at],
                "thickness": 1.2,
                "width": 0,
                "color": color,
            },
            customdata=np.column_stack([row[at], head[at], low.ravel()[at], high.ravel()[at], removed.ravel()[at]]),
            hovertemplate="<b>layer %{customdata[0]:.0f}, head %{customdata[1]:.0f}</b><br>%{y:.4g} (95% CI "
            "%{customdata[2]:.4g} to %{customdata[3]:.4g})<br>pruned in %{customdata[4]:.0%} of resamples<extra></extra>",
        )
    figure.update_xaxes(title="Heads, sorted by score", range=[0, values.size + 1], showgrid=False, zeroline=False)
    figure.update_yaxes(title=name, zeroline=False)
    return figure.update_layout(height=400, margin=MARGIN, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})


def describe_intervals(removed: np.ndarray, count: int) -> str:
    """Describe how many heads are pruned or kept in nearly all bootstrap resamples.

    Args:
        removed: (R, H) share of resamples in which each head is pruned, 0 to 1.
        count: number of heads pruned at this sparsity.

    Returns:
        Two sentences.
    """
    counts = {state: int(which.sum()) for state, which in head_stability(removed).items()}
    pruned, kept, other = counts[_PRUNED], counts[_KEPT], counts[_DEPENDS]
    return (
        f"At this sparsity {count} of {removed.size} heads are pruned. In at least {STABLE_SHARE:.0%} of bootstrap "
        f"resamples, {pruned} head{' is' if pruned == 1 else 's are'} always pruned and {kept} "
        f"{'is' if kept == 1 else 'are'} always kept; the other {other} depend{'s' * (other == 1)} on the "
        "calibration sample."
    )


def stability_figure(found: Sequence[RankStability]) -> go.Figure:
    """Draw Kendall's τ against the number of calibration examples.

    Args:
        found: rank stability of each metric.

    Returns:
        Per metric a solid line for τ with the ranking from all examples and a dotted line for τ between disjoint subsets.
    """
    figure = go.Figure()
    for result in found:
        table, (color, _, symbol) = result.table, style(result.metric)
        for column, dash, suffix in (("kendall", "solid", ""), ("apart", "dot", " (disjoint subsets)")):
            part = table.dropna(subset=column)
            low, high = ("low", "high") if column == "kendall" else ("apart_low", "apart_high")
            figure.add_scatter(
                x=part["size"],
                y=part[column],
                mode="lines+markers",
                name=label(result.metric) + suffix,
                line={"color": color, "dash": dash, "width": 2.5},
                marker={"symbol": symbol if column == "kendall" else f"{symbol}-open", "size": 9, "color": color},
                customdata=part[[low, high]],
                hovertemplate=f"{label(result.metric)}{suffix}, %{{x}} examples: τ = %{{y:.2f}} (95% CI "
                "%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
            )
    sizes = sorted({int(size) for result in found for size in result.table["size"]})
    figure.add_hline(
        y=STABLE_TAU,
        line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)},
        annotation_text=f"τ = {STABLE_TAU:g}",
        annotation_position="bottom left",
    )
    figure.update_xaxes(title="Calibration examples", type="log", tickvals=sizes, ticktext=[str(size) for size in sizes])
    lowest = np.nanmin([0.0, *(result.table.apart.min() for result in found)])
    figure.update_yaxes(title="Kendall's τ", range=[lowest - 0.03, 1.03])
    return figure.update_layout(height=440, margin=MARGIN, legend={"orientation": "h", "y": -0.2, "yanchor": "top"})


def agreement_heatmap(matrix: AgreementMatrix, show: str = "kendall", intervals=None) -> go.Figure:
    """Draw the agreement of every pair of rankings, with the values in the cells.

    Args:
        matrix: agreement of K rankings.
        show: "kendall" for Kendall's τ, or "overlap" for the Jaccard overlap of the pruned heads.
        intervals: (low, high) of the 95% CI of τ for the hover text, each (K, K) or for the first rankings only; or None.

    Returns:
        A heatmap.
    """
    values = getattr(matrix, show)
    names = [label(name) for name in matrix.names]
    low, high = np.full((2, *values.shape), np.nan)
    if intervals is not None and show == "kendall":
        known = len(intervals[0])
        low[:known, :known], high[:known, :known] = intervals
    title, scale = "Kendall's τ", {"colorscale": "PuOr", "zmid": 0, "zmin": -1, "zmax": 1}
    if show == "overlap":
        title, scale = "Overlap (Jaccard)", {"colorscale": colorscale("neutral"), "zmin": 0, "zmax": 1}
    detail = [
        [
            f"{a} and {b}: {value:.2f}" + (f" (95% CI {start:.2f} to {end:.2f})" if np.isfinite(start) else "")
            for b, value, start, end in zip(names, *parts, strict=True)
        ]
        for a, *parts in zip(names, values, low, high, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=names,
            y=names,
            text=[[_short(value) for value in line] for line in values],
            texttemplate="%{text}",
            customdata=detail,
            hovertemplate="%{customdata}<extra></extra>",
            xgap=2,
            ygap=2,
            showscale=False,  # The values are in the cells, which need the width on a phone.
            **scale,
        )
    )
    figure.update_xaxes(showgrid=False, fixedrange=True, tickangle=-35)
    figure.update_yaxes(autorange="reversed", showgrid=False, fixedrange=True)
    return figure.update_layout(title={"text": title, "font": {"size": 14}}, height=160 + 44 * len(names), margin=MARGIN)


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else ""


def describe_agreement(matrix: AgreementMatrix) -> str:
    """Describe the pairs of criteria with the highest and the lowest Kendall's τ.

    Args:
        matrix: agreement of K rankings. Inverse criteria and rankings that are no criterion are ignored.

    Returns:
        One or two sentences; the second gives the overlap expected by chance.
    """
    pairs = matrix.to_frame()
    inverse = ("inverse_", "hies_keep_high")
    criteria = [name for name in matrix.names if name in CRITERIA and not name.startswith(inverse)]
    pairs = pairs[pairs["first"].isin(criteria) & pairs["second"].isin(criteria)].dropna(subset="kendall")
    if pairs.empty:
        return "At least two criteria are needed for a comparison."
    most, least = (pairs.loc[pick(pairs.kendall)] for pick in (pd.Series.idxmax, pd.Series.idxmin))
    parts = [
        f"{label(pair['first'])} and {label(pair['second'])} agree {degree} (Kendall's τ = {pair.kendall:.2f}"
        + (f", overlap {pair.overlap:.2f})" if np.isfinite(pair.overlap) else ")")
        for pair, degree in ((most, "most"), (least, "least"))
    ]
    expected = f" Expected overlap of two random sets of this size: {matrix.chance:.2f}." if matrix.removed else ""
    return f"{'; '.join(parts)}.{expected}"
