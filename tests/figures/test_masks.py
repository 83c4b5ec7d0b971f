"""Figures of masks: what is drawn where, told apart by more than color, and their text alternatives."""

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
        "Kept by both (2)": [(0, 0), (1, 1)],
        "Kept by now only (1)": [(0, 1)],
        "Kept by before only (1)": [(0, 2)],
        "Pruned by both (2)": [(1, 0), (1, 2)],
    }
    assert len({trace.marker.symbol for trace in figure.data}) == len({trace.marker.color for trace in figure.data}) == 4
    assert figure.data[1].text == ("layer 0, head 1: kept by now only",)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # layer 0 on top


def test_rows_with_names_keep_them():
    labels = ["encoder 0", "cross 0"]
    assert list(drawn.mask_difference(A, B, labels=labels).layout.yaxis.ticktext) == labels
    assert drawn.mask_difference(A, B, labels=["0", "1"]).layout.yaxis.ticktext is None
    assert list(drawn.keep_fraction_heatmap(A / 2.0, labels).layout.yaxis.ticktext) == labels


def test_differences_as_text():
    assert drawn.describe_difference(A, B) == (
        "Kept by both: 2 heads; kept by A only: 0.1; kept by B only: 0.2 (layer.head); overlap of the pruned heads "
        "(Jaccard): 50%."
    )
    assert drawn.describe_difference(A, A) == "A and B keep the same 3 heads."
    only = drawn.describe_difference(np.ones((2, 3), bool), B, labels=["x", "y"])
    assert "kept by A only: x.1, y.0, y.2; kept by B only: none" in only


@pytest.mark.parametrize("work", [drawn.mask_difference, drawn.describe_difference])
def test_masks_of_two_shapes_are_refused(work):
    with pytest.raises(hp.HeadPruneError, match=r"must have the same shape \(R, H\), got \(2, 3\) and \(3, 2\)"):
        work(A, A.T)


def test_keep_fraction_is_drawn_from_never_to_always():
    figure = drawn.keep_fraction_heatmap(np.array([[0.0, 1.0], [0.3, 0.55]]))
    heat, targets = figure.data
    assert (heat.zmin, heat.zmax) == (0, 1)
    np.testing.assert_allclose(heat.z, [[0, 1], [0.3, 0.55]])
    assert targets.text[2] == "<b>layer 1, head 0</b><br>kept for 30.0% of the α range"


def test_keep_fraction_as_text():
    assert drawn.describe_keep_fraction(np.array([[0.0, 1.0], [0.3, 0.55]])) == (
        "1 of 4 heads is kept at every alpha, 1 is pruned at every alpha, and 2 depend on alpha. The most evenly split is "
        "layer 1, head 1: kept for 55% of the alpha range."
    )
    assert "is cross 0, head 1" in drawn.describe_keep_fraction(np.array([[0.0, 0.4]]), ["cross 0"])
    assert drawn.describe_keep_fraction(A.astype(float)).endswith("and 0 depend on alpha.")
