"""Figures of masks: the share of the alpha range in which each head is kept, and where two masks differ."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from headprune_core.checked_mask import checked_mask
from headprune_core.errors import HeadPruneError

from .heatmaps import has_custom_labels, row_name, score_heatmap
from .roles import STATES
from .style import GRAY, HEAD, LAYER, MARGIN, PERCENT, tick

_STATES = (  # kept by A, kept by B, name, color, symbol
    (True, True, "Kept by both", STATES["kept"], "circle"),
    (True, False, "Kept by {a} only", STATES["first"], "triangle-left"),
    (False, True, "Kept by {b} only", STATES["second"], "triangle-right"),
    (False, False, "Pruned by both", GRAY.format(0.9), "x-thin"),
)


def keep_fraction_heatmap(keep_fraction: np.ndarray, labels: Sequence[str] | None = None) -> go.Figure:
    """Draw the share of the alpha range in which each head is kept.

    Args:
        keep_fraction: (R, H) share of [0, 1] in which the head is kept; 0 is pruned and 1 is kept at every alpha.
        labels: name of each row, or None to number the rows.

    Returns:
        A heatmap from 0% to 100%.
    """
    rows = [row_name(label) for label in labels or map(str, range(len(keep_fraction)))]
    hover = [
        f"<b>{rows[row]}, head {head}</b><br>kept for {share:.1%} of the α range"
        for (row, head), share in np.ndenumerate(keep_fraction)
    ]
    figure = score_heatmap(keep_fraction, "", hover, unit="Kept (% of α range)", labels=labels, role="hies")
    figure.update_traces(zmin=0, zmax=1, colorbar={"tickformat": PERCENT}, selector={"type": "heatmap"})
    return figure.update_layout(margin={**MARGIN, "t": 16})


def describe_keep_fraction(keep_fraction: np.ndarray, labels: Sequence[str] | None = None) -> str:
    """Describe how many heads are kept at every alpha, pruned at every alpha, or depend on alpha.

    Args:
        keep_fraction: (R, H) share of [0, 1] in which the head is kept.
        labels: name of each row, or None to number the rows.

    Returns:
        One or two sentences; the second names the head kept for nearest to half of the alpha range.
    """
    kept, pruned = int((keep_fraction >= 1.0 - 1e-12).sum()), int((keep_fraction <= 1e-12).sum())
    depends = keep_fraction.size - kept - pruned
    text = (
        f"{kept} of {keep_fraction.size} heads {'is' if kept == 1 else 'are'} kept at every alpha, {pruned} "
        f"{'is' if pruned == 1 else 'are'} pruned at every alpha, and {depends} depend{'s' * (depends == 1)} on alpha."
    )
    if not depends:
        return text
    row, head = np.unravel_index(np.abs(keep_fraction - 0.5).argmin(), keep_fraction.shape)
    name = row_name(labels[row] if labels else str(row))
    return (
        f"{text} The most evenly split is {name}, head {head}: kept for {keep_fraction[row, head]:.0%} of the alpha range."
    )


def mask_difference(
    a: np.ndarray, b: np.ndarray, names: tuple[str, str] = ("A", "B"), labels: Sequence[str] | None = None
) -> go.Figure:
    """Draw two masks in one grid, with a symbol for each of the four combinations.

    Args:
        a: bool (R, H), True = kept by the first mask.
        b: bool (R, H), True = kept by the second mask.
        names: names of the two masks.
        labels: name of each row, or None to number the rows.

    Returns:
        A grid of heads: kept by both, by one only, or pruned by both.

    Raises:
        HeadPruneError: if the masks differ in shape.
    """
    a, b = _pair(a, b)
    states = {name.format(a=names[0], b=names[1]): (in_a, in_b, *style) for in_a, in_b, name, *style in _STATES}
    return state_grid({name: ((a == in_a) & (b == in_b), *style) for name, (in_a, in_b, *style) in states.items()}, labels)


def state_grid(states: Mapping[str, tuple[np.ndarray, str, str]], labels: Sequence[str] | None = None) -> go.Figure:
    """Draw a layer-by-head grid in which every head has the color and symbol of its state.

    Args:
        states: name -> (heads in this state, bool (R, H); color; symbol).
        labels: name of each row, or None to number the rows.

    Returns:
        One trace of markers per state, with the number of heads in the legend.
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
            text=[f"{layers[r]}, head {h}: {name[0].lower()}{name[1:]}" for r, h in zip(row, head, strict=True)],
            hovertemplate="%{text}<extra></extra>",
            showlegend=True,
        )
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(title=HEAD, range=[-0.6, heads - 0.4], dtick=tick(heads), **axis)
    figure.update_yaxes(title=LAYER, range=[rows - 0.4, -0.6], dtick=tick(rows), **axis)
    if labels is not None and has_custom_labels(labels):
        figure.update_yaxes(title="", tickvals=list(range(rows)), ticktext=list(labels))
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return figure.update_layout(height=max(240, 140 + cell * rows), margin=MARGIN, legend=legend, dragmode=False)


def describe_difference(
    a: np.ndarray, b: np.ndarray, names: tuple[str, str] = ("A", "B"), labels: Sequence[str] | None = None
) -> str:
    """Describe where two masks differ and the Jaccard overlap of their pruned heads.

    Args:
        a: bool (R, H), True = kept by the first mask.
        b: bool (R, H), True = kept by the second mask.
        names: names of the two masks.
        labels: name of each row, or None to number the rows.

    Returns:
        One sentence that lists the heads kept by one mask only, as layer.head.

    Raises:
        HeadPruneError: if the masks differ in shape.
    """
    a, b = _pair(a, b)
    rows = labels or [str(row) for row in range(len(a))]
    pruned = int((~a | ~b).sum())
    overlap = f"; overlap of the pruned heads (Jaccard): {(~a & ~b).sum() / pruned:.0%}" if pruned else ""
    if (a == b).all():
        return f"{names[0]} and {names[1]} keep the same {int(a.sum())} heads."
    only = [
        f"kept by {name} only: {', '.join(f'{rows[row]}.{head}' for row, head in np.argwhere(which)) or 'none'}"
        for name, which in zip(names, (a & ~b, b & ~a), strict=True)
    ]
    return f"Kept by both: {int((a & b).sum())} heads; {'; '.join(only)} (layer.head){overlap}."


def _pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = (checked_mask(mask, name="each mask") for mask in (a, b))
    if a.shape != b.shape:
        raise HeadPruneError(f"masks must have the same shape (R, H), got {a.shape} and {b.shape}")
    return a, b
