"""Figures behind the curves: the distribution of random rankings, and per-class recall against sparsity.

The curves themselves are drawn by `figures.curves`.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .roles import CLASSES
from .style import GRAY, MARGIN, PERCENT, SPARSITY, for_plotly, label, metric_axis, metric_format, metric_name, style

CLASS = "accuracy: "  # prefix of the columns with the recall of a class
FALLING = ("loss", "perplexity")  # metrics of which lower is better
_CLASS_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
_LEGEND = {"orientation": "h", "y": -0.2, "yanchor": "top"}


def random_boxes(curves: pd.DataFrame, measure: str = "accuracy") -> go.Figure:
    """Draw every random ranking at every sparsity, with the criteria as markers.

    Args:
        curves: result of `sparsity_curves`.
        measure: column to draw.

    Returns:
        Box plots with all their points. Whiskers reach the farthest point within 1.5 times the height of the box.
    """
    value = f"%{{y:{metric_format(measure)}}}"
    figure = go.Figure()
    random = curves[(curves.method == "random") & curves[measure].notna()]
    steps = np.sort(curves.sparsity.unique())
    if len(random):
        figure.add_box(
            x=random.sparsity,
            y=random[measure],
            width=0.5 * float(np.diff(steps).min()) if len(steps) > 1 else 0.05,
            boxpoints="all",
            jitter=0.4,
            pointpos=0,
            name=f"Random ({_rankings(random.seed.nunique())})",
            line={"color": GRAY.format(1), "width": 1.5},
            fillcolor=GRAY.format(0.2),
            marker={"color": GRAY.format(0.7), "size": 4},
            customdata=random.seed,
            hovertemplate=f"Random ranking %{{customdata}}: {value}<extra></extra>",
        )
    for method, curve in curves[curves.method != "random"].groupby("method", sort=False):
        (color, _, symbol), shown = style(method), for_plotly(label(method))
        curve = curve.sort_values("sparsity")
        figure.add_scatter(
            x=curve.sparsity,
            y=curve[measure],
            mode="markers",
            name=shown,
            marker={"color": color, "symbol": symbol, "size": 11, "line": {"width": 1, "color": GRAY.format(1)}},
            hovertemplate=f"{shown}: {value}<extra></extra>",
        )
    figure.update_xaxes(title=SPARSITY, tickformat=PERCENT)
    figure.update_yaxes(**metric_axis(measure, regression="pearson" in curves))
    return figure.update_layout(height=480, margin={**MARGIN, "t": 16}, legend=_LEGEND)


def describe_random_boxes(curves: pd.DataFrame, measure: str = "accuracy", at: float = 0.5) -> str:
    """Describe the random rankings at the sparsity nearest to `at`, and how the criteria compare with them.

    Args:
        curves: result of `sparsity_curves`.
        measure: column to describe.
        at: sparsity, 0 to 1.

    Returns:
        One sentence: median, interquartile range and range, and the criteria above, below and within the range.
    """
    random = curves[(curves.method == "random") & curves[measure].notna()]
    if random.empty:
        return "These curves have no random rankings."
    at = min(random.sparsity.unique(), key=lambda sparsity: abs(sparsity - at))
    values = random.loc[random.sparsity == at, measure].astype(float)
    low, first, middle, third, high = (
        format(value, metric_format(measure)) for value in values.quantile([0, 0.25, 0.5, 0.75, 1])
    )
    methods = curves[(curves.method != "random") & (curves.sparsity == at)].dropna(subset=measure)
    methods = methods.groupby("method", sort=False)[measure].mean()
    above, below = methods.index[methods > values.max()], methods.index[methods < values.min()]
    better, worse = (below, above) if measure in FALLING else (above, below)
    groups = [
        f"{position} {_listed(names)}"
        for position, names in (
            ("better than all of them:", better),
            ("worse than all of them:", worse),
            ("within their range:", methods.index.difference(above.union(below), sort=False)),
        )
        if len(names)
    ]
    return (
        f"At {at:.0%} sparsity, random pruning: median {metric_name(measure)} {middle}, IQR {first} to {third}, "
        f"range {low} to {high} ({_rankings(len(values))})" + (f"; {'; '.join(groups)}" if groups else "") + "."
    )


def class_names(curves: pd.DataFrame) -> list[str]:
    """Return the classes whose recall the curves hold; none for language models or without labels."""
    names = [str(column) for column in curves.columns if str(column).startswith(CLASS)]
    return [name.removeprefix(CLASS) for name in names if curves[name].notna().any()]


def class_curves(curves: pd.DataFrame, method: str) -> go.Figure:
    """Draw the recall of every class against sparsity under one criterion.

    Args:
        curves: result of `sparsity_curves`.
        method: criterion; random rankings are averaged.

    Returns:
        A line chart, one line per class.
    """
    figure = go.Figure()
    for number, name in enumerate(class_names(curves)):
        recall, shown = _recall(curves, method, name), for_plotly(name)
        color = CLASSES[number % len(CLASSES)]
        figure.add_scatter(
            x=recall.index,
            y=recall,
            mode="lines+markers",
            name=shown,
            line={"color": color, "dash": _CLASS_DASHES[number % len(_CLASS_DASHES)], "width": 2.5},
            marker={"color": color, "symbol": _CLASS_SYMBOLS[number % len(_CLASS_SYMBOLS)], "size": 9},
            hovertemplate=f"{shown}: %{{y:.1%}}<extra></extra>",
        )
    figure.update_xaxes(title=SPARSITY, tickformat=PERCENT)
    figure.update_yaxes(title="Recall", tickformat=PERCENT, range=[-0.03, 1.03])
    return figure.update_layout(
        height=440, margin={**MARGIN, "t": 16}, hovermode="x unified", showlegend=True, legend=_LEGEND
    )


def describe_class_curves(curves: pd.DataFrame, method: str) -> str:
    """Describe the per-class recall: which class changes most and least between the ends of a curve.

    Args:
        curves: result of `sparsity_curves`.
        method: criterion; random rankings are averaged.

    Returns:
        One or two sentences; the second says if every example (or labeled token) is classified as one class at the highest
        sparsity.
    """
    recall = {name: _recall(curves, method, name) for name in class_names(curves)}
    recall = {name: values for name, values in recall.items() if len(values)}
    if not recall:
        return f"These curves have no per-class recall for {label(method)}."
    first, last = (min(values.index[end] for values in recall.values()) for end in (0, -1))
    lost = {name: float(values.iloc[0] - values.iloc[-1]) for name, values in recall.items()}
    most, least = max(lost, key=lost.get), min(lost, key=lost.get)

    def change(name: str) -> str:
        return f"{name} ({recall[name].iloc[0]:.0%} to {recall[name].iloc[-1]:.0%})"

    start = f"With {label(method)}, from {first:.0%} to {last:.0%} sparsity, per-class recall "
    if len(recall) == 1 or first == last:
        return f"{start}is: {', '.join(change(name) for name in recall)}."
    if lost[most] - lost[least] < 0.005:
        return f"{start}changes equally in all {len(recall)} classes, for example {change(most)}."
    text = f"{start}drops most for {change(most)} and least for {change(least)}."
    all_to_one = recall[least].iloc[-1] >= 0.99 and all(v.iloc[-1] <= 0.01 for n, v in recall.items() if n != least)
    unit = "labeled token" if "trials" in curves and (curves.trials > curves.examples).any() else "example"
    return text + (f" At the highest sparsity, every {unit} is classified as {least}." if all_to_one else "")


def _recall(curves: pd.DataFrame, method: str, name: str) -> pd.Series:
    part = curves[curves.method == method]
    return part[f"{CLASS}{name}"].astype(float).groupby(part.sparsity).mean().dropna()


def _listed(methods) -> str:
    return ", ".join(label(method) for method in methods)


def _rankings(count: int) -> str:
    return f"{count} ranking{'s' * (count != 1)}"
