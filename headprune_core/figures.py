"""Plotly figures as pure functions of results, and for each the sentence that says what it shows.

Colours are safe for colour-blind readers (Cividis for amounts, Okabe-Ito for methods, with a dash and a symbol each).
Backgrounds are left clear, so a page or a notebook gives its own. Rows and heads are numbered from 0, as everywhere.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .curves import REGIMES, main_measure
from .figures_style import GREY, MARGIN, for_plotly, label, style, tick
from .scores.agreement import Orthogonality

METRIC_LABELS = {"his": "HIS · importance", "ae": "AE · entropy", "hies": "HIES · mixed", "gnorm": "Gnorm · gradients"}


def score_heatmap(
    values: np.ndarray,
    title: str,
    hover: Sequence[str],
    selected: tuple[int, int] | None = None,
    unit: str = "",
    labels: Sequence[str] | None = None,
) -> go.Figure:
    """A layer x head heatmap (R, H) with a click target on every cell (customdata [row, head]).

    hover: one text per head, row by row. labels: what the rows are called where it is not their number.
    """
    rows, heads = values.shape
    cell = min(27, max(12, 480 // rows))  # pixels: many layers still fit a screen
    row, head = (index.ravel() for index in np.indices(values.shape))
    bar = {"thickness": 10, "title": unit, "exponentformat": "power"}
    figure = go.Figure(go.Heatmap(z=values, colorscale="Cividis", xgap=2, ygap=2, hoverinfo="skip", colorbar=bar))
    # clicks on a heatmap are not reported: invisible squares over the cells are
    figure.add_scatter(
        x=head,
        y=row,
        mode="markers",
        marker={"symbol": "square", "size": max(6, min(26, cell, 330 // heads)), "opacity": 0},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=np.column_stack([row, head]).tolist(),  # a plain list comes back from a click as it went
        text=list(hover),
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    if selected is not None:
        r, h = selected
        box = {"x0": h - 0.5, "x1": h + 0.5, "y0": r - 0.5, "y1": r + 0.5}
        figure.add_shape(type="rect", **box, line={"color": "#ffffff", "width": 5})
        figure.add_shape(type="rect", **box, line={"color": "#d55e00", "width": 3})
    figure.update_xaxes(
        title="head", range=[-0.5, heads - 0.5], dtick=tick(heads), showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(
        title="layer", range=[rows - 0.5, -0.5], dtick=tick(rows), showgrid=False, zeroline=False, fixedrange=True
    )
    if labels is not None and named(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    figure.update_layout(title=title, height=max(220, 92 + cell * rows), margin=MARGIN, dragmode=False, hoverdistance=24)
    return figure


def named(labels: Sequence[str]) -> bool:
    """Whether rows are called by other names than their numbers, as in an encoder-decoder."""
    return any(label != str(row) for row, label in enumerate(labels))


def called(label: str) -> str:
    """A row's label in a sentence: "layer 3", or "cross 0" as it is."""
    return f"layer {label}" if label.isdigit() else label


def heatmap_words(values: np.ndarray, name: str, labels: Sequence[str] | None = None) -> str:
    """What a heatmap shows: where its highest and lowest heads are and which row stands out."""
    rows = [called(label) for label in labels or map(str, range(len(values)))]
    top, low = (np.unravel_index(pick(values), values.shape) for pick in (np.argmax, np.argmin))
    row = int(values.mean(1).argmax())
    return (
        f"{name} by layer and head: highest at {rows[top[0]]}, head {top[1]}; lowest at {rows[low[0]]}, head {low[1]}; "
        f"{rows[row]} has the highest mean."
    )


def orthogonality_scatter(his: np.ndarray, ae: np.ndarray, check: Orthogonality) -> go.Figure:
    """Scaled importance against scaled entropy, both (R, H), a point a head, coloured by layer."""
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


def curves_figure(curves: pd.DataFrame, measure: str = "accuracy", chance: float | None = None) -> go.Figure:
    """Accuracy (or agreement, correlation, loss) against sparsity: a line a method over the envelope of random removal."""
    figure = go.Figure()
    end = float(curves.sparsity.max())
    for number, (low, high, name) in enumerate(REGIMES):
        if low < end:  # names at two heights: on a phone they would overlap
            figure.add_vrect(
                x0=low,
                x1=min(high, end),
                fillcolor=GREY.format(0.05 * number),
                line_width=0,
                layer="below",
                annotation={"text": name, "font_size": 11, "opacity": 0.75, "yshift": 16 * (number % 2)},
                annotation_position="top left",
            )
    random = curves[curves.method == "random"].groupby("sparsity")[measure].agg(["min", "mean", "max"]).reset_index()
    if len(random):
        x = np.r_[random.sparsity, random.sparsity[::-1]]
        y = np.r_[random["max"], random["min"][::-1]]
        seeds = curves.seed.nunique()
        figure.add_scatter(
            x=x,
            y=y,
            fill="toself",
            fillcolor=GREY.format(0.28),
            line_width=0,
            hoverinfo="skip",
            mode="lines",
            name=f"random, {seeds} seeds",
        )
        figure.add_scatter(
            x=random.sparsity,
            y=random["mean"],
            mode="lines",
            line={"color": GREY.format(1), "dash": "dot"},
            name="random, mean",
            hovertemplate="random mean: %{y:.3f}<extra></extra>",
        )
    for method, curve in curves[curves.method != "random"].groupby("method", sort=False):
        figure.add_trace(_line(curve, method, measure))
    whole = curves.loc[curves.heads_pruned == 0, measure]
    if len(whole) and measure in ("accuracy", "loss"):
        figure.add_hline(
            y=whole.iloc[0],
            line={"dash": "dash", "width": 1.5, "color": GREY.format(1)},
            annotation_text="unpruned",
            annotation_position="bottom right",
        )
    if chance is not None and measure == "accuracy":
        figure.add_hline(
            y=chance,
            line={"dash": "dot", "width": 1, "color": GREY.format(1)},
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


def curves_words(curves: pd.DataFrame, at: float = 0.5) -> str:
    """The figure in a sentence: every method and random removal at the sparsity nearest to `at`."""
    measure = main_measure(curves)
    at = min(curves.sparsity.unique(), key=lambda sparsity: abs(sparsity - at))
    there = curves[curves.sparsity == at].set_index("method")[measure]
    parts = [f"{label(method)} {value:.1%}" for method, value in there.items() if method != "random"]
    if "random" in there:
        parts.append(f"random {there.loc[['random']].min():.1%} to {there.loc[['random']].max():.1%}")
    what = "Accuracy" if measure == "accuracy" else "Agreement with the unpruned model"
    return f"{what} with {at:.0%} of the heads removed: {', '.join(parts)}."


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


def per_example_strip(values: np.ndarray, title: str, mean: float) -> go.Figure:
    """One head's value on every example, and their mean."""
    figure = go.Figure(go.Histogram(x=values, nbinsx=20, marker_color="#0072b2"))
    figure.add_vline(x=mean, line={"color": "#d55e00", "width": 3}, annotation_text="mean")
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="examples")
    figure.update_layout(height=210, margin={**MARGIN, "t": 24}, bargap=0.08)
    return figure


def _line(curve: pd.DataFrame, method: str, measure: str) -> go.Scatter:
    (colour, dash, symbol), name = style(method), for_plotly(label(method))
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
        line={"color": colour, "dash": dash, "width": 2.5},
        marker={"symbol": symbol, "size": 9, "color": colour},
        hovertemplate=f"{name}: %{{y:.3f}}<extra></extra>",
    )
