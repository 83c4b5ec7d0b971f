"""A scatter plot of the heads by any two columns of a table, with color and size by two more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.figures.heatmaps import row_name
from headprune_core.figures.roles import FRAME
from headprune_core.figures.style import GRAY, MARGIN, for_plotly, tick

from .role_style import STYLES_BY_TITLE

SMALLEST, LARGEST, USUAL = 6, 20, 11  # diameters of points in pixels
OPACITY = 0.9  # overlapping points stay visible
_OTHERS = (("#0072b2", "circle"), ("#e69f00", "square"), ("#009e73", "diamond"), ("#cc79a7", "cross"))


@dataclass(frozen=True)
class Axes:
    """Columns that a scatter plot shows; color and size can be None."""

    x: str
    y: str
    color: str | None = None
    size: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in use."""
        return tuple(name for name in (self.x, self.y, self.color, self.size) if name is not None)


def head_scatter(
    table: pd.DataFrame,
    axes: Axes,
    titles: Mapping[str, str],
    *,
    shares: Iterable[str] = (),
    selected: Iterable[tuple[int, int]] = (),
    row_labels: tuple[str, ...] | None = None,
    lasso: bool = False,
) -> go.Figure:
    """Draw one point per head.

    Args:
        table: One row per head: row, head and the columns of the axes. Texts are categories.
        axes: Columns to show.
        titles: Title of each column, with its unit.
        shares: Columns from 0 to 1 that are shown in percent.
        selected: (row, head) of the heads to frame.
        row_labels: Name of each row, or None to number the rows.
        lasso: Whether a drag draws a lasso; otherwise a finger on the figure scrolls the page.

    Returns:
        A scatter plot whose customdata is [row, head], with a linear fit if both axes are numbers. Heads without a value are
        left out.
    """
    shown = table.dropna(subset=list(axes.columns))
    size, shares = _sizes(shown, axes.size), set(shares)
    hover = _hover(shown, axes, titles, shares, row_labels)
    figure = go.Figure()
    for name, part, color, symbol in _groups(shown, axes.color):
        here = shown.index.get_indexer(part.index)
        marker = {
            "size": size[here],
            "symbol": symbol,
            "line": {"width": 1, "color": GRAY.format(0.8)},
            "color": color,
            "opacity": OPACITY,
        }
        if name is None:
            bar = {"title": {"text": for_plotly(titles[axes.color]), "side": "right"}, "thickness": 10} if axes.color else {}
            bar |= {"tickformat": ".0%"} if axes.color in shares else {}
            bar |= {"dtick": tick(table["row"].nunique())} if axes.color == "row" else {}
            marker |= {"colorscale": "Cividis", "colorbar": bar} if axes.color else {}
        figure.add_scatter(
            x=part[axes.x],
            y=part[axes.y],
            mode="markers",
            marker=marker,
            selected={"marker": {"opacity": OPACITY}},  # a frame shows what is selected
            unselected={"marker": {"opacity": OPACITY}},
            customdata=part[["row", "head"]].to_numpy().tolist(),
            text=[hover[place] for place in here],
            hovertemplate="%{text}<extra></extra>",
            name="" if name is None else for_plotly(name),
            showlegend=name is not None,
        )
    _frame(figure, shown, axes, size, set(selected))
    _fit(figure, shown, axes)
    for side, name in (("x", axes.x), ("y", axes.y)):
        kind = {} if _is_number(shown[name]) else {"type": "category"}
        axis = {"title": for_plotly(titles[name]), "zeroline": False, "tickformat": ".0%" if name in shares else None}
        figure.update_layout({f"{side}axis": axis | kind})
    legend = {"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top", "itemsizing": "constant"}
    return figure.update_layout(height=520, margin=MARGIN, legend=legend, dragmode="lasso" if lasso else False)


