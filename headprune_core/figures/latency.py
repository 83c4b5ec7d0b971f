"""Figure of the speedup of a pruned model, measured and theoretical, and its text alternative."""

import pandas as pd
import plotly.graph_objects as go

from headprune_core.errors import HeadPruneError

from .pruned import LEGEND
from .roles import CHOICE, NEUTRAL
from .style import GRAY, MARGIN


def latency_figure(frame: pd.DataFrame) -> go.Figure:
    """Draw the measured and the theoretical speedup of each setting.

    Args:
        frame: result of `measure_latency` with `compare`.

    Returns:
        A dot plot: medians with interquartile range, and the ratio of FLOPs.

    Raises:
        HeadPruneError: if the latencies are those of one model only.
    """
    _check_compared(frame)
    settings = [f"batch {line.batch_size}, {line.sequence_length} tokens" for line in frame.itertuples()]
    up, down = frame.speedup_high - frame.speedup, frame.speedup - frame.speedup_low
    figure = go.Figure()
    figure.add_scatter(
        x=frame.flops_ratio,
        y=settings,
        mode="markers",
        name="Theoretical (FLOPs)",
        marker={"symbol": "diamond-open", "size": 14, "color": NEUTRAL, "line": {"width": 2}},
        hovertemplate="%{y}: %{x:.2f}× theoretical<extra></extra>",
    )
    figure.add_scatter(
        x=frame.speedup,
        y=settings,
        mode="markers",
        name="Measured (median, IQR)",
        marker={"symbol": "circle", "size": 10, "color": CHOICE},
        error_x={"array": up, "arrayminus": down, "thickness": 2, "width": 5, "color": CHOICE},
        hovertemplate="%{y}: %{x:.2f}× measured<extra></extra>",
    )
    figure.add_vline(x=1, line={"dash": "dash", "width": 1.5, "color": GRAY.format(1)})
    figure.update_xaxes(title="Speedup (×)")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=max(220, 130 + 40 * len(frame)), margin=MARGIN, legend=LEGEND)


def describe_latency_figure(frame: pd.DataFrame) -> str:
    """Describe the measured and the theoretical speedup of each setting.

    Args:
        frame: result of `measure_latency` with `compare`.

    Returns:
        Two sentences.

    Raises:
        HeadPruneError: if the latencies are those of one model only.
    """
    _check_compared(frame)
    speedups = [
        f"{line.speedup:.2f}× ({line.speedup_low:.2f} to {line.speedup_high:.2f}; theoretical {line.flops_ratio:.2f}×) at "
        f"batch size {line.batch_size} and {line.sequence_length} tokens"
        for line in frame.itertuples()
    ]
    return f"Speedup of the pruned model (median, IQR): {', '.join(speedups)}. The dashed line marks no change (1×)."


def _check_compared(frame: pd.DataFrame) -> None:
    if "speedup" not in frame:
        raise HeadPruneError("latencies must include a speedup; pass the result of measure_latency(pruned, compare=model)")
