"""Figures of a Greedy-Gnorm run, as pure functions of it, and for each the sentence that says what it shows.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from headprune_core.measure.greedy import GreedyTrajectory

from .heatmaps import row_name, has_custom_labels
from .style import GRAY, MARGIN, style, tick

BLUE, ORANGE = "#0072b2", "#d55e00"


def greedy_map(run: GreedyTrajectory, step: int, labels: Sequence[str]) -> go.Figure:
    """S(n) before the next removal, by row and head, in powers of ten; crosses are gone, the frame is what goes next."""
    scores = run.scores[min(step, run.steps - 1)]
    mask = run.mask(step)
    rows, heads = mask.shape
    shown = np.where(mask & (scores > 0), np.log10(np.where(scores > 0, scores, 1.0)), np.nan)
    every = np.concatenate([some[some > 0] for some in run.scores] or [np.ones(1)])
    low, high = (float(f(np.log10(every))) for f in (np.min, np.max)) if len(every) else (0.0, 1.0)
    powers = list(range(int(np.ceil(low)), int(np.floor(high)) + 1))
    hover = [
        f"<b>{row_name(labels[r])}, head {h}</b><br>" + (f"Gnorm {scores[r, h]:.3g}" if mask[r, h] else "removed")
        for r, h in np.ndindex(rows, heads)
    ]
    cell = min(30, max(12, 480 // rows))
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            zmin=low,
            zmax=high,
            colorscale="Cividis",
            xgap=2,
            ygap=2,
            customdata=np.array(hover).reshape(rows, heads),
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=True,
            colorbar={
                "title": "Gnorm",
                "thickness": 10,
                "tickvals": powers,
                "ticktext": [f"10<sup>{p}</sup>" for p in powers],
            },
        )
    )
    gone = np.argwhere(~mask)
    figure.add_scatter(
        x=gone[:, 1],
        y=gone[:, 0],
        mode="markers",
        marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": GRAY.format(0.9)}},
        hoverinfo="skip",
        showlegend=False,
    )
    for row, head in run.order[step * run.heads_per_step : (step + 1) * run.heads_per_step]:
        box = {"x0": head - 0.5, "x1": head + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", **box, line={"color": ORANGE, "width": 4})
    figure.update_xaxes(title="head", range=[-0.5, heads - 0.5], dtick=tick(heads), showgrid=False, zeroline=False)
    figure.update_yaxes(title="layer", range=[rows - 0.5, -0.5], dtick=tick(rows), showgrid=False, zeroline=False)
    if has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    figure.update_layout(height=max(240, 92 + cell * rows), margin={**MARGIN, "t": 16}, dragmode=False)
    return figure


def describe_greedy_step(run: GreedyTrajectory, step: int, labels: Sequence[str]) -> str:
    """What has happened by `step` and what happens next, in a sentence or two."""
    left = int(run.mask(step).sum())
    told = f"{run.mask(step).size - left} heads are gone, {left} are left. "
    going = run.order[step * run.heads_per_step : (step + 1) * run.heads_per_step]
    if not going:
        return told + "The run ends here."
    names = ", ".join(f"{row_name(labels[row])} head {head}" for row, head in going[:4]) + (", …" if len(going) > 4 else "")
    scores = run.scores[step]
    size = f" (Gnorm {scores[going[0]]:.3g}, {'highest' if run.inverse else 'lowest'} of all)"
    return told + f"Next to go: {names}{size if len(going) == 1 else ''}."


def greedy_accuracy(run: GreedyTrajectory, step: int, chance: float | None = None) -> go.Figure:
    """Accuracy (or agreement) by heads removed with its 95 % band, where the run is, and the inflection point."""
    figure = go.Figure()
    values, labelled = run.measure, run.measure is run.accuracy
    gone = np.minimum(np.arange(len(values)) * run.heads_per_step, run.mask(0).size)
    color, _, symbol = style("inverse_greedy_gnorm" if run.inverse else "greedy_gnorm")
    if labelled and len(values):
        x = np.r_[gone, gone[::-1]]
        y = np.r_[run.accuracy_high, run.accuracy_low[::-1]]
        band = {"fill": "toself", "fillcolor": GRAY.format(0.22), "line_width": 0, "hoverinfo": "skip"}
        figure.add_scatter(x=x, y=y, mode="lines", name="95 % (Wilson)", **band)
    figure.add_scatter(
        x=gone,
        y=values,
        mode="lines+markers",
        name="accuracy" if labelled else "agreement with the unpruned model",
        line={"color": color, "width": 2.5},
        marker={"size": 5, "symbol": symbol},
        hovertemplate="%{x} heads removed: %{y:.3f}<extra></extra>",
    )
    if step < len(values):
        point = {"size": 15, "color": ORANGE, "symbol": "circle-open", "line": {"width": 3}}
        at = {"x": [gone[step]], "y": [values[step]]}
        figure.add_scatter(**at, mode="markers", marker=point, name="this step", hoverinfo="skip")
    if run.inflection is not None:
        at = gone[min(run.inflection, len(gone) - 1)]
        figure.add_vline(x=at, line={"dash": "dash", "color": ORANGE}, annotation_text="inflection point")
    if chance is not None and labelled:
        line = {"dash": "dot", "width": 1, "color": GRAY.format(1)}
        figure.add_hline(y=chance, line=line, annotation_text="guessing", annotation_position="bottom left")
    figure.update_xaxes(title="heads removed", range=[-1, run.mask(0).size + 1], zeroline=False)
    figure.update_yaxes(title="accuracy" if labelled else "agreement", zeroline=False)
    figure.update_layout(height=360, margin={**MARGIN, "t": 24}, legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    return figure


def describe_greedy_accuracy(run: GreedyTrajectory, step: int) -> str:
    """The accuracy at `step` beside the unpruned model's, and where it begins to fall."""
    what = "accuracy" if run.measure is run.accuracy else "agreement with the unpruned model"
    if step >= len(run.measure):
        return f"The {what} of this step has not been measured yet."
    told = f"After {step} steps the {what} is {run.measure[step]:.1%}, with all heads {run.measure[0]:.1%}. "
    if run.inflection is None:
        return told + "There is no step after which it begins to fall for good beyond noise."
    return told + f"It begins to fall for good after step {run.inflection}: the inflection point."


