"""Figures of a Greedy-Gnorm run: scores at a step, accuracy per step, gradient shift, and their text alternatives."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from headprune_core.data.measures import SHARES, format_value
from headprune_core.measure.greedy import GreedyTrajectory

from .heatmaps import has_custom_labels, row_name
from .roles import CHOICE, colorscale
from .style import GRAY, HEAD, LAYER, MARGIN, metric_axis, metric_format, metric_name, style, tick


def greedy_map(run: GreedyTrajectory, step: int, labels: Sequence[str]) -> go.Figure:
    """Draw the Gnorm of the remaining heads at a step, on a log scale.

    Args:
        run: a Greedy-Gnorm run.
        step: number of steps taken, 0 for the unpruned model.
        labels: name of each row.

    Returns:
        A heatmap with a cross on pruned heads and a frame around the heads pruned next.
    """
    scores = run.scores[min(step, run.steps - 1)]
    mask = run.mask(step)
    rows, heads = mask.shape
    shown = np.where(mask & (scores > 0), np.log10(np.where(scores > 0, scores, 1.0)), np.nan)
    low, high = np.log10(gnorm_range(run))
    powers = list(range(int(np.ceil(low)), int(np.floor(high)) + 1))
    hover = [
        f"<b>{row_name(labels[r])}, head {h}</b><br>" + (f"Gnorm {scores[r, h]:.3g}" if mask[r, h] else "pruned")
        for r, h in np.ndindex(rows, heads)
    ]
    cell = min(30, max(12, 480 // rows))
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            zmin=low,
            zmax=high,
            colorscale=colorscale("gnorm", dark="low" if run.inverse else "high"),
            xgap=2,
            ygap=2,
            customdata=np.array(hover).reshape(rows, heads),
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=True,
            colorbar={
                "title": {"text": "Gnorm (log scale)", "side": "right"},
                "thickness": 10,
                "tickvals": powers,
                "ticktext": [f"10<sup>{p}</sup>" for p in powers],
            },
        )
    )
    pruned = np.argwhere(~mask)
    figure.add_scatter(
        x=pruned[:, 1],
        y=pruned[:, 0],
        mode="markers",
        marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": GRAY.format(0.9)}},
        hoverinfo="skip",
        showlegend=False,
    )
    for row, head in run.order[step * run.heads_per_step : (step + 1) * run.heads_per_step]:
        box = {"x0": head - 0.5, "x1": head + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", **box, line={"color": CHOICE, "width": 4})
    figure.update_xaxes(title=HEAD, range=[-0.5, heads - 0.5], dtick=tick(heads), showgrid=False, zeroline=False)
    figure.update_yaxes(title=LAYER, range=[rows - 0.5, -0.5], dtick=tick(rows), showgrid=False, zeroline=False)
    if has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    figure.update_layout(height=max(240, 92 + cell * rows), margin={**MARGIN, "t": 16}, dragmode=False)
    return figure


def gnorm_range(run: GreedyTrajectory) -> tuple[float, float]:
    """Return the 5th percentile and the maximum of the positive Gnorm of a run, or 1 and 10 if there is none.

    One head of very low Gnorm would leave all others one color; heads below the first value have its color.

    Args:
        run: a Greedy-Gnorm run.
    """
    positive = np.concatenate([values[values > 0] for values in run.scores] or [np.ones(1)])
    return (float(np.quantile(positive, 0.05)), float(positive.max())) if len(positive) else (1.0, 10.0)


def describe_greedy_step(run: GreedyTrajectory, step: int, labels: Sequence[str]) -> str:
    """Describe a step: heads pruned so far, heads remaining, and the heads pruned next.

    Args:
        run: a Greedy-Gnorm run.
        step: number of steps taken, 0 for the unpruned model.
        labels: name of each row.

    Returns:
        Two sentences.
    """
    remaining = int(run.mask(step).sum())
    pruned = run.mask(step).size - remaining
    text = f"{pruned} head{'s' * (pruned != 1)} pruned, {remaining} remaining. "
    upcoming = run.order[step * run.heads_per_step : (step + 1) * run.heads_per_step]
    if not upcoming:
        return text + "The run ends here."
    names = ", ".join(f"{row_name(labels[row])} head {head}" for row, head in upcoming[:4])
    names += ", …" if len(upcoming) > 4 else ""
    scores = run.scores[step]
    gnorm = f" ({'highest' if run.inverse else 'lowest'} Gnorm, {scores[upcoming[0]]:.3g})"
    return text + f"Pruned next: {names}{gnorm if len(upcoming) == 1 else ''}."


def greedy_accuracy(run: GreedyTrajectory, step: int, chance: float | None = None) -> go.Figure:
    """Draw the main measure (accuracy, or agreement without labels) against the number of pruned heads.

    Args:
        run: a Greedy-Gnorm run with evaluation examples.
        step: step to mark as the current one.
        chance: accuracy at chance level (1 / C), drawn as a line, or None.

    Returns:
        A line chart with the 95% CI of accuracy or of a correlation, and the inflection point, if there is one.
    """
    figure = go.Figure()
    values, metric = run.measure, run.measure_name
    banded, method = metric != "agreement", "Wilson" if metric in SHARES else "bootstrap"
    pruned = np.minimum(np.arange(len(values)) * run.heads_per_step, run.mask(0).size)
    color, _, symbol = style("inverse_greedy_gnorm" if run.inverse else "greedy_gnorm")
    if banded and len(values):
        x = np.r_[pruned, pruned[::-1]]
        y = np.r_[run.measure_high, run.measure_low[::-1]]
        band = {"fill": "toself", "fillcolor": GRAY.format(0.22), "line_width": 0, "hoverinfo": "skip"}
        figure.add_scatter(x=x, y=y, mode="lines", name=f"95% CI ({method})", **band)
    figure.add_scatter(
        x=pruned,
        y=values,
        mode="lines+markers",
        name=metric_axis(metric)["title"],
        line={"color": color, "width": 2.5},
        marker={"size": 5, "symbol": symbol},
        hovertemplate=f"%{{x}} heads pruned: %{{y:{metric_format(metric)}}}<extra></extra>",
    )
    if step < len(values):
        point = {"size": 15, "color": CHOICE, "symbol": "circle-open", "line": {"width": 3}}
        at = {"x": [pruned[step]], "y": [values[step]]}
        figure.add_scatter(**at, mode="markers", marker=point, name="Current step", hoverinfo="skip")
    if run.inflection is not None:
        at = pruned[min(run.inflection, len(pruned) - 1)]
        figure.add_vline(x=at, line={"dash": "dash", "color": CHOICE}, annotation_text="Inflection point")
    if chance is not None and metric == "accuracy":
        line = {"dash": "dot", "width": 1, "color": GRAY.format(1)}
        figure.add_hline(y=chance, line=line, annotation_text="Chance level", annotation_position="bottom left")
    figure.update_xaxes(title="Heads pruned (count)", range=[-1, run.mask(0).size + 1], zeroline=False)
    figure.update_yaxes(**metric_axis(metric), zeroline=False)
    figure.update_layout(height=360, margin={**MARGIN, "t": 24}, legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    return figure


def describe_greedy_accuracy(run: GreedyTrajectory, step: int) -> str:
    """Describe the accuracy at a step, that of the unpruned model, and the inflection point.

    Args:
        run: a Greedy-Gnorm run with evaluation examples.
        step: number of steps taken, 0 for the unpruned model.

    Returns:
        One or two sentences.
    """
    name = metric_name(run.measure_name)
    if step >= len(run.measure):
        return f"The {name} of this step has not been measured yet."
    steps = f"{step} step{'s' * (step != 1)}"
    value, unpruned = (format_value(run.measure_name, one) for one in (run.measure[step], run.measure[0]))
    text = f"After {steps}, {name} is {value} (with all heads: {unpruned}). "
    if run.inflection is None:
        return text + "No inflection point found: the decline stays within noise."
    return text + f"Inflection point: step {run.inflection}."


def shift_map(change: np.ndarray, labels: Sequence[str]) -> go.Figure:
    """Draw how pruning one head changes the query gradients of the others.

    Args:
        change: (R, H, H) gradient shift: row, head, block of the layer input.
        labels: name of each row.

    Returns:
        One small heatmap per row, with heads down and input blocks across, on one color scale.
    """
    rows = len(change)
    across = min(3, rows)
    titles = [row_name(label).capitalize() for label in labels]
    figure = make_subplots(-(-rows // across), across, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.12)
    largest = float(np.abs(change).max()) or 1.0
    for number, part in enumerate(change):
        heat = go.Heatmap(
            z=part,
            coloraxis="coloraxis",
            hovertemplate=f"{titles[number]}, head %{{y}}<br>input block %{{x}}<br>%{{z:.2e}}<extra></extra>",
        )
        figure.add_trace(heat, row=number // across + 1, col=number % across + 1)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False, zeroline=False, fixedrange=True)
    down = -(-rows // across)
    for row in range(1, down + 1):
        figure.update_yaxes(title=HEAD, title_standoff=4, row=row, col=1)
    for number in range(max(0, rows - across), rows):  # the lowest map of each column
        figure.update_xaxes(title="Input block", title_standoff=4, row=number // across + 1, col=number % across + 1)
    bar = {"title": {"text": "Δ gradient", "side": "right"}, "thickness": 10, "exponentformat": "power"}
    colors = {"colorscale": "PuOr", "cmin": -largest, "cmax": largest, "colorbar": bar}
    figure.update_layout(coloraxis=colors, height=80 + 190 * down, margin={**MARGIN, "t": 32}, dragmode=False)
    return figure


def describe_shift(change: np.ndarray, head: tuple[int, int], labels: Sequence[str]) -> str:
    """Describe in how many layers pruning one head changes the query gradients.

    Args:
        change: (R, H, H) gradient shift: row, head, block of the layer input.
        head: (row, head) that was pruned.
        labels: name of each row.

    Returns:
        One sentence.
    """
    magnitude = np.sqrt(np.square(change).mean((1, 2)))
    name = f"{row_name(labels[head[0]])}, head {head[1]}"
    if not magnitude.any():
        return f"Pruning {name} changed the query gradient of no other head."
    others = np.delete(np.arange(len(magnitude)), head[0])
    changed = int((magnitude[others] > 0).sum())
    return (
        f"Pruning {name} changed the query gradients in {changed} of the {len(others)} other layers, most in "
        f"{row_name(labels[int(magnitude.argmax())])}."
    )
