"""Figures behind the curves: what is drawn where, and their text alternatives, without a browser."""

import html

import numpy as np
import pandas as pd
import pytest

from headprune_core.figures import curve_details as drawn
from headprune_core.figures.curves import curves_figure
from headprune_core.figures.data import label_bars
from headprune_core.figures.per_class import recall_figure
from headprune_core.figures.style import style


@pytest.fixture
def curves():
    """Two methods and three random rankings at three sparsities, rows shuffled, with the recall of three classes."""
    lines = []
    for sparsity, his, ae, orders in [
        (0.0, 0.9, 0.9, [0.9] * 3),
        (0.25, 0.88, 0.7, [0.8, 0.85, 0.7]),
        (0.5, 0.8, 0.4, [0.5, 0.6, 0.7]),
    ]:
        for method, seed, value in [("his", None, his), ("ae", None, ae), *(("random", n, v) for n, v in enumerate(orders))]:
            recall = (value, value - sparsity, min(1.0, 0.9 + 0.2 * sparsity))
            lines.append((method, sparsity, int(100 * sparsity), seed, value, 1 / value, *recall))
    names = ["method", "sparsity", "heads_pruned", "seed", "accuracy", "loss"]
    names += ["accuracy: good", "accuracy: bad", "accuracy: so so"]
    return pd.DataFrame(lines, columns=names).astype({"seed": "Int64"}).sample(frac=1, random_state=0)


def test_every_random_ranking_is_in_a_box_and_the_methods_are_over_them(curves):
    box, *methods = drawn.random_boxes(curves).data
    assert (box.type, box.name, box.boxpoints) == ("box", "Random (3 rankings)", "all")
    assert sorted(zip(box.x, box.y, strict=True)) == sorted(
        curves.loc[curves.method == "random", ["sparsity", "accuracy"]].itertuples(index=False, name=None)
    )
    assert box.width == 0.125
    assert {trace.name for trace in methods} == {"HIS", "AE"}
    his = next(trace for trace in methods if trace.name == "HIS")
    assert (list(his.x), list(his.y), his.mode) == ([0.0, 0.25, 0.5], [0.9, 0.88, 0.8], "markers")
    assert (his.marker.color, his.marker.symbol) == (style("his")[0], style("his")[2])


def test_boxes_of_another_measure_of_one_sparsity_and_of_none(curves):
    assert drawn.random_boxes(curves, "loss").layout.yaxis.title.text == "Loss (nats)"
    (box,) = drawn.random_boxes(curves.query("sparsity == 0.5 and method == 'random'")).data
    assert box.width > 0
    assert [trace.type for trace in drawn.random_boxes(curves[curves.method == "his"]).data] == ["scatter"]
    assert [trace.type for trace in drawn.random_boxes(curves.assign(accuracy=np.nan)).data] == ["scatter"] * 2


def test_boxes_as_text(curves):
    assert drawn.describe_random_boxes(curves) == (
        "At 50% sparsity, random pruning: median accuracy 60.0%, IQR 55.0% to 65.0%, range 50.0% to 70.0% (3 rankings); "
        "better than all of them: HIS; worse than all of them: AE."
    )
    assert drawn.describe_random_boxes(curves, at=0.2).endswith("better than all of them: HIS; within their range: AE.")
    assert "better than all of them: HIS; worse than all of them: AE" in drawn.describe_random_boxes(curves, "loss")
    alone = drawn.describe_random_boxes(curves[curves.method == "random"], at=0.0)
    assert alone.endswith("range 90.0% to 90.0% (3 rankings).")
    assert drawn.describe_random_boxes(curves[curves.method == "his"]) == "These curves have no random rankings."
    assert "no random rankings" in drawn.describe_random_boxes(curves.assign(accuracy=np.nan))


def test_every_class_has_a_line_of_its_own(curves):
    lines = drawn.class_curves(curves, "his").data
    assert [line.name for line in lines] == ["good", "bad", "so so"] == drawn.class_names(curves)
    np.testing.assert_allclose(lines[1].x, [0.0, 0.25, 0.5])
    np.testing.assert_allclose(lines[1].y, [0.9, 0.63, 0.3])
    assert len({line.line.color for line in lines}) == len({line.line.dash for line in lines}) == 3
    np.testing.assert_allclose(drawn.class_curves(curves, "random").data[0].y, [0.9, 0.7833333, 0.6])


def test_many_classes_differ_by_more_than_color(curves):
    many = curves.assign(**{f"accuracy: {n}": 0.5 for n in range(27)})
    lines = drawn.class_curves(many, "his").data
    assert len({(line.line.color, line.line.dash, line.marker.symbol) for line in lines}) == 30


def test_classes_as_text(curves):
    assert drawn.describe_class_curves(curves, "his") == (
        "With HIS, from 0% to 50% sparsity, per-class recall drops most for bad (90% to 30%) "
        "and least for so so (90% to 100%)."
    )
    one = curves.drop(columns=["accuracy: bad", "accuracy: so so"])
    assert drawn.describe_class_curves(one, "ae").endswith("per-class recall is: good (90% to 40%).")
    alike = one.assign(**{"accuracy: other": one["accuracy: good"]})
    assert drawn.describe_class_curves(alike, "ae").endswith(
        "changes equally in all 2 classes, for example good (90% to 40%)."
    )
    end = curves.sparsity == 0.5
    curves.loc[end, ["accuracy: good", "accuracy: bad", "accuracy: so so"]] = [0.0, 0.004, 1.0]
    assert drawn.describe_class_curves(curves, "ae").endswith(
        "At the highest sparsity, every example is classified as so so."
    )
    assert "from 50% to 50%" in drawn.describe_class_curves(curves[end], "ae")


def test_curves_without_classes_have_an_empty_figure_and_say_so(curves):
    for bare in (
        curves.drop(columns=["accuracy: good", "accuracy: bad", "accuracy: so so"]),
        curves.assign(**{"accuracy: good": np.nan, "accuracy: bad": np.nan, "accuracy: so so": np.nan}),
    ):
        assert drawn.class_names(bare) == []
        assert drawn.class_curves(bare, "his").data == ()
        assert drawn.describe_class_curves(bare, "his") == "These curves have no per-class recall for HIS."
    assert drawn.describe_class_curves(curves, "gnorm") == "These curves have no per-class recall for Gnorm."


LINK = "<a href='https://example.org'><b>good</b></a> & bad"


@pytest.mark.parametrize(
    "draw",
    [
        lambda curves: drawn.class_curves(curves.rename(columns={"accuracy: good": f"accuracy: {LINK}"}), "his"),
        lambda curves: drawn.random_boxes(curves.replace({"method": {"his": LINK}})),
        lambda curves: curves_figure(curves.assign(accuracy_low=0, accuracy_high=1).replace({"method": {"his": LINK}})),
        lambda curves: label_bars(pd.Series([1, 2], [LINK, "other"])),
        lambda curves: recall_figure([0.5, 0.6], [0.4, 0.6], [LINK, "other"]),
    ],
)
def test_names_of_classes_and_methods_are_no_markup(draw, curves):
    told = draw(curves).to_plotly_json()
    strings = [text for text in walk(told) if "example.org" in text]
    assert strings
    assert all(html.escape(LINK, quote=False) in text for text in strings)
    assert not [text for text in strings if "<a " in text or "<b>" in text]


def walk(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for part in value.values() for text in walk(part))
    elif isinstance(value, (list, tuple, np.ndarray)):
        yield from (text for part in value for text in walk(part))
