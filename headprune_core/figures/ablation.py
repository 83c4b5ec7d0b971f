"""Figures of leave-one-out ablation: the effect of each head, and the agreement of the criteria with it."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.data.measures import SHARES, measure_label

from .roles import colorscale
from .style import GRAY, HEAD, LAYER, MARGIN, PERCENT, label, style, tick

_TITLES = {"abs_loss_change": "|Δloss|", "loss_change": "Δloss"}


def ablation_heatmap(values: np.ndarray, measure: str, main_measure: str = "accuracy") -> go.Figure:
    """Draw the effect of masking each head alone, by layer and head.

    Args:
        values: (R, H) effect of each head.
        measure: what the values are: "abs_loss_change", "loss_change" or "accuracy_drop".
        main_measure: the measure whose drop is meant (`LeaveOneOut.measure`); losses of its task are in nats unless it is a
            correlation.

    Returns:
        A heatmap, diverging around 0 for signed values.
    """
    signed = measure != "abs_loss_change"
    scale = {"colorscale": colorscale("difference" if signed else "leave_one_out")} | ({"zmid": 0} if signed else {})
    ticks = {"tickformat": PERCENT} if measure == "accuracy_drop" and main_measure in SHARES else {}
    title, unit = ablation_title(measure, main_measure)
    title += f" ({unit})" if unit else ""
    figure = go.Figure(
        go.Heatmap(
            z=values,
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "title": {"text": title, "side": "right"}} | ticks,
            **scale,
        )
    )
    figure.update_traces(hovertemplate="layer %{y}, head %{x}: %{z:.4g}<extra></extra>")
    rows, heads = values.shape
    figure.update_xaxes(title=HEAD, dtick=tick(heads), showgrid=False, zeroline=False, fixedrange=True)
    figure.update_yaxes(title=LAYER, autorange="reversed", dtick=tick(rows), showgrid=False, zeroline=False, fixedrange=True)
    return figure.update_layout(height=max(240, 92 + 27 * min(rows, 24)), margin={**MARGIN, "t": 16}, dragmode=False)


def ablation_title(measure: str, main_measure: str = "accuracy") -> tuple[str, str]:
    """Return the name and the unit of an effect of masking.

    Args:
        measure: "abs_loss_change", "loss_change" or "accuracy_drop".
        main_measure: the measure whose drop is meant; losses of its task are in nats unless it is a correlation.
    """
    if measure in _TITLES:
        return _TITLES[measure], "nats" if main_measure in SHARES else ""
    return f"{measure_label(main_measure)} drop", ""


def ablation_kendall(table: pd.DataFrame, measure: str, half: tuple[float, float, float]) -> go.Figure:
    """Draw Kendall's τ of each criterion with leave-one-out ablation.

    Args:
        table: result of `compare_with_ablation`.
        measure: "abs_loss_change" or "loss_change".
        half: split-half reliability of the ablation: τ and its 95% CI (value, low, high).

    Returns:
        A dot plot with 95% CI, and the split-half reliability as a band.
    """
    columns = ["kendall", "low", "high"] if measure == "abs_loss_change" else ["increase", "increase_low", "increase_high"]
    middle, low, high = (table[column] for column in columns)
    names = [label(name) for name in table.criterion]
    figure = go.Figure()
    figure.add_vrect(x0=half[1], x1=half[2], fillcolor=GRAY.format(0.25), line_width=0, layer="below")
    figure.add_vline(x=0, line={"width": 1, "color": GRAY.format(1)})
    figure.add_vline(
        x=half[0],
        line={"dash": "dot", "color": GRAY.format(1)},
        annotation_text="Split-half reliability",
        annotation_position="top",
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
        hovertemplate="%{y}: τ = %{x:.2f} (95% CI %{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Kendall's τ with leave-one-out", range=[-1.03, 1.03], zeroline=False)
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=110 + 38 * len(names), margin={**MARGIN, "t": 28})


def describe_ablation(table: pd.DataFrame, measure: str, half: tuple[float, float, float]) -> str:
    """Describe Kendall's τ of each criterion with leave-one-out ablation, and the split-half reliability.

    Args:
        table: result of `compare_with_ablation`.
        measure: "abs_loss_change" or "loss_change".
        half: split-half reliability of the ablation: τ and its 95% CI (value, low, high).

    Returns:
        Two sentences.
    """
    columns = ("kendall", "low", "high") if measure == "abs_loss_change" else ("increase", "increase_low", "increase_high")
    lines = table[~table.criterion.str.startswith("inverse_")]
    values = [
        f"{label(line.criterion)} {getattr(line, columns[0]):.2f} ({getattr(line, columns[1]):.2f} to "
        f"{getattr(line, columns[2]):.2f})"
        for line in lines.itertuples()
    ]
    change = "the absolute change in loss" if measure == "abs_loss_change" else "the signed change in loss"
    return (
        f"Kendall's τ between each criterion and {change} when each head is masked alone (95% CI): {', '.join(values)}. "
        f"Split-half reliability of the ablation: τ = {half[0]:.2f}"
        + ("." if half[1] > 0 else "; this is too low to compare criteria, so use more examples.")
    )
