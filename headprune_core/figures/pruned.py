"""Figures of a pruned model, as pure functions, and for each the sentence that says what it shows: the heads that are left,
the control by random masks, a fine-tune's loss, and the speed-up beside what the arithmetic promises.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.errors import HeadPruneError
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery

from .heatmaps import row_name
from .masks import state_grid
from .style import GRAY, MARGIN

BLUE, ORANGE, RED = "#0072b2", "#e69f00", "#d55e00"
_STATES = {  # of a head -> color, symbol
    "kept": (BLUE, "square"),
    "without effect, weights stay": (ORANGE, "diamond-open"),
    "removed": (GRAY.format(0.9), "x-thin"),
}
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_STACKS = 60  # of the dots of a strip, over its range


def head_map_figure(kept, present=None, labels: Sequence[str] | None = None) -> go.Figure:
    """What became of every head: kept, present (R, H) bool as in `PruningPlan`, in original numbers, each state with its symbol."""
    _, states = _states(kept, present)
    return state_grid({name: (which, *_STATES[name]) for name, which in states.items() if which.any()}, labels)


def describe_head_map(kept, present=None, labels: Sequence[str] | None = None) -> str:
    """How many heads are left, which rows lose most and least, and which have none."""
    kept, states = _states(kept, present)
    rows = [row_name(label) for label in labels or map(str, range(len(kept)))]
    gone, left = (~kept).sum(1), kept.sum(1)
    told = f"Of {kept.size} heads {kept.sum()} are left and {gone.sum()} removed"
    gated = int(states["without effect, weights stay"].sum())
    told += f", of which {gated} keep{'s' * (gated == 1)} weights that other heads need" if gated else ""
    if gone.max() == gone.min():
        return f"{told}; every layer loses {gone.max()} of {kept.shape[1]}."
    most, least = int(gone.argmax()), int(gone.argmin())
    told += f"; {rows[most]} loses most ({gone[most]} of {kept.shape[1]}), {rows[least]} least ({gone[least]})."
    empty = [rows[row] for row in np.flatnonzero(left == 0)]
    return told + (f" No head is left in {', '.join(empty)}." if empty else "")


def mark_removed(figure: go.Figure, kept) -> go.Figure:
    """The heatmap of `figures.score_heatmap` with a cross on every head that `kept` (R, H) removes."""
    row, head = np.nonzero(~np.asarray(kept, bool))
    size = max(4, min(9, 200 // np.shape(kept)[1]))
    for width, color in ((4, "#1a1a1a"), (1.5, "#ffffff")):  # light on dark: seen on every color of the scale
        line = {"width": width, "color": color}
        marker = {"symbol": "x-thin", "size": size, "line": line}
        figure.add_scatter(x=head, y=row, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)
    return figure


def baseline_figure(control: RandomBaseline) -> go.Figure:
    """Each random mask a circle where its measure lies, equal ones stacked; their mean; the chosen mask a diamond."""
    values = np.asarray(control.random_values, float)
    place = np.round((values - values.min()) / (np.ptp(values) or 1.0) * _STACKS).astype(int)
    height = np.array([(place[:i] == p).sum() for i, p in enumerate(place)])
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=height,
        mode="markers",
        name=f"random ({len(values)})",
        marker={"symbol": "circle-open", "size": 11, "color": GRAY.format(1), "line": {"width": 2}},
        hovertemplate="a random mask: %{x:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=[values.mean()],
        y=[-1],
        mode="markers",
        name="their mean",
        marker={"symbol": "triangle-up", "size": 12, "color": GRAY.format(1)},
        hovertemplate="mean of the random masks: %{x:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=[control.value],
        y=[0],
        mode="markers",
        name="this choice",
        marker={"symbol": "diamond", "size": 15, "color": RED, "line": {"width": 1, "color": GRAY.format(1)}},
        hovertemplate="this choice: %{x:.1%}<extra></extra>",
    )
    figure.update_xaxes(title=control.measure, tickformat=".3~p")
    figure.update_yaxes(visible=False, range=[-2, max(3, height.max() + 1.5)], fixedrange=True)
    return figure.update_layout(height=230, margin=MARGIN, legend=LEGEND)


def describe_baseline(control: RandomBaseline) -> str:
    """Where the chosen mask lies among the random ones."""
    masks = len(control.random_values)
    many = "the one" if masks == 1 else f"all {masks}" if control.n_beaten == masks else f"{control.n_beaten} of {masks}"
    where = "none" if control.n_beaten == 0 else many
    return (
        f"{control.measure.capitalize()} of {masks} random {'mask' if masks == 1 else 'masks'} that remove as many heads: "
        f"{control.random_values.min():.1%} to {control.random_values.max():.1%}, a circle each, with their mean as a triangle. The "
        f"chosen mask, the diamond, lies at {control.value:.1%}, above {where}."
    )


def recovery_figure(recovery: Recovery) -> go.Figure:
    """The loss of every update of a fine-tune, and its mean over a twentieth of them."""
    loss = np.asarray(recovery.loss, float)
    steps, window = np.arange(1, len(loss) + 1), _window(loss)
    figure = go.Figure()
    marker = {"color": GRAY.format(0.8), "size": 5, "symbol": "circle-open"}
    figure.add_scatter(
        x=steps,
        y=loss,
        mode="lines+markers" if window == 1 else "markers",
        name="an update",
        marker=marker,
        line={"color": BLUE, "width": 2},
        hovertemplate="update %{x}: %{y:.3f}<extra></extra>",
    )
    if 1 < window <= len(loss):
        smooth = np.convolve(loss, np.full(window, 1 / window), "valid")
        figure.add_scatter(
            x=steps[window - 1 :],
            y=smooth,
            mode="lines",
            name=f"mean of {window} updates",
            line={"color": BLUE, "width": 2.5},
            hovertemplate="up to update %{x}: %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="updates")
    figure.update_yaxes(title="loss", rangemode="tozero")
    return figure.update_layout(height=300, margin=MARGIN, legend=LEGEND)


def describe_recovery(recovery: Recovery) -> str:
    """How the loss of a fine-tune went from its first tenth of updates to its last."""
    loss = np.asarray(recovery.loss, float)
    if not len(loss):
        return "No update was made."
    tenth = max(1, len(loss) // 10)
    first, last = loss[:tenth].mean(), loss[-tenth:].mean()
    goal = "the unpruned model's answers" if recovery.objective == "teacher" else "the labels"
    way = "falls" if last < first else "does not fall:"
    stopped = "" if recovery.steps >= recovery.planned else f" of {recovery.planned} planned"
    return (
        f"Loss against {goal} over {recovery.steps}{stopped} updates: it {way} from {first:.3f} in the first tenth of them "
        f"to {last:.3f} in the last."
    )


def latency_figure(frame: pd.DataFrame) -> go.Figure:
    """The speed-up with its quartiles beside the ratio of operations, by setting; of `measure_latency` with `compare`."""
    _check_compared(frame)
    where = [f"batch {line.batch_size}, {line.sequence_length} tokens" for line in frame.itertuples()]
    up, down = frame.speedup_high - frame.speedup, frame.speedup - frame.speedup_low
    figure = go.Figure()
    figure.add_scatter(
        x=frame.flops_ratio,
        y=where,
        mode="markers",
        name="arithmetic alone would give",
        marker={"symbol": "diamond-open", "size": 14, "color": RED, "line": {"width": 2}},
        hovertemplate="%{y}: %{x:.2f} by arithmetic<extra></extra>",
    )
    figure.add_scatter(
        x=frame.speedup,
        y=where,
        mode="markers",
        name="measured, with quartiles",
        marker={"symbol": "circle", "size": 10, "color": BLUE},
        error_x={"array": up, "arrayminus": down, "thickness": 2, "width": 5, "color": BLUE},
        hovertemplate="%{y}: %{x:.2f} measured<extra></extra>",
    )
    figure.add_vline(x=1, line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)})
    figure.update_xaxes(title="times as fast as before")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=max(220, 130 + 40 * len(frame)), margin=MARGIN, legend=LEGEND)


def describe_latency_figure(frame: pd.DataFrame) -> str:
    """The speed-up of every setting in one sentence, beside what the arithmetic alone would give."""
    _check_compared(frame)
    told = [
        f"{line.speedup:.2f} ({line.speedup_low:.2f} to {line.speedup_high:.2f}; by arithmetic {line.flops_ratio:.2f}) with "
        f"batches of {line.batch_size} and {line.sequence_length} tokens"
        for line in frame.itertuples()
    ]
    return (
        f"How many times as fast the pruned model is, median and quartiles of pairs: {', '.join(told)}. On the dashed "
        "line it is as fast as before."
    )


def _states(kept, present) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    kept = np.asarray(kept, bool)
    present = kept if present is None else np.asarray(present, bool)
    if kept.ndim != 2 or kept.shape != present.shape:
        raise HeadPruneError(f"the heads kept and present have shapes {kept.shape} and {present.shape}; expected one (R, H)")
    return kept, dict(zip(_STATES, (kept, present & ~kept, ~present & ~kept), strict=True))


def _check_compared(frame: pd.DataFrame) -> None:
    if "speedup" not in frame:
        raise HeadPruneError("these latencies hold no speed-up; expected those of measure_latency(pruned, compare=model)")


def _window(loss: np.ndarray) -> int:
    return max(1, len(loss) // 20)
