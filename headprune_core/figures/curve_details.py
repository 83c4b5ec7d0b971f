"""Figures of what lies behind a curve, as pure functions: random orders one by one, and every class of its own.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear. The curves themselves are
drawn by `figures.curves_figure`.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .style import GRAY, MARGIN, for_plotly, label, style

CLASS = "accuracy: "  # how columns of a class's recall begin
MEASURES = {"correlation": "correlation of logits with the unpruned model's"}
FALLING = ("loss", "perplexity")  # measures of which less is better
_CLASS_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_CLASS_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
_LEGEND = {"orientation": "h", "y": -0.2, "yanchor": "top"}


def random_boxes(curves: pd.DataFrame, measure: str = "accuracy") -> go.Figure:
    """Every random order at every sparsity, as boxes with all their points, and the methods as markers over them.

    Whiskers reach to the lowest and highest point that is no farther from the box than 1.5 times its height.
    """
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
            name=f"random, {random.seed.nunique()} orders",
            line={"color": GRAY.format(1), "width": 1.5},
            fillcolor=GRAY.format(0.2),
            marker={"color": GRAY.format(0.7), "size": 4},
            customdata=random.seed,
            hovertemplate="random order %{customdata}: %{y:.3f}<extra></extra>",
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
            hovertemplate=f"{shown}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title="heads removed", tickformat=".0%")
    figure.update_yaxes(title=MEASURES.get(measure, measure))
    return figure.update_layout(height=480, margin={**MARGIN, "t": 16}, legend=_LEGEND)


def describe_random_boxes(curves: pd.DataFrame, measure: str = "accuracy", at: float = 0.5) -> str:
    """The boxes in words, at the sparsity nearest to `at`: the random orders, and which methods beat or lose to them all."""
    random = curves[(curves.method == "random") & curves[measure].notna()]
    if random.empty:
        return "There are no random orders in these curves."
    at = min(random.sparsity.unique(), key=lambda sparsity: abs(sparsity - at))
    there = random.loc[random.sparsity == at, measure].astype(float)
    low, first, middle, third, high = there.quantile([0, 0.25, 0.5, 0.75, 1])
    methods = curves[(curves.method != "random") & (curves.sparsity == at)].dropna(subset=measure)
    methods = methods.groupby("method", sort=False)[measure].mean()
    above, below = methods.index[methods > high], methods.index[methods < low]
    better, worse = (below, above) if measure in FALLING else (above, below)
    told = [
        f"{what} {_listed(names)}"
        for what, names in (
            ("better than all of them:", better),
            ("worse than all of them:", worse),
            ("among them:", methods.index[(methods >= low) & (methods <= high)]),
        )
        if len(names)
    ]
    named = MEASURES.get(measure, measure)
    return (
        f"With {at:.0%} of the heads removed at random {named} is {_shown(middle, measure)} in the middle of {len(there)} "
        f"orders, {_shown(first, measure)} to {_shown(third, measure)} for half of them, {_shown(low, measure)} to "
        f"{_shown(high, measure)} for all" + (f"; {'; '.join(told)}" if told else "") + "."
    )


def class_names(curves: pd.DataFrame) -> list[str]:
    """The classes whose recall the curves hold; none where tokens are predicted or there are no labels."""
    names = [str(column) for column in curves.columns if str(column).startswith(CLASS)]
    return [name.removeprefix(CLASS) for name in names if curves[name].notna().any()]


def class_curves(curves: pd.DataFrame, method: str) -> go.Figure:
    """Recall of every class (share of its texts answered right) against sparsity under a method, random orders averaged."""
    figure = go.Figure()
    for number, name in enumerate(class_names(curves)):
        recall, shown = _recall(curves, method, name), for_plotly(name)
        color = _CLASS_COLORS[number % len(_CLASS_COLORS)]
        figure.add_scatter(
            x=recall.index,
            y=recall,
            mode="lines+markers",
            name=shown,
            line={"color": color, "dash": _CLASS_DASHES[number % len(_CLASS_DASHES)], "width": 2.5},
            marker={"color": color, "symbol": _CLASS_SYMBOLS[number % len(_CLASS_SYMBOLS)], "size": 9},
            hovertemplate=f"{shown}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title="heads removed", tickformat=".0%")
    figure.update_yaxes(title="share of the class answered right", range=[-0.03, 1.03])
    return figure.update_layout(
        height=440, margin={**MARGIN, "t": 16}, hovermode="x unified", showlegend=True, legend=_LEGEND
    )


def describe_class_curves(curves: pd.DataFrame, method: str) -> str:
    """The classes in words: which loses most and least between the ends of a method's curve, and whether one takes all."""
    recall = {name: _recall(curves, method, name) for name in class_names(curves)}
    recall = {name: values for name, values in recall.items() if len(values)}
    if not recall:
        return f"There is no recall of classes under {label(method)} in these curves."
    first, last = (min(values.index[end] for values in recall.values()) for end in (0, -1))
    lost = {name: float(values.iloc[0] - values.iloc[-1]) for name, values in recall.items()}
    most, least = max(lost, key=lost.get), min(lost, key=lost.get)

    def told(name: str) -> str:
        return f"{name} ({recall[name].iloc[0]:.0%} to {recall[name].iloc[-1]:.0%})"

    words = f"Under {label(method)}, from {first:.0%} to {last:.0%} of the heads removed, the share answered right "
    if len(recall) == 1 or first == last:
        return f"{words}is: {', '.join(told(name) for name in recall)}."
    if lost[most] - lost[least] < 0.005:
        return f"{words}changes alike in all {len(recall)} classes, as in {told(most)}."
    words += f"falls most for {told(most)} and least for {told(least)}."
    all_to_one = recall[least].iloc[-1] >= 0.99 and all(v.iloc[-1] <= 0.01 for n, v in recall.items() if n != least)
    return words + (f" In the end every text is called {least}." if all_to_one else "")


def _recall(curves: pd.DataFrame, method: str, name: str) -> pd.Series:
    part = curves[curves.method == method]
    return part[f"{CLASS}{name}"].astype(float).groupby(part.sparsity).mean().dropna()


def _listed(methods) -> str:
    return ", ".join(label(method) for method in methods)


def _shown(value: float, measure: str) -> str:
    return f"{value:.1%}" if measure in ("accuracy", "agreement") else f"{value:.3g}"
