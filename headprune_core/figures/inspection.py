"""Figures of one head: the gate dial, attention by distance, and entropy by position."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.inspection.distance_kernel import bin_edges
from headprune_core.inspection.gate_dial import GateDial

from .style import GRAY, MARGIN, for_plotly, style

MOST_LINES = 40  # examples with a line of their own


def gate_dial_figure(dial: GateDial, loss: str) -> go.Figure:
    """Draw the loss against the gate of a head, with its tangent at gate 1.

    Args:
        dial: The gate dial.
        loss: Name of the loss with its unit.

    Returns:
        A figure with the mean, its tangent, and a thin line per example (at most 40).
    """
    figure = go.Figure()
    shown = min(MOST_LINES, dial.losses.shape[1])
    x = [value for _ in range(shown) for value in (*dial.gates, None)]
    centered = dial.losses - dial.losses[np.argmax(dial.gates)] + dial.losses[np.argmax(dial.gates)].mean()
    y = [value for number in range(shown) for value in (*centered[:, number], None)]
    thin = {"color": GRAY.format(0.35), "width": 1}
    figure.add_scatter(x=x, y=y, mode="lines", line=thin, name="Examples (shifted to the mean)", hoverinfo="skip")
    table, color = dial.to_frame(), style("his")[0]
    hover = "gate %{x:.1f}: %{y:.4f}"
    figure.add_scatter(
        x=table.gate, y=table.loss, mode="lines+markers", line={"color": color, "width": 3}, name="Mean", hovertemplate=hover
    )
    figure.add_scatter(
        x=table.gate,
        y=table.tangent,
        mode="lines",
        line={"color": style("hies")[0], "dash": "dash", "width": 2},
        name="Tangent at gate 1 (first order)",
        hovertemplate=hover,
    )
    figure.update_xaxes(title="Gate (1: present, 0: masked)", autorange="reversed")
    span = np.concatenate([table.loss, table.tangent])
    room = 0.6 * (span.max() - span.min()) or 0.1  # steep lines of single examples leave the figure
    figure.update_yaxes(title=for_plotly(loss[0].upper() + loss[1:]), range=[span.min() - room, span.max() + room])
    figure.update_layout(height=320, margin={**MARGIN, "t": 16}, legend={"orientation": "h", "y": -0.3}, dragmode=False)
    return figure


def describe_gate_dial(dial: GateDial) -> str:
    """Return the dial in words: the change that the tangent predicts and the change that is measured at gate 0.

    Args:
        dial: The gate dial, with gate 0.
    """
    table = dial.to_frame().set_index("gate")
    measured, predicted = table.loss[0.0] - table.loss[1.0], table.tangent[0.0] - table.loss[1.0]
    return (
        f"From gate 1 to 0 the mean loss changes by {measured:+.4f}; the tangent at gate 1 predicts {predicted:+.4f} "
        f"(n = {dial.losses.shape[1]:,})."
    )


def distance_figure(kernel: np.ndarray, *, images: bool = False) -> go.Figure:
    """Draw the share of a head's attention by distance.

    Args:
        kernel: (64,), shares by distance bin.
        images: Whether distances are between patches of an image.

    Returns:
        A bar chart over the bins between the first and the last with a share.
    """
    names, used = _bin_names(), np.flatnonzero(kernel > 0)
    part = slice(used[0], used[-1] + 1) if len(used) else slice(31, 35)
    figure = go.Figure(go.Bar(x=names[part], y=kernel[part], marker_color=style("his")[0]))
    unit = "patches" if images else "tokens"
    figure.update_traces(hovertemplate="%{x} " + unit + ": %{y:.1%}<extra></extra>")
    title = "Distance in patches" if images else "Distance in tokens (negative: later keys)"
    figure.update_xaxes(title=title, type="category", nticks=12)
    figure.update_yaxes(title="Share of attention", tickformat=".0%")
    figure.update_layout(height=240, margin={**MARGIN, "t": 16}, bargap=0.05, dragmode=False)
    return figure


def describe_distance(kernel: np.ndarray) -> str:
    """Return the three distances with the largest shares in words.

    Args:
        kernel: (64,), shares by distance bin.
    """
    if not np.isfinite(kernel).all():
        return "Positions of queries and keys cannot be compared in cross-attention."
    names, best = _bin_names(), np.argsort(-kernel, kind="stable")[:3]
    parts = [f"{kernel[one]:.0%} at distance {names[one]}" for one in best if kernel[one] > 0]
    return f"Largest shares: {', '.join(parts)}." if parts else "The head has no attention on these examples."


def _bin_names() -> list[str]:
    """The distances of each bin, as in "0", "3", "6 to 8" or "−2"."""
    edges, names = bin_edges(), []
    for number, edge in enumerate(edges):
        if edge >= 0:
            last = edges[number + 1] - 1 if number + 1 < len(edges) else None
        else:
            last = edges[number - 1] + 1 if number else None
        text = f"{abs(edge)}" if last == edge else f"{abs(edge)} to {abs(last)}" if last is not None else f"{abs(edge)}+"
        names.append(f"−{text}" if edge < 0 else text)
    return names


def entropy_by_position_figure(entropies: np.ndarray, tokens: Sequence[str], names: Sequence[str]) -> go.Figure:
    """Draw the normalized entropy of each query token's attention.

    Args:
        entropies: (K, T), 0 to 1, nan where a query sees one key only.
        tokens: T tokens.
        names: K names of heads.

    Returns:
        A line per head.
    """
    figure, places = go.Figure(), np.arange(len(tokens))
    shown = [for_plotly(token) for token in tokens]
    for number, (values, name) in enumerate(zip(entropies, names, strict=True)):
        figure.add_scatter(
            x=places,
            y=values,
            mode="lines+markers",
            name=for_plotly(name),
            line={"color": _SERIES[number % len(_SERIES)], "dash": ("solid", "dash", "dot", "dashdot")[number % 4]},
            customdata=shown,
            hovertemplate="%{customdata} (position %{x}): %{y:.2f}<extra></extra>",
        )
    few = len(tokens) <= 40
    figure.update_xaxes(title="Query token", **({"tickvals": places, "ticktext": shown, "tickangle": -60} if few else {}))
    figure.update_yaxes(title="Normalized entropy", range=[-0.02, 1.02])
    figure.update_layout(height=280, margin={**MARGIN, "t": 16}, legend={"orientation": "h", "y": -0.6}, dragmode=False)
    return figure


_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # of up to four heads


def row_entropies(attention: np.ndarray) -> np.ndarray:
    """Return the normalized entropy of each attention row.

    Args:
        attention: (..., S), probabilities.

    Returns:
        (...), entropy divided by the logarithm of the number of keys with attention; nan for one key.
    """
    total = np.where(attention > 0, attention * np.log(np.where(attention > 0, attention, 1.0)), 0.0).sum(-1)
    seen = (attention > 0).sum(-1)
    return np.divide(-total, np.log(np.maximum(seen, 2)), out=np.full(total.shape, np.nan), where=seen > 1)