def describe_head_scatter(
    table: pd.DataFrame, axes: Axes, titles: Mapping[str, str], selected: Iterable[tuple[int, int]] = ()
) -> str:
    """Describe a scatter plot of heads.

    Args:
        table: As for `head_scatter`.
        axes: Columns that are shown.
        titles: Title of each column.
        selected: (row, head) of the selected heads.

    Returns:
        What is shown, for how many heads, the ranges of the axes, and how many heads are framed.
    """
    shown = table.dropna(subset=list(axes.columns))
    more = [f"{name} by {titles[column]}" for name, column in (("color", axes.color), ("size", axes.size)) if column]
    text = f"Scatter plot of {len(shown)} heads: x is {titles[axes.x]}, y is {titles[axes.y]}"
    text += f"; {', '.join(more)}." if more else "."
    for name in dict.fromkeys((axes.x, axes.y)):
        if len(shown) and _is_number(shown[name]):
            text += f" {titles[name]}: {shown[name].min():.3g} to {shown[name].max():.3g}."
    if len(shown) < len(table):
        text += f" Left out without a value: {_count(len(table) - len(shown))}."
    framed = len(set(selected) & set(zip(shown["row"], shown["head"], strict=True)))
    return text + (f" Framed, because selected: {_count(framed)}." if framed else "")


def _count(heads: int) -> str:
    return f"{heads} head{'s' * (heads != 1)}"


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values)


def _groups(shown: pd.DataFrame, color: str | None):
    """Yield (name or None, heads, color, symbol): one group for numbers, or one per category."""
    if color is None:
        yield None, shown, _OTHERS[0][0], "circle"
    elif _is_number(shown[color]):
        yield None, shown, shown[color], "circle"
    else:
        for number, (name, part) in enumerate(shown.groupby(color, sort=False)):
            yield name, part, *STYLES_BY_TITLE.get(name, _OTHERS[number % len(_OTHERS)])[:2]


def _sizes(shown: pd.DataFrame, column: str | None) -> np.ndarray:
    """Diameters whose areas grow with the values of a column."""
    if column is None or not len(shown):
        return np.full(len(shown), USUAL)
    values = shown[column].to_numpy(float)
    span = np.ptp(values)
    share = (values - values.min()) / span if span > 0 else np.full(len(values), 0.5)
    return np.sqrt(SMALLEST**2 + share * (LARGEST**2 - SMALLEST**2))


def _hover(shown: pd.DataFrame, axes: Axes, titles, shares: set[str], row_labels) -> list[str]:
    """Hover texts: the head, and its value in every column in use."""
    texts = []
    for line in shown.to_dict("records"):
        row = row_name(row_labels[line["row"]] if row_labels else str(line["row"]))
        lines = [f"<b>{for_plotly(row)}, head {line['head']}</b>"]
        for name in dict.fromkeys(axes.columns):
            value = line[name]
            if not isinstance(value, str):
                value = f"{value:.1%}" if name in shares else f"{value:.4g}"
            lines.append(f"{for_plotly(titles[name])}: {for_plotly(value)}")
        texts.append("<br>".join(lines))
    return texts


def _frame(figure: go.Figure, shown: pd.DataFrame, axes: Axes, size: np.ndarray, selected: set) -> None:
    """Draw a frame around each selected head."""
    places = [place in selected for place in zip(shown["row"], shown["head"], strict=True)]
    if not any(places):
        return
    part = shown[places]
    symbol = {"symbol": "square-open", "color": GRAY.format(1), "size": 12, "line": {"width": 2}}
    figure.add_scatter(x=[None], y=[None], mode="markers", marker=symbol, name="Selected")  # for the legend
    for color, width in zip(FRAME, (5, 2), strict=True):  # one of the two colors stands out from every background
        figure.add_scatter(
            x=part[axes.x],
            y=part[axes.y],
            mode="markers",
            marker={"symbol": "square-open", "size": size[places] + 9, "color": color, "line": {"width": width}},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            customdata=part[["row", "head"]].to_numpy().tolist(),
            hoverinfo="skip",
            showlegend=False,
        )


def _fit(figure: go.Figure, shown: pd.DataFrame, axes: Axes) -> None:
    """Draw the least-squares line if both axes are numbers that vary."""
    if not (len(shown) > 2 and _is_number(shown[axes.x]) and _is_number(shown[axes.y])) or axes.x == axes.y:
        return
    x, y = shown[axes.x].to_numpy(float), shown[axes.y].to_numpy(float)
    if np.ptp(x) <= 1e-12 * np.abs(x).max() or np.ptp(y) <= 1e-12 * np.abs(y).max():
        return
    slope, start = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    line = {"color": GRAY.format(0.9), "dash": "dash"}
    figure.add_scatter(x=ends, y=slope * ends + start, mode="lines", line=line, hoverinfo="skip", name="Linear fit")
