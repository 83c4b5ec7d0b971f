"""Figures of a pruned model: what is drawn where, told apart by more than color, and their text alternatives."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import headprune_core as hp
from headprune_core.figures import pruned as drawn
from headprune_core.figures.heatmaps import score_heatmap
from headprune_core.figures.latency import describe_latency_figure, latency_figure
from headprune_core.figures.per_class import describe_recall, recall_figure
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery

KEPT = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
PRESENT = KEPT | np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)


def latencies(**columns):
    line = {"sequence_length": 64, "batch_size": 8, "speedup": 1.2, "speedup_low": 1.1, "speedup_high": 1.25}
    return pd.DataFrame([line | {"flops_ratio": 1.3}, line | {"batch_size": 1, "flops_ratio": 1.4}]).assign(**columns)


def test_every_head_is_in_one_state_with_a_symbol_of_its_own():
    figure = drawn.head_map_figure(KEPT, PRESENT)
    places = {trace.name: sorted(zip(trace.y, trace.x, strict=True)) for trace in figure.data}
    assert places == {
        "Kept (5)": [(0, 0), (0, 1), (0, 3), (2, 1), (2, 3)],
        "Zeroed (shared KV head) (1)": [(0, 2)],
        "Pruned (6)": [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 2)],
    }
    assert len({trace.marker.symbol for trace in figure.data}) == len({trace.marker.color for trace in figure.data}) == 3
    assert figure.data[1].text == ("layer 0, head 2: zeroed (shared KV head)",)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # layer 0 on top
    assert [trace.name for trace in drawn.head_map_figure(KEPT).data] == ["Kept (5)", "Pruned (7)"]
    assert list(drawn.head_map_figure(KEPT, labels=["a 0", "a 1", "b 0"]).layout.yaxis.ticktext) == ["a 0", "a 1", "b 0"]


def test_the_head_map_as_text():
    assert drawn.describe_head_map(KEPT, PRESENT) == (
        "5 of 12 heads kept, 7 pruned, of which 1 only zeroed (KV head shared with kept heads); most pruned in layer 1 "
        "(4 of 4), fewest in layer 0 (1). No head remains in layer 1."
    )
    assert drawn.describe_head_map(KEPT[:, :1] | True) == "3 of 3 heads kept, 0 pruned; 0 of 1 pruned in every layer."
    assert "No head remains in cross 1" in drawn.describe_head_map(KEPT, labels=["cross 0", "cross 1", "cross 2"])


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(hp.HeadPruneError, match=r"present must be Boolean .* \(3, 4\), got bool with shape \(4, 3\)"):
        drawn.head_map_figure(KEPT, KEPT.T)


def test_crosses_lie_on_the_removed_heads():
    figure = drawn.mark_removed(score_heatmap(KEPT.astype(float), "", [""] * 12), KEPT)
    for trace in figure.data[-2:]:
        assert sorted(zip(trace.y, trace.x, strict=True)) == [tuple(place) for place in np.argwhere(~KEPT)]


def test_every_random_mask_is_drawn_apart_at_its_value():
    control = RandomBaseline("accuracy", 0.7, np.array([0.5, 0.6, 0.5, 0.65, 0.5]))
    random, mean, mine = drawn.baseline_figure(control).data
    np.testing.assert_array_equal(random.x, control.random_values)
    assert len(set(zip(random.x, random.y, strict=True))) == 5  # equal ones are stacked, not hidden
    assert mean.x == (pytest.approx(0.55),)
    assert mine.x == (0.7,)
    assert len({trace.marker.symbol for trace in (random, mean, mine)}) == 3


@pytest.mark.parametrize(
    ("value", "random", "words"),
    [
        (0.7, [0.5, 0.6], "This mask (diamond): 70.0%, above all 2 random masks."),
        (0.55, [0.5, 0.6], "This mask (diamond): 55.0%, above 1 of the 2 random masks."),
        (0.5, [0.5, 0.5], "This mask (diamond): 50.0%, above none of the 2 random masks."),
        (0.6, [0.5], "1 random mask of the same size (circles; mean: triangle), 50.0% to 50.0%"),
    ],
)
def test_the_baseline_as_text(value, random, words):
    assert words in drawn.describe_baseline(RandomBaseline("agreement", value, np.array(random)))


def recovery(loss, planned=None, objective="labels"):
    loss = np.asarray(loss, float)
    return Recovery(len(loss), planned or len(loss), 64, 8, objective, 1e-4, 3.0, loss)


def test_the_loss_of_every_step_and_its_running_mean():
    loss = np.random.default_rng(0).random(60)
    points, line = drawn.recovery_figure(recovery(loss)).data
    np.testing.assert_array_equal(points.y, loss)
    assert list(points.x[[0, -1]]) == [1, 60]
    np.testing.assert_allclose(line.y, [loss[i - 2 : i + 1].mean() for i in range(2, 60)])
    assert line.x[0] == 3
    assert line.name == "Moving average (3 steps)"


def test_a_fine_tune_as_text():
    assert drawn.describe_recovery(recovery(np.linspace(2, 1, 20))) == (
        "Training loss (the labels) over 20 steps: it decreases from 1.974 (mean of the first tenth) to 1.026 (mean of the "
        "last tenth)."
    )
    words = drawn.describe_recovery(recovery([1.0, 1.5], planned=9, objective="teacher"))
    assert words.startswith(
        "Training loss (distillation from the unpruned model) over 2 of 9 planned steps: it does not decrease: from 1.0"
    )
    assert drawn.describe_recovery(recovery([])) == "No training steps were run."
    assert len(drawn.recovery_figure(recovery([])).data) == 1


def test_the_measured_and_the_theoretical_speedup():
    promised, measured = latency_figure(latencies()).data
    assert list(promised.x) == [1.3, 1.4]
    assert list(measured.x) == [1.2, 1.2]
    assert list(measured.y) == ["batch 8, 64 tokens", "batch 1, 64 tokens"]
    assert measured.error_x.array[0] == pytest.approx(0.05)
    assert measured.error_x.arrayminus[0] == pytest.approx(0.1)
    assert promised.marker.symbol != measured.marker.symbol
    words = describe_latency_figure(latencies())
    assert "1.20× (1.10 to 1.25; theoretical 1.40×) at batch size 1 and 64 tokens" in words


@pytest.mark.parametrize("work", [latency_figure, describe_latency_figure])
def test_latencies_of_one_model_alone_are_refused(work):
    with pytest.raises(hp.HeadPruneError, match=r"must include a speedup; pass .*measure_latency\(pruned, compare"):
        work(latencies().drop(columns="speedup"))


BEFORE, AFTER = np.array([0.8, 0.6, np.nan, 0.5]), np.array([0.7, 0.65, np.nan, 0.2])


def test_classes_before_and_after():
    figure = recall_figure(BEFORE, AFTER, list("abcd"))
    before, after = figure.data[-2:]
    assert list(before.y) == list(after.y) == ["a", "b", "d"]
    np.testing.assert_array_equal(before.x, [0.8, 0.6, 0.5])
    np.testing.assert_array_equal(after.x, [0.7, 0.65, 0.2])
    assert before.marker.symbol != after.marker.symbol
    assert describe_recall(BEFORE, AFTER, list("abcd")) == (
        "Per-class recall, unpruned to pruned: a 80.0% to 70.0%, b 60.0% to 65.0%, d 50.0% to 20.0%. The largest drop is "
        "30.0 pp, for d."
    )
    assert describe_recall(AFTER[:2], AFTER[:2], list("ab")).endswith("No class has a lower recall.")
    assert describe_recall(BEFORE[2:3], AFTER[2:3], ["c"]) == "No class has examples."
    many = describe_recall(np.full(9, 0.5), np.r_[np.full(6, 0.5), 0.4, 0.6, 0.1], [f"c{i}" for i in range(9)])
    assert "to pruned: c6 50.0% to 40.0%, c7 50.0% to 60.0%, c8 50.0% to 10.0%. The largest drop is 40.0 pp, for c8." in many


def test_recall_of_other_classes_is_refused():
    with pytest.raises(hp.HeadPruneError, match=r"must have shape \(2,\), one value per class, got \(4,\) and \(4,\)"):
        recall_figure(BEFORE, AFTER, ["a", "b"])


def test_backgrounds_are_left_clear():
    control = RandomBaseline("accuracy", 0.7, np.array([0.5]))
    figures = (
        drawn.head_map_figure(KEPT),
        drawn.baseline_figure(control),
        drawn.recovery_figure(recovery([1.0])),
        latency_figure(latencies()),
        recall_figure(BEFORE, AFTER, list("abcd")),
    )
    for figure in figures:
        assert isinstance(figure, go.Figure)
        assert figure.layout.paper_bgcolor is None
        assert figure.layout.plot_bgcolor is None
