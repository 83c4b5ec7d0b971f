"""Figures of how far scores and rankings can be believed, as pure functions, and for each the sentence that says it.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.masks.criteria import CRITERIA
from headprune_core.measure.ranking_agreement import AgreementMatrix
from headprune_core.scores.stability import STEADY, RankStability

from .style import GRAY, MARGIN, label, style, tick

SURE = 0.95  # share of draws from which on a head's fate is called sure
_FATES = {  # what the draws say -> color, symbol
    "goes": ("#d55e00", "x"),
    "depends on the texts": ("#e69f00", "diamond"),
    "stays": ("#0072b2", "circle"),
}


def head_stability(removed: np.ndarray) -> dict[str, np.ndarray]:
    """Which heads (R, H) surely go, surely stay, or depend on the texts, from the share of draws that remove them."""
    goes, stays = removed >= SURE, removed <= 1.0 - SURE
    return {"goes": goes, "depends on the texts": ~goes & ~stays, "stays": stays}


def interval_figure(values, low, high, removed, name: str) -> go.Figure:
    """Heads in the order of their score, all (R, H), with intervals, marked by whether they go in every draw."""
    order = np.argsort(values, axis=None, kind="stable")
    place = np.empty(values.size, int)
    place[order] = np.arange(1, values.size + 1)
    row, head = (index.ravel() for index in np.indices(values.shape))
    figure = go.Figure()
    for fate, which in head_stability(removed).items():
        at = np.flatnonzero(which)
        color, symbol = _FATES[fate]
        middle = values.ravel()[at]
        figure.add_scatter(
            x=place[at],
            y=middle,
            mode="markers",
            name=f"{fate} ({len(at)})",
            marker={"color": color, "symbol": symbol, "size": 8},
            error_y={
                "array": high.ravel()[at] - middle,
                "arrayminus": middle - low.ravel()[at],
                "thickness": 1.2,
                "width": 0,
                "color": color,
            },
            customdata=np.column_stack([row[at], head[at], low.ravel()[at], high.ravel()[at], removed.ravel()[at]]),
            hovertemplate="<b>layer %{customdata[0]:.0f}, head %{customdata[1]:.0f}</b><br>%{y:.4g}, 95 % "
            "%{customdata[2]:.4g} to %{customdata[3]:.4g}<br>goes in %{customdata[4]:.0%} of the draws<extra></extra>",
        )
    figure.update_xaxes(title="heads, lowest score first", range=[0, values.size + 1], showgrid=False, zeroline=False)
    figure.update_yaxes(title=name, zeroline=False)
    return figure.update_layout(height=400, margin=MARGIN, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})


def describe_intervals(removed: np.ndarray, count: int) -> str:
    """How many of the `count` heads to remove are the same whichever texts are drawn."""
    found = {fate: int(which.sum()) for fate, which in head_stability(removed).items()}
    return (
        f"Of {removed.size} heads {count} are to go. Whichever texts are drawn, {found['goes']} go and {found['stays']} "
        f"stay (in {SURE:.0%} of the draws or more); for the other {found['depends on the texts']} it depends on the texts."
    )


def stability_figure(found: Sequence[RankStability]) -> go.Figure:
    """Kendall with the ranking from all the texts (full line) and of separate sets (dotted) against the number of texts."""
    figure = go.Figure()
    for one in found:
        table, (color, _, symbol) = one.table, style(one.metric)
        for column, dash, name in (("kendall", "solid", ""), ("apart", "dot", ", separate texts")):
            part = table.dropna(subset=column)
            low, high = ("low", "high") if column == "kendall" else ("apart_low", "apart_high")
            figure.add_scatter(
                x=part["size"],
                y=part[column],
                mode="lines+markers",
                name=label(one.metric) + name,
                line={"color": color, "dash": dash, "width": 2.5},
                marker={"symbol": symbol if column == "kendall" else f"{symbol}-open", "size": 9, "color": color},
                customdata=part[[low, high]],
                hovertemplate=f"{label(one.metric)}{name}, %{{x}} texts: %{{y:.2f}}, 95 % %{{customdata[0]:.2f}} to "
                "%{customdata[1]:.2f}<extra></extra>",
            )
    sizes = sorted({int(size) for one in found for size in one.table["size"]})
    figure.add_hline(
        y=STEADY,
        line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)},
        annotation_text="steady",
        annotation_position="bottom left",
    )
    figure.update_xaxes(title="texts", type="log", tickvals=sizes, ticktext=[str(size) for size in sizes])
    figure.update_yaxes(title="Kendall", range=[np.nanmin([0.0, *(one.table.apart.min() for one in found)]) - 0.03, 1.03])
    return figure.update_layout(height=440, margin=MARGIN, legend={"orientation": "h", "y": -0.2, "yanchor": "top"})


def agreement_heatmap(matrix: AgreementMatrix, show: str = "kendall", intervals=None) -> go.Figure:
    """Every pair of rankings: Kendall (diverging around 0) or overlap of what they remove (0 to 1), written in the cells.

    intervals: (low, high) of Kendall, for the hover text, each (K, K) or for the first rankings only.
    """
    values = getattr(matrix, show)
    names = [label(name) for name in matrix.names]
    low, high = np.full((2, *values.shape), np.nan)
    if intervals is not None and show == "kendall":
        known = len(intervals[0])
        low[:known, :known], high[:known, :known] = intervals
    scale = {"colorscale": "PuOr", "zmid": 0, "zmin": -1, "zmax": 1}
    if show == "overlap":
        scale = {"colorscale": "Cividis", "zmin": 0, "zmax": 1}
    detail = [
        [
            f"{a} and {b}: {value:.2f}" + (f", 95 % {start:.2f} to {end:.2f}" if np.isfinite(start) else "")
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
            showscale=False,  # the numbers are in the cells, which on a phone need the width
            **scale,
        )
    )
    figure.update_xaxes(showgrid=False, fixedrange=True, tickangle=-35)
    figure.update_yaxes(autorange="reversed", showgrid=False, fixedrange=True)
    return figure.update_layout(height=160 + 44 * len(names), margin=MARGIN)


def _short(value: float) -> str:
    """A correlation to two places without the zero before the point, so that it fits a narrow cell."""
    return f"{value:.2f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else ""


def describe_agreement(matrix: AgreementMatrix) -> str:
    """The pairs of criteria that agree most and least; orders turned round and what is no criterion are left out."""
    pairs = matrix.to_frame()
    turned = ("inverse_", "hies_keep_high")
    criteria = [name for name in matrix.names if name in CRITERIA and not name.startswith(turned)]
    pairs = pairs[pairs["first"].isin(criteria) & pairs["second"].isin(criteria)].dropna(subset="kendall")
    if pairs.empty:
        return "There are no two criteria to compare."
    most, least = (pairs.loc[pick(pairs.kendall)] for pick in (pd.Series.idxmax, pd.Series.idxmin))
    told = [
        f"{label(pair['first'])} and {label(pair['second'])} agree {much} (Kendall {pair.kendall:.2f}"
        + (f", overlap {pair.overlap:.2f})" if np.isfinite(pair.overlap) else ")")
        for pair, much in ((most, "most"), (least, "least"))
    ]
    chance = f" Two random choices of as many heads overlap by {matrix.chance:.2f}." if matrix.removed else ""
    return f"{'; '.join(told)}.{chance}"


def ablation_heatmap(values: np.ndarray, measure: str) -> go.Figure:
    """What happens when each head alone goes, (R, H), by layer and head; losses that fall are on the other side of 0."""
    scale = {"colorscale": "PuOr", "zmid": 0} if measure != "abs_loss_change" else {"colorscale": "Cividis"}
    figure = go.Figure(go.Heatmap(z=values, xgap=2, ygap=2, colorbar={"thickness": 10}, **scale))
    figure.update_traces(hovertemplate="layer %{y}, head %{x}: %{z:.4g}<extra></extra>")
    rows, heads = values.shape
    figure.update_xaxes(title="head", dtick=tick(heads), showgrid=False, zeroline=False, fixedrange=True)
    figure.update_yaxes(
        title="layer", autorange="reversed", dtick=tick(rows), showgrid=False, zeroline=False, fixedrange=True
    )
    return figure.update_layout(height=max(240, 92 + 27 * min(rows, 24)), margin={**MARGIN, "t": 16}, dragmode=False)


def ablation_kendall(table: pd.DataFrame, measure: str, half: tuple[float, float, float]) -> go.Figure:
    """Kendall of each criterion with the ablation, with intervals, beside how well two halves of the texts agree."""
    columns = ["kendall", "low", "high"] if measure == "abs_loss_change" else ["increase", "increase_low", "increase_high"]
    middle, low, high = (table[column] for column in columns)
    names = [label(name) for name in table.criterion]
    figure = go.Figure()
    figure.add_vrect(x0=half[1], x1=half[2], fillcolor=GRAY.format(0.25), line_width=0, layer="below")
    figure.add_vline(x=0, line={"width": 1, "color": GRAY.format(1)})
    figure.add_vline(
        x=half[0], line={"dash": "dot", "color": GRAY.format(1)}, annotation_text="two halves", annotation_position="top"
    )
    figure.add_scatter(
        x=middle,
        y=names,
        mode="markers",
        marker={
            "size": 11,
            "color": [style(name)[0] for name in table.criterion],
            "symbol": [style(name)[2] for name in table.criterion],
        },
        error_x={"array": high - middle, "arrayminus": middle - low, "thickness": 1.5, "width": 5, "color": GRAY.format(1)},
        customdata=np.column_stack([low, high]),
        hovertemplate="%{y}: %{x:.2f}, 95 % %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Kendall with leaving one head out", range=[-1.03, 1.03], zeroline=False)
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=110 + 38 * len(names), margin={**MARGIN, "t": 28})


def describe_ablation(table: pd.DataFrame, measure: str, half: tuple[float, float, float]) -> str:
    """Each criterion's Kendall with the ablation in a sentence, and how far two halves of the texts agree."""
    columns = ("kendall", "low", "high") if measure == "abs_loss_change" else ("increase", "increase_low", "increase_high")
    lines = table[~table.criterion.str.startswith("inverse_")]
    told = [
        f"{label(line.criterion)} {getattr(line, columns[0]):.2f} ({getattr(line, columns[1]):.2f} to "
        f"{getattr(line, columns[2]):.2f})"
        for line in lines.itertuples()
    ]
    what = "how much the loss moves" if measure == "abs_loss_change" else "how much the loss rises"
    return (
        f"Kendall with {what} when each head alone goes, with 95 % intervals: {', '.join(told)}. "
        f"Leaving out on one half of the texts agrees to {half[0]:.2f} with leaving out on the other half"
        + ("." if half[1] > 0 else ": too little to judge criteria by, so take more texts.")
    )
