"""Figure of what pruning does to every class, as a pure function, and the sentence that says what it shows.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.errors import HeadPruneError

from .pruned import LEGEND, RED
from .style import GRAY, MARGIN, for_plotly


def recall_figure(before, after, names: Sequence[str]) -> go.Figure:
    """The share of each class answered right, (C,) before and after, joined by a line; nan, for a class without texts, is
    left out."""
    before, after, names = _recalls(before, after, [for_plotly(name) for name in names])
    figure = go.Figure()
    for y, one, other in zip(names, before, after, strict=True):
        line = {"color": GRAY.format(0.7), "width": 2}
        figure.add_scatter(x=[one, other], y=[y, y], mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for values, name, color, symbol in (
        (before, "before", GRAY.format(1), "circle-open"),
        (after, "after", RED, "diamond"),
    ):
        figure.add_scatter(
            x=values,
            y=names,
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 12, "color": color, "line": {"width": 2, "color": color}},
            hovertemplate=f"%{{y}}, {name}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_xaxes(title="share of the class answered right", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=max(220, 130 + 34 * len(names)), margin=MARGIN, legend=LEGEND)


def describe_recall(before, after, names: Sequence[str]) -> str:
    """Every class before and after, or of many the three that change most; and the worst loss by name."""
    before, after, names = _recalls(before, after, names)
    if not names:
        return "No class has a text."
    change = after - before
    shown = np.arange(len(names)) if len(names) <= 4 else np.sort(np.argsort(-np.abs(change), kind="stable")[:3])
    told = ", ".join(f"{names[i]} {before[i]:.1%} to {after[i]:.1%}" for i in shown)
    worst = int(change.argmin())
    lost = (
        f"The worst loss is that of {names[worst]}, {-100 * change[worst]:.1f} points."
        if change[worst] < 0
        else "No class loses."
    )
    return f"Share answered right by class, before to after: {told}. {lost}"


def _recalls(before, after, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    before, after = np.asarray(before, float), np.asarray(after, float)
    if not before.shape == after.shape == (len(names),):
        raise HeadPruneError(f"recall has shapes {before.shape} and {after.shape}; expected ({len(names)},), one a class")
    there = ~np.isnan(before) & ~np.isnan(after)
    return before[there], after[there], [name for name, here in zip(names, there, strict=True) if here]