def shift_map(change: np.ndarray, labels: Sequence[str]) -> go.Figure:
    """A gradient shift (R, H, H): a small map for each row, heads down, the parts of the input that they read across."""
    rows = len(change)
    across = min(3, rows)
    titles = [row_name(label) for label in labels]
    figure = make_subplots(-(-rows // across), across, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.12)
    most = float(np.abs(change).max()) or 1.0
    for number, part in enumerate(change):
        heat = go.Heatmap(
            z=part,
            coloraxis="coloraxis",
            hovertemplate=f"{titles[number]}, head %{{y}}<br>part %{{x}} of the input<br>%{{z:.2e}}<extra></extra>",
        )
        figure.add_trace(heat, row=number // across + 1, col=number % across + 1)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False, zeroline=False, fixedrange=True)
    bar = {"title": "change", "thickness": 10, "exponentformat": "power"}
    colors = {"colorscale": "PuOr", "cmin": -most, "cmax": most, "colorbar": bar}
    figure.update_layout(coloraxis=colors, height=60 + 190 * -(-rows // across), margin={**MARGIN, "t": 32}, dragmode=False)
    return figure


def describe_shift(change: np.ndarray, head: tuple[int, int], labels: Sequence[str]) -> str:
    """Which rows noticed that `head` went, in a sentence."""
    size = np.sqrt(np.square(change).mean((1, 2)))
    gone = f"{row_name(labels[head[0]])}, head {head[1]}"
    if not size.any():
        return f"Removing {gone} changed no other head's query gradient at all."
    others = np.delete(np.arange(len(size)), head[0])
    noticed = int((size[others] > 0).sum())
    most = int(size.argmax())
    return (
        f"Removing {gone} changed the query gradients in {noticed} of the {len(others)} other layers, most in "
        f"{row_name(labels[most])}: that is why Greedy-Gnorm scores again after every removal."
    )
