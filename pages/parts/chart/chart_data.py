"""The points of a Plotly chart as a table."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go


def chart_data(chart: go.Figure) -> pd.DataFrame:
    """Return one line per point: series, x and y, with the ends of error bars, and the value of a heatmap's cell.

    Args:
        chart: A chart of lines, markers, bars, boxes, histograms and heatmaps.
    """
    return pd.concat(
        [_points(number, trace) for number, trace in enumerate(chart.data)] or [pd.DataFrame()], ignore_index=True
    )


def _points(number: int, trace) -> pd.DataFrame:
    name = trace.name or f"series {number + 1}"
    if trace.type == "heatmap":
        values = np.asarray(trace.z)
        y, x = np.indices(values.shape)
        sides = {"x": (trace.x, x, values.shape[1]), "y": (trace.y, y, values.shape[0])}
        places = {side: _cells(given, at, count) for side, (given, at, count) in sides.items()}
        return pd.DataFrame({"series": name, **places, "value": values.ravel()})
    sides = {side: list(getattr(trace, side)) for side in ("x", "y") if getattr(trace, side) is not None}
    frame = pd.DataFrame(sides)
    for side in sides:
        error = getattr(trace, f"error_{side}", None)
        if error is not None and error.array is not None:
            below = error.array if error.arrayminus is None else error.arrayminus
            frame[f"{side}_low"] = frame[side] - np.asarray(below, float)
            frame[f"{side}_high"] = frame[side] + np.asarray(error.array, float)
    frame.insert(0, "series", name)
    return frame


def _cells(given, at: np.ndarray, count: int) -> list:
    """The coordinates of cells: names, or the lower edges of bins, or numbers from 0."""
    return [list(given)[i] for i in at.ravel()] if given is not None and len(given) >= count else at.ravel().tolist()
