"""Figures of uncertainty: what is drawn where, and their text alternatives, without a browser."""

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.figures import ablation
from headprune_core.figures import uncertainty as figures
from headprune_core.measure.ranking_agreement import removal_share


@pytest.fixture(scope="module")
def scores():
    generator = np.random.default_rng(0)
    shapes = {"his": (40, 3, 5), "ae": (40, 3, 5), "gnorm": (40, 3, 3, 5)}
    return hp.HeadScores(None, {metric: generator.random(shape) for metric, shape in shapes.items()})


def test_heads_stand_in_the_order_of_their_scores_with_their_intervals(scores):
    low, high = scores.bootstrap("his")
    removed = np.linspace(0, 1, 15).reshape(3, 5)
    figure = figures.interval_figure(scores.his, low, high, removed, "HIS")
    points = sorted((x, y) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True))
    assert [x for x, _ in points] == list(range(1, 16))
    np.testing.assert_array_equal([y for _, y in points], np.sort(scores.his, axis=None))
    for trace in figure.data:
        for y, up, down, (row, head, *_) in zip(
            trace.y, trace.error_y.array, trace.error_y.arrayminus, trace.customdata, strict=True
        ):
            place = int(row), int(head)
            assert (y, y + up, y - down) == pytest.approx((scores.his[place], high[place], low[place]))


def test_a_head_is_stable_from_95_percent_of_resamples_on():
    removed = np.array([[1.0, 0.95, 0.94], [0.06, 0.05, 0.0]])
    found = figures.head_stability(removed)
    assert [int(which.sum()) for which in found.values()] == [2, 2, 2]
    words = figures.describe_intervals(removed, 3)
    assert "3 of 6 heads are pruned" in words
    assert "2 heads are always pruned and 2 are always kept" in words
    assert "the other 2 depend on" in words


def test_the_share_of_resamples_that_prune_a_head():
    drawn = np.array([[[1.0, 2.0, 3.0, 4.0]], [[2.0, 1.0, 3.0, 4.0]], [[1.0, 3.0, 2.0, 4.0]]])
    np.testing.assert_allclose(removal_share(drawn, 0.5), [[1, 2 / 3, 1 / 3, 0]])


@pytest.mark.slow
def test_stability_has_a_line_for_all_and_one_for_disjoint_subsets(scores):
    found = [hp.rank_stability(scores, metric, (8, 16, 32)) for metric in ("his", "gnorm")]
    his, apart, *_ = figures.stability_figure(found).data
    assert (his.name, apart.name) == ("HIS", "HIS (disjoint subsets)")
    np.testing.assert_array_equal(his.y, found[0].table.kendall)
    assert list(his.x) == [8, 16, 32]
    assert list(apart.x) == [8, 16]
    assert apart.line.dash != his.line.dash


def test_agreement_is_written_in_the_cells_and_intervals_in_the_hover(scores):
    rankings = {"his": scores.his, "ae": -scores.ae, "inverse_ae": scores.ae, "Left out": scores.gnorm}
    matrix = hp.agreement_matrix(rankings, 0.4)
    picture = figures.agreement_heatmap(matrix, "kendall", np.array([[[0.1] * 3] * 3, [[0.2] * 3] * 3])).data[0]
    np.testing.assert_array_equal(picture.z, matrix.kendall)
    assert (picture.zmid, picture.zmin, picture.zmax) == (0, -1, 1)
    assert list(picture.x) == ["HIS", "AE", "Inverse AE", "Left out"]
    assert picture.customdata[0][1].endswith("(95% CI 0.10 to 0.20)")
    assert "95%" not in picture.customdata[0][3]
    assert picture.text[0][0] == "1.00"
    assert [float(text.replace("\N{MINUS SIGN}", "-")) for text in picture.text[1]] == pytest.approx(
        matrix.kendall[1], abs=0.005
    )
    np.testing.assert_array_equal(figures.agreement_heatmap(matrix, "overlap").data[0].z, matrix.overlap)
    words = figures.describe_agreement(matrix)
    assert f"HIS and AE agree most (Kendall's τ = {matrix.kendall[0, 1]:.2f}, overlap {matrix.overlap[0, 1]:.2f})" in words
    assert f"Expected overlap of two random sets of this size: {matrix.chance:.2f}." in words
    assert "Left out" not in words


@pytest.fixture(scope="module")
def table():
    lines = [("his", 0.8, 0.7, 0.9, 0.1, -0.1, 0.3), ("inverse_ae", -0.2, -0.3, -0.1, 0.0, -0.1, 0.1)]
    names = ["criterion", "kendall", "low", "high", "increase", "increase_low", "increase_high"]
    return pd.DataFrame(lines, columns=names)


@pytest.mark.parametrize(("measure", "middle", "up"), [("abs_loss_change", 0.8, 0.1), ("loss_change", 0.1, 0.2)])
def test_the_agreement_of_the_criteria_with_the_ablation(table, measure, middle, up):
    points = ablation.ablation_kendall(table, measure, (0.5, 0.4, 0.6)).data[0]
    assert list(points.y) == ["HIS", "Inverse AE"]
    assert points.x[0] == middle
    assert points.error_x.array[0] == pytest.approx(up)
    words = ablation.describe_ablation(table, measure, (0.5, 0.4, 0.6))
    assert f"HIS {middle:.2f} (" in words
    assert "Split-half reliability of the ablation: τ = 0.50." in words
    assert "too low to compare criteria" in ablation.describe_ablation(table, measure, (0.1, -0.1, 0.3))


def test_a_loss_that_falls_is_on_the_other_side_of_zero(scores):
    assert ablation.ablation_heatmap(scores.his - 0.5, "loss_change").data[0].zmid == 0
    assert ablation.ablation_heatmap(scores.his, "abs_loss_change").data[0].zmid is None
