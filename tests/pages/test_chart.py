"""The table of a chart holds its points."""

import numpy as np
import plotly.graph_objects as go

from pages.parts.chart.chart_data import chart_data


def test_points_of_lines_bars_and_histograms_are_listed_with_their_intervals():
    chart = go.Figure()
    chart.add_scatter(x=[1, 2], y=np.array([0.5, 0.75]), name="HIS", error_y={"array": [0.1, 0.2], "arrayminus": [0.1, 0.3]})
    chart.add_bar(x=["a", "b"], y=[3, 4])
    chart.add_histogram(x=[7.0])
    table = chart_data(chart)
    assert table.series.tolist() == ["HIS", "HIS", "series 2", "series 2", "series 3"]
    assert table.x.tolist() == [1, 2, "a", "b", 7.0]
    np.testing.assert_allclose(table.y[:4].astype(float), [0.5, 0.75, 3, 4])
    np.testing.assert_allclose(table.y_low[:2], [0.4, 0.45])
    np.testing.assert_allclose(table.y_high[:2], [0.6, 0.95])


def test_cells_of_a_heatmap_are_listed_by_name_or_lower_edge():
    named = chart_data(go.Figure(go.Heatmap(x=["a", "b"], y=["c"], z=[[1, 2]])))
    assert named[["x", "y", "value"]].values.tolist() == [["a", "c", 1], ["b", "c", 2]]
    edges = chart_data(go.Figure(go.Heatmap(x=[0.0, 0.4, 1.0], z=[[5, 6], [7, 8]])))
    assert edges[["x", "y", "value"]].values.tolist() == [[0.0, 0, 5], [0.4, 0, 6], [0.0, 1, 7], [0.4, 1, 8]]


def test_a_chart_without_series_has_no_points():
    assert chart_data(go.Figure()).empty
