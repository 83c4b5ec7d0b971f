"""Figures of a pruned model: head map, random baseline, and fine-tuning loss, and their text alternatives."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.checked_mask import ADVICE_ON_HEADS, checked_mask
from headprune_core.data.measures import format_value
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery

from .heatmaps import row_name
from .masks import state_grid
from .roles import CHOICE, NEUTRAL, STATES
from .style import GRAY, MARGIN, metric_axis, metric_format, metric_name

_ZEROED = "Zeroed (shared KV head)"
_STATES = {  # state of a head -> color, symbol
    "Kept": (STATES["kept"], "square"),
    _ZEROED: (STATES["zeroed"], "diamond-open"),
    "Pruned": (GRAY.format(0.9), "x-thin"),
}
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_STACKS = 60  # columns in which the dots of a strip are stacked, over its range


def head_map_figure(kept, present=None, labels: Sequence[str] | None = None) -> go.Figure:
    """Draw the state of every head after pruning.

    Args:
        kept: bool (R, H) in original head numbers, True = kept.
        present: bool (R, H), True = the weights are still there, as in `PruningPlan`; None if they are those of `kept`.
        labels: name of each row, or None to number the rows.

    Returns:
        A grid of heads: kept, zeroed (weights shared with kept heads) or pruned.

    Raises:
        HeadPruneError: if the two differ in shape.
    """
    _, states = _states(kept, present)
    return state_grid({name: (which, *_STATES[name]) for name, which in states.items() if which.any()}, labels)


def describe_head_map(kept, present=None, labels: Sequence[str] | None = None) -> str:
    """Describe how many heads are kept, and the rows with the most and fewest pruned heads.

    Args:
        kept: bool (R, H) in original head numbers, True = kept.
        present: bool (R, H), True = the weights are still there; None if they are those of `kept`.
        labels: name of each row, or None to number the rows.

    Returns:
        One or two sentences; the second names the rows without heads.

    Raises:
        HeadPruneError: if the two differ in shape.
    """
    kept, states = _states(kept, present)
    rows = [row_name(label) for label in labels or map(str, range(len(kept)))]
    pruned, remaining = (~kept).sum(1), kept.sum(1)
    text = f"{kept.sum()} of {kept.size} heads kept, {pruned.sum()} pruned"
    zeroed = int(states[_ZEROED].sum())
    text += f", of which {zeroed} only zeroed (KV head shared with kept heads)" if zeroed else ""
    if pruned.max() == pruned.min():
        return f"{text}; {pruned.max()} of {kept.shape[1]} pruned in every layer."
    most, least = int(pruned.argmax()), int(pruned.argmin())
    text += f"; most pruned in {rows[most]} ({pruned[most]} of {kept.shape[1]}), fewest in {rows[least]} ({pruned[least]})."
    empty = [rows[row] for row in np.flatnonzero(remaining == 0)]
    return text + (f" No head remains in {', '.join(empty)}." if empty else "")


def mark_removed(figure: go.Figure, kept) -> go.Figure:
    """Add a cross to every pruned head of a `score_heatmap`.

    Args:
        figure: figure of `score_heatmap`, which is changed in place.
        kept: bool (R, H), True = kept.

    Returns:
        The same figure.
    """
    kept = checked_mask(kept, name="kept")
    row, head = np.nonzero(~kept)
    size = max(4, min(9, 200 // kept.shape[1]))
    for width, color in ((4, "#1a1a1a"), (1.5, "#ffffff")):  # A light cross on a dark one is visible on every color.
        line = {"width": width, "color": color}
        marker = {"symbol": "x-thin", "size": size, "line": line}
        figure.add_scatter(x=head, y=row, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)
    return figure


def baseline_figure(control: RandomBaseline) -> go.Figure:
    """Draw the mask and the random masks of the same size at their metric.

    Args:
        control: random baseline of a mask.

    Returns:
        A strip of one circle per random mask, equal values stacked, with their mean as a triangle and the mask as a diamond.
    """
    values, shown = np.asarray(control.random_values, float), metric_format(control.measure)
    column = np.round((values - values.min()) / (np.ptp(values) or 1.0) * _STACKS).astype(int)
    height = np.array([(column[:i] == c).sum() for i, c in enumerate(column)])
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=height,
        mode="markers",
        name=f"Random masks ({len(values)})",
        marker={"symbol": "circle-open", "size": 11, "color": GRAY.format(1), "line": {"width": 2}},
        hovertemplate=f"random mask: %{{x:{shown}}}<extra></extra>",
    )
    figure.add_scatter(
        x=[values.mean()],
        y=[-1],
        mode="markers",
        name="Random mean",
        marker={"symbol": "triangle-up", "size": 12, "color": GRAY.format(1)},
        hovertemplate=f"random mean: %{{x:{shown}}}<extra></extra>",
    )
    figure.add_scatter(
        x=[control.value],
        y=[0],
        mode="markers",
        name="This mask",
        marker={"symbol": "diamond", "size": 15, "color": CHOICE, "line": {"width": 1, "color": GRAY.format(1)}},
        hovertemplate=f"this mask: %{{x:{shown}}}<extra></extra>",
    )
    figure.update_xaxes(**metric_axis(control.measure))
    figure.update_yaxes(visible=False, range=[-2, max(3, height.max() + 1.5)], fixedrange=True)
    return figure.update_layout(height=230, margin=MARGIN, legend=LEGEND)


def describe_baseline(control: RandomBaseline) -> str:
    """Describe where the mask lies among the random masks.

    Args:
        control: random baseline of a mask.

    Returns:
        Two sentences.
    """
    masks = len(control.random_values)
    name = metric_name(control.measure)
    if masks == 1:
        rank = "above the random mask" if control.n_beaten else "not above the random mask"
    else:
        count = {0: "none of the", masks: "all"}.get(control.n_beaten, f"{control.n_beaten} of the")
        rank = f"above {count} {masks} random masks"
    parts = control.random_values.min(), control.random_values.max(), control.value
    low, high, value = (format_value(control.measure, part) for part in parts)
    return (
        f"{name[0].upper()}{name[1:]}: {masks} random mask{'s' * (masks != 1)} of the same size (circles; mean: triangle), "
        f"{low} to {high}. This mask (diamond): {value}, {rank}."
    )


def recovery_figure(recovery: Recovery) -> go.Figure:
    """Draw the training loss of recovery fine-tuning and its moving average.

    Args:
        recovery: result of `recover`.

    Returns:
        A chart of the loss per step; the moving average covers 5% of the steps.
    """
    loss = np.asarray(recovery.loss, float)
    steps, window = np.arange(1, len(loss) + 1), _window(loss)
    figure = go.Figure()
    marker = {"color": GRAY.format(0.8), "size": 5, "symbol": "circle-open"}
    figure.add_scatter(
        x=steps,
        y=loss,
        mode="lines+markers" if window == 1 else "markers",
        name="Per step",
        marker=marker,
        line={"color": NEUTRAL, "width": 2},
        hovertemplate="step %{x}: %{y:.3f}<extra></extra>",
    )
    if 1 < window <= len(loss):
        smooth = np.convolve(loss, np.full(window, 1 / window), "valid")
        figure.add_scatter(
            x=steps[window - 1 :],
            y=smooth,
            mode="lines",
            name=f"Moving average ({window} steps)",
            line={"color": NEUTRAL, "width": 2.5},
            hovertemplate="up to step %{x}: %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="Training step")
    figure.update_yaxes(title="Training loss", rangemode="tozero")
    return figure.update_layout(height=300, margin=MARGIN, legend=LEGEND)


def describe_recovery(recovery: Recovery) -> str:
    """Describe the change of the training loss between the first and last tenth of the steps.

    Args:
        recovery: result of `recover`.

    Returns:
        One sentence.
    """
    loss = np.asarray(recovery.loss, float)
    if not len(loss):
        return "No training steps were run."
    tenth = max(1, len(loss) // 10)
    first, last = loss[:tenth].mean(), loss[-tenth:].mean()
    target = "distillation from the unpruned model" if recovery.objective == "teacher" else "the labels"
    trend = "decreases" if last < first else "does not decrease:"
    planned = "" if recovery.steps >= recovery.planned else f" of {recovery.planned} planned"
    return (
        f"Training loss ({target}) over {recovery.steps}{planned} steps: it {trend} from {first:.3f} (mean of the first "
        f"tenth) to {last:.3f} (mean of the last tenth)."
    )


def _states(kept, present) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    kept = checked_mask(kept, name="kept")
    present = kept if present is None else checked_mask(present, kept.shape, name="present", advice=ADVICE_ON_HEADS)
    return kept, dict(zip(_STATES, (kept, present & ~kept, ~present & ~kept), strict=True))


def _window(loss: np.ndarray) -> int:
    return max(1, len(loss) // 20)
