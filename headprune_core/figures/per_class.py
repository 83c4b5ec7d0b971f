"""Figure of the recall of every class before and after pruning, and its text alternative."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.errors import HeadPruneError

from .pruned import LEGEND
from .roles import CHOICE
from .style import GRAY, MARGIN, PERCENT, for_plotly


def recall_figure(before, after, names: Sequence[str], after_name: str = "Pruned") -> go.Figure:
    """Draw the recall of each class for the unpruned and the pruned model.

    Args:
        before: (C,) recall of the unpruned model, 0 to 1; NaN for a class without examples, which is omitted.
        after: (C,) recall of the pruned model, likewise.
        names: names of the C classes.
        after_name: legend entry of `after`, such as "Pruned + fine-tuned".

    Returns:
        A dot plot with a line between the two values of each class.

    Raises:
        HeadPruneError: if the three differ in length.
    """
    before, after, names = _recalls(before, after, [for_plotly(name) for name in names])
    figure = go.Figure()
    for y, start, end in zip(names, before, after, strict=True):
        line = {"color": GRAY.format(0.7), "width": 2}
        figure.add_scatter(x=[start, end], y=[y, y], mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for values, name, color, symbol in (
        (before, "Unpruned", GRAY.format(1), "circle-open"),
        (after, after_name, CHOICE, "diamond"),
    ):
        figure.add_scatter(
            x=values,
            y=names,
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 12, "color": color, "line": {"width": 2, "color": color}},
            hovertemplate=f"%{{y}}, {name[0].lower()}{name[1:]}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_xaxes(title="Recall", tickformat=PERCENT, range=[-0.03, 1.03])
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=max(220, 130 + 34 * len(names)), margin=MARGIN, legend=LEGEND)


def describe_recall(before, after, names: Sequence[str]) -> str:
    """Describe the recall of every class, or of the three that change most, and the largest drop.

    Args:
        before: (C,) recall of the unpruned model, 0 to 1; NaN for a class without examples, which is omitted.
        after: (C,) recall of the pruned model, likewise.
        names: names of the C classes.

    Returns:
        Two sentences.

    Raises:
        HeadPruneError: if the three differ in length.
    """
    before, after, names = _recalls(before, after, names)
    if not names:
        return "No class has examples."
    change = after - before
    shown = np.arange(len(names)) if len(names) <= 4 else np.sort(np.argsort(-np.abs(change), kind="stable")[:3])
    changes = ", ".join(f"{names[i]} {before[i]:.1%} to {after[i]:.1%}" for i in shown)
    worst = int(change.argmin())
    largest = (
        f"The largest drop is {-100 * change[worst]:.1f} pp, for {names[worst]}."
        if change[worst] < 0
        else "No class has a lower recall."
    )
    return f"Per-class recall, unpruned to pruned: {changes}. {largest}"


def _recalls(before, after, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    before, after = np.asarray(before, float), np.asarray(after, float)
    if not before.shape == after.shape == (len(names),):
        raise HeadPruneError(
            f"recall must have shape ({len(names)},), one value per class, got {before.shape} and {after.shape}"
        )
    known = ~np.isnan(before) & ~np.isnan(after)
    return before[known], after[known], [name for name, has_examples in zip(names, known, strict=True) if has_examples]
