"""Figures of traits and roles: values, frames, categories, fits, and what the text alternatives say."""

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.figures.roles import FRAME
from headprune_core.figures.traits.head_scatter import LARGEST, SMALLEST, Axes, describe_head_scatter, head_scatter
from headprune_core.figures.traits.role_figures import (
    describe_role_ablation,
    describe_role_counts,
    role_ablation_figure,
    role_counts_figure,
)
from headprune_core.figures.traits.role_style import ROLE_STYLES, ROLE_TITLES
from headprune_core.inspection.roles import ROLES

TITLES = {"row": "Layer", "his": "HIS (nats)", "share": "Attention <b>", "role": "Role"}


def table():
    row, head = (index.ravel() for index in np.indices((2, 3)))
    roles = ["Mixed", "Previous token", "Mixed", "Broad", "Mixed", "Mixed"]
    return pd.DataFrame(
        {"row": row, "head": head, "his": [1.0, 2, 3, 4, 5, 6], "share": [0.1, 0.2, np.nan, 0.4, 0.5, 0.65], "role": roles}
    )


def test_points_have_their_values_heads_and_frames():
    figure = head_scatter(
        table(),
        Axes("his", "share", "row", "his"),
        TITLES,
        shares=["share"],
        selected=[(1, 2), (0, 2)],
        row_labels=("0", "1"),
    )
    points, key, frame, inner, line = figure.data
    assert [trace.name for trace in (key, frame, inner) if trace.showlegend is not False] == ["Selected"]
    assert key.marker.color not in FRAME  # which would vanish in the legend of one color scheme
    np.testing.assert_array_equal(points.x, [1, 2, 4, 5, 6])  # the head without a share is left out
    np.testing.assert_array_equal(points.y, [0.1, 0.2, 0.4, 0.5, 0.65])
    assert [list(place) for place in points.customdata] == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    assert points.text[1] == "<b>layer 0, head 1</b><br>HIS (nats): 2<br>Attention &lt;b&gt;: 20.0%<br>Layer: 0"
    sizes = np.square(points.marker.size)
    np.testing.assert_allclose(sizes, SMALLEST**2 + (points.x - 1) / 5 * (LARGEST**2 - SMALLEST**2))
    assert [list(place) for place in frame.customdata] == [list(place) for place in inner.customdata] == [[1, 2]]
    assert (frame.marker.color, inner.marker.color) == FRAME
    slope = np.polyfit(points.x, points.y, 1)[0]
    assert (line.y[1] - line.y[0]) / (line.x[1] - line.x[0]) == pytest.approx(slope)
    assert figure.layout.yaxis.tickformat == ".0%"
    assert figure.layout.xaxis.title.text == "HIS (nats)"


def test_categories_have_a_trace_each_and_no_fit():
    figure = head_scatter(table(), Axes("role", "his", "role"), TITLES)
    assert {trace.name: len(trace.x) for trace in figure.data} == {"Mixed": 4, "Previous token": 1, "Broad": 1}
    assert figure.layout.xaxis.type == "category"
    symbols = {trace.name: trace.marker.symbol for trace in figure.data}
    assert symbols["Previous token"] == ROLE_STYLES["previous"][1]
    assert len(head_scatter(table().assign(his=1.0), Axes("his", "share"), TITLES).data) == 1  # constant: no fit
    assert len(head_scatter(table().iloc[:0], Axes("his", "share", "row", "his"), TITLES).data) == 1


def test_the_scatter_is_described():
    text = describe_head_scatter(table(), Axes("his", "share", "role"), TITLES, [(0, 2), (1, 1)])
    assert text == (
        "Scatter plot of 5 heads: x is HIS (nats), y is Attention <b>; color by Role. HIS (nats): 1 to 6. Attention <b>: "
        "0.1 to 0.65. Left out without a value: 1 head. Framed, because selected: 1 head."
    )


def test_every_role_has_a_title_and_a_style_of_its_own():
    assert list(ROLE_STYLES) == list(ROLE_TITLES) == [*ROLES, "broad", "mixed"]
    assert len({style[:2] for style in ROLE_STYLES.values()}) == len({*ROLE_TITLES.values()}) == len(ROLE_STYLES)


COUNTS = pd.DataFrame(
    {"threshold": [0.25, 0.25, 0.5], "population": "full attention", "role": ["sink", "mixed", "mixed"], "heads": [2, 4, 6]}
)


def test_lines_of_roles_are_0_where_no_head_has_the_role():
    figure = role_counts_figure(COUNTS, 0.25)
    lines = {trace.name: list(trace.y) for trace in figure.data}
    assert lines == {"Single token (sink)": [2, 0], "Mixed": [4, 6]}
    assert sorted(shape.x0 for shape in figure.layout.shapes) == [0.25, 0.3, 0.5, 0.6]
    assert describe_role_counts(COUNTS, 0.27) == (
        "Number of heads per role against the threshold. At 25%: mixed 4, single token (sink) 2 (of 6 heads)."
    )


def test_the_effect_by_role_has_the_interval_and_the_mean_of_all_heads():
    changes = np.array([[1.0, 2, 3], [4, 5, 9]])
    roles = pd.DataFrame({"row": [0, 0, 0, 1, 1, 1], "head": [0, 1, 2, 0, 1, 2], "primary": ["self"] * 5 + ["sink"]})
    found = hp.role_ablation(hp.LeaveOneOut(None, changes[None], changes, 1.0, "loss"), roles)
    figure = role_ablation_figure(found)
    points = figure.data[0]
    assert list(points.y) == ["Token itself (5)", "Single token (sink) (1)"]
    np.testing.assert_allclose(points.x, [3, 9])
    np.testing.assert_allclose(points.error_x.array, [found.table.high[0] - 3, 0])
    assert figure.layout.shapes[0].x0 == 4
    assert figure.layout.xaxis.title.text == "Mean |Δloss| without the head (nats)"
    text = describe_role_ablation(found)
    assert "token itself 3 (5 heads, 95% CI" in text
    assert "single token (sink) 9 (1 head); all heads 4." in text
    assert text.endswith(found.verdict)
