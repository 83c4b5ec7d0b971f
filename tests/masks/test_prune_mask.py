"""Masks against the plainest way to make them: a sorted list, walked from its lowest score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import headprune_core as hp
from headprune_core.masks.prune_mask import heads_to_remove

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=7)
SPARSITIES = st.floats(0, 1)


@st.composite
def scores_and_protected(draw):
    """Scores with many ties, and heads that must stay."""
    shape = draw(SHAPES)
    return draw(arrays(float, shape, elements=st.integers(0, 4).map(float))), draw(arrays(bool, shape))


def walk(scores, count, least, protect):
    """Remove `count` heads one by one, lowest first, ties by (row, head); None where that cannot be."""
    mask = np.ones(scores.shape, bool)
    for _, row, head in sorted((scores[place], *place) for place in np.ndindex(*scores.shape)):
        if count and not protect[row, head] and mask[row].sum() > least:
            mask[row, head], count = False, count - 1
    return None if count else mask


@given(scores_and_protected(), SPARSITIES, st.integers(0, 7))
def test_a_mask_is_what_walking_the_sorted_list_gives(case, sparsity, least):
    scores, protect = case
    least = min(least, scores.shape[1])
    expected = walk(scores, round(sparsity * scores.size), least, protect)
    if expected is None:
        with pytest.raises(hp.HeadPruneError, match="heads are to be removed but only"):
            hp.prune_mask(scores, sparsity, min_heads_per_layer=least, protect=protect)
    else:
        np.testing.assert_array_equal(hp.prune_mask(scores, sparsity, min_heads_per_layer=least, protect=protect), expected)


@given(arrays(float, SHAPES, elements=st.floats(-1e6, 1e6)), SPARSITIES)
def test_the_lowest_go_and_their_number_is_the_sparsity(scores, sparsity):
    mask = hp.prune_mask(scores, sparsity)
    assert mask.dtype == bool
    assert (~mask).sum() == round(sparsity * scores.size)
    if mask.any() and not mask.all():
        assert scores[~mask].max() <= scores[mask].min()


@given(arrays(float, SHAPES, elements=st.floats(-1e6, 1e6)), SPARSITIES, SPARSITIES)
def test_what_goes_early_stays_gone(scores, one, other):
    fewer, more = sorted((one, other))
    assert (hp.prune_mask(scores, more) <= hp.prune_mask(scores, fewer)).all()


def test_ties_go_by_row_and_head():
    mask = hp.prune_mask(np.zeros((2, 3)), 4 / 6)
    assert mask.tolist() == [[False] * 3, [False, True, True]]


@pytest.mark.parametrize(
    ("sparsity", "heads", "count"), [(0, 144, 0), (0.3, 144, 43), (0.5, 9, 4), (0.5, 11, 6), (0.15, 72, 11), (1, 72, 72)]
)
def test_heads_to_remove_are_rounded_halves_to_even(sparsity, heads, count):
    assert heads_to_remove(sparsity, heads) == count


def test_every_row_keeps_its_quota():
    scores = np.array([[1.0, 2, 3, 4], [11, 12, 13, 14]])
    assert hp.prune_mask(scores, 0.5).sum(1).tolist() == [0, 4]
    assert hp.prune_mask(scores, 0.5, min_heads_per_layer=1).tolist() == [[False] * 3 + [True], [False] + [True] * 3]


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_sparsity_out_of_range_is_refused(sparsity):
    with pytest.raises(hp.HeadPruneError, match=f"the sparsity is {sparsity}; expected a number from 0"):
        hp.prune_mask(np.zeros((2, 2)), sparsity)


@pytest.mark.parametrize(
    ("scores", "options", "words"),
    [
        (np.zeros(4), {}, r"scores have shape \(4,\)"),
        (np.array([[1.0, np.nan]]), {}, "1 that are not finite"),
        (np.zeros((2, 2)), {"protect": [[True, False]]}, r"protect has shape \(1, 2\); expected \(2, 2\)"),
        (np.zeros((2, 2)), {"min_heads_per_layer": 3}, "min_heads_per_layer is 3; expected 0 to 2"),
        (np.zeros((2, 2)), {"min_heads_per_layer": -1}, "min_heads_per_layer is -1"),
        (np.zeros((2, 2)), {"min_heads_per_layer": 2}, "2 heads are to be removed but only 0 of 4 may be"),
        (np.zeros((2, 2)), {"protect": [[True] * 2, [True, False]]}, "only 1 of 4 may be, with 3 protected"),
    ],
)
def test_what_cannot_be_is_refused(scores, options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.prune_mask(scores, 0.5, **options)
