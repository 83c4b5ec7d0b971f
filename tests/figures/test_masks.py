"""Figures of masks: what is drawn where, told apart by more than color, and what their words say."""

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.figures import masks as drawn

A = np.array([[1, 1, 0], [0, 1, 0]], bool)
B = np.array([[1, 0, 1], [0, 1, 0]], bool)


def test_every_head_is_in_one_of_four_groups_with_a_symbol_of_its_own():
    figure = drawn.mask_difference(A, B, ("now", "before"))
    places = {trace.name: sorted(zip(trace.y, trace.x, strict=True)) for trace in figure.data}
    assert places == {
        "kept by both (2)": [(0, 0), (1, 1)],
        "kept by now only (1)": [(0, 1)],
        "kept by before only (1)": [(0, 2)],
        "kept by neither (2)": [(1, 0), (1, 2)],
    }
    assert len({trace.marker.symbol for trace in figure.data}) == len({trace.marker.color for trace in figure.data}) == 4
    assert figure.data[1].text == ("layer 0, head 1: kept by now only",)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # layer 0 on top


def test_rows_with_names_keep_them():
    labels = ["encoder 0", "cross 0"]
    assert list(drawn.mask_difference(A, B, labels=labels).layout.yaxis.ticktext) == labels
    assert drawn.mask_difference(A, B, labels=["0", "1"]).layout.yaxis.ticktext is None
    assert list(drawn.keep_fraction_heatmap(A / 2.0, labels).layout.yaxis.ticktext) == labels


def test_differences_in_words():
    assert drawn.describe_difference(A, B) == (
        "2 heads are kept by both; A alone keeps 0.1; B alone keeps 0.2 (layer.head); of the heads that either removes, "
        "both remove 50% (Jaccard)."
    )
    assert drawn.describe_difference(A, A) == "A and B keep the same 3 heads."
    only = drawn.describe_difference(np.ones((2, 3), bool), B, labels=["x", "y"])
    assert "A alone keeps x.1, y.0, y.2; B alone keeps none" in only


@pytest.mark.parametrize("work", [drawn.mask_difference, drawn.describe_difference])
def test_masks_of_two_shapes_are_refused(work):
    with pytest.raises(hp.HeadPruneError, match=r"shapes \(2, 3\) and \(3, 2\); expected the same"):
        work(A, A.T)


def test_survival_is_drawn_from_never_to_always():
    figure = drawn.keep_fraction_heatmap(np.array([[0.0, 1.0], [0.3, 0.55]]))
    heat, targets = figure.data
    assert (heat.zmin, heat.zmax) == (0, 1)
    np.testing.assert_allclose(heat.z, [[0, 1], [0.3, 0.55]])
    assert targets.text[2] == "<b>layer 1, head 0</b><br>stays over 30.0% of alpha"


def test_survival_in_words():
    assert drawn.describe_keep_fraction(np.array([[0.0, 1.0], [0.3, 0.55]])) == (
        "Of 4 heads 1 stay at every alpha and 1 go at every alpha; alpha decides over 2. Most evenly split is layer 1, head "
        "1, which stays over 55% of alpha."
    )
    assert "is cross 0, head 1" in drawn.describe_keep_fraction(np.array([[0.0, 0.4]]), ["cross 0"])
    assert drawn.describe_keep_fraction(A.astype(float)).endswith("alpha decides over 0.")
