"""Color roles: every ramp darkens from end to end, and no color has two roles."""

from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from headprune_core.figures.curve_details import class_curves
from headprune_core.figures.data import label_bars
from headprune_core.figures.heatmaps import score_heatmap
from headprune_core.figures.roles import CHOICE, CLASSES, COLORS, HUES, NEUTRAL, STATES, colorscale, mix, ramp


def lightness(color: str) -> float:
    """Relative luminance of #rrggbb by WCAG 2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("role", [*COLORS, "neutral", "difference"])
def test_every_ramp_darkens_from_end_to_end(role):
    values = [lightness(color) for color in ramp(role)]
    assert all(before > after for before, after in pairwise(values))
    assert values[0] > 0.7
    assert values[-1] < 0.05


def test_the_scale_is_reversed_where_low_values_are_pruned_last():
    assert [color for _, color in colorscale("ae", dark="low")] == [color for _, color in reversed(colorscale("ae"))]
    assert [at for at, _ in colorscale("his")] == pytest.approx([i / 10 for i in range(11)])
    drawn = score_heatmap(np.eye(3), "", [""] * 9, role="ae").data[0].colorscale
    assert lightness(drawn[0][1]) < lightness(drawn[-1][1])


def test_no_color_has_two_roles():
    colors = [*COLORS.values(), *CLASSES, CHOICE, NEUTRAL, *STATES.values()]
    assert len(set(colors)) == len(colors)
    assert len(HUES) == 4


def test_classes_have_their_own_palette():
    assert set(label_bars(pd.Series([3, 1], ["a", "b"])).data[0].marker.color) == set(CLASSES[:2])
    rows = [{"method": "his", "seed": -1, "sparsity": s, "accuracy: a": 0.5, "accuracy: b": 0.4} for s in (0.0, 0.5)]
    curves = class_curves(pd.DataFrame(rows), "his")
    assert {trace.line.color for trace in curves.data if trace.line.color} <= set(CLASSES)


def test_a_mix_lies_between_its_colors():
    assert mix("#000000", "#ffffff", 0.5) == "#808080"
    assert mix("#102030", "#ffffff", 1.0) == "#102030"
    assert isinstance(go.Figure(go.Heatmap(colorscale=colorscale("difference"))), go.Figure)
