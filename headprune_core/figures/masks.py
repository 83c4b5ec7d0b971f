"""Figures of masks, as pure functions: how long each head stays along alpha, and where two masks differ.

Like `figures`: colors safe for color-blind readers, never color alone, backgrounds left clear.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.errors import HeadPruneError

from .heatmaps import row_name, has_custom_labels, score_heatmap
from .style import GRAY, MARGIN, tick

_FATES = (  # kept by A, kept by B, what it is row_name, color, symbol
    (True, True, "kept by both", "#0072b2", "circle"),
    (True, False, "kept by {a} only", "#e69f00", "triangle-left"),
    (False, True, "kept by {b} only", "#cc79a7", "triangle-right"),
    (False, False, "kept by neither", GRAY.format(0.9), "x-thin"),
)


def keep_fraction_heatmap(keep_fraction: np.ndarray, labels: Sequence[str] | None = None) -> go.Figure:
    """The share of alpha over which each head stays, (R, H), 0: goes at every alpha, 1: stays at every alpha."""
    rows = [row_name(label) for label in labels or map(str, range(len(keep_fraction)))]
    hover = [
        f"<b>{rows[row]}, head {head}</b><br>stays over {share:.1%} of alpha"
        for (row, head), share in np.ndenumerate(keep_fraction)
    ]
    figure = score_heatmap(keep_fraction, "", hover, labels=labels)
    figure.update_traces(zmin=0, zmax=1, colorbar={"tickformat": ".0%", "title": ""}, selector={"type": "heatmap"})
    return figure.update_layout(margin={**MARGIN, "t": 16})


def describe_keep_fraction(keep_fraction: np.ndarray, labels: Sequence[str] | None = None) -> str:
    """How many heads stay at every alpha, go at every alpha, and depend on it; and the head that depends on it most."""
    stays, goes = int((keep_fraction >= 1.0 - 1e-12).sum()), int((keep_fraction <= 1e-12).sum())
    depends = keep_fraction.size - stays - goes
    told = f"Of {keep_fraction.size} heads {stays} stay at every alpha and {goes} go at every alpha; alpha decides over {depends}."
    if not depends:
        return told
    row, head = np.unravel_index(np.abs(keep_fraction - 0.5).argmin(), keep_fraction.shape)
    where = row_name(labels[row] if labels else str(row))
    return f"{told} Most evenly split is {where}, head {head}, which stays over {keep_fraction[row, head]:.0%} of alpha."


def mask_difference(
    a: np.ndarray, b: np.ndarray, names: tuple[str, str] = ("A", "B"), labels: Sequence[str] | None = None
) -> go.Figure:
    """Two masks (R, H) in one grid: heads kept by both, by one alone, by neither, each with a symbol of its own."""
    a, b = _pair(a, b)
    fates = {name.format(a=names[0], b=names[1]): (in_a, in_b, *style) for in_a, in_b, name, *style in _FATES}
    return state_grid({told: ((a == in_a) & (b == in_b), *style) for told, (in_a, in_b, *style) in fates.items()}, labels)


def state_grid(states: Mapping[str, tuple[np.ndarray, str, str]], labels: Sequence[str] | None = None) -> go.Figure:
    """A layer x head grid in which every head has the color and the symbol of its state.

    states: name -> (which heads (R, H) bool, color, symbol). labels: what the rows are called.
    """
    rows, heads = next(iter(states.values()))[0].shape
    cell = min(27, max(12, 480 // rows))
    size = max(4, min(17, cell - 6, 260 // heads))
    layers = [row_name(label) for label in labels or map(str, range(rows))]
    figure = go.Figure()
    for name, (which, color, symbol) in states.items():
        row, head = np.nonzero(which)
        figure.add_scatter(
            x=head,
            y=row,
            mode="markers",
            name=f"{name} ({len(row)})",
            marker={"color": color, "symbol": symbol, "size": size, "line": {"width": 2, "color": color}},
            text=[f"{layers[r]}, head {h}: {name}" for r, h in zip(row, head, strict=True)],
            hovertemplate="%{text}<extra></extra>",
            showlegend=True,
        )
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(title="head", range=[-0.6, heads - 0.4], dtick=tick(heads), **axis)
    figure.update_yaxes(title="layer", range=[rows - 0.4, -0.6], dtick=tick(rows), **axis)
    if labels is not None and has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return figure.update_layout(height=max(240, 140 + cell * rows), margin=MARGIN, legend=legend, dragmode=False)


def describe_difference(
    a: np.ndarray, b: np.ndarray, names: tuple[str, str] = ("A", "B"), labels: Sequence[str] | None = None
) -> str:
    """Where two masks (R, H) differ, head by head, and the Jaccard overlap of what they remove."""
    a, b = _pair(a, b)
    rows = labels or [str(row) for row in range(len(a))]
    removed = int((~a | ~b).sum())
    overlap = f"; of the heads that either removes, both remove {(~a & ~b).sum() / removed:.0%} (Jaccard)" if removed else ""
    if (a == b).all():
        return f"{names[0]} and {names[1]} keep the same {int(a.sum())} heads."
    told = [
        f"{name} alone keeps {', '.join(f'{rows[row]}.{head}' for row, head in np.argwhere(which)) or 'none'}"
        for name, which in zip(names, (a & ~b, b & ~a), strict=True)
    ]
    return f"{int((a & b).sum())} heads are kept by both; {'; '.join(told)} (layer.head){overlap}."


def _pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape or a.ndim != 2:
        raise HeadPruneError(f"the masks have shapes {a.shape} and {b.shape}; expected the same (R, H)")
    return a, b
