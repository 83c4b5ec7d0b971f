"""Masks against a plain reference: a sorted list, pruned from its lowest score."""

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
    """Scores with many ties, and protected heads."""
    shape = draw(SHAPES)
    return draw(arrays(float, shape, elements=st.integers(0, 4).map(float))), draw(arrays(bool, shape))


def prune_one_by_one(scores, count, least, protect):
    """Prune `count` heads one by one, lowest first, ties by (row, head); None if that is impossible."""
    mask = np.ones(scores.shape, bool)
    for _, row, head in sorted((scores[place], *place) for place in np.ndindex(*scores.shape)):
        if count and not protect[row, head] and mask[row].sum() > least:
            mask[row, head], count = False, count - 1
    return None if count else mask


@given(scores_and_protected(), SPARSITIES, st.integers(0, 7))
def test_a_mask_equals_the_plain_reference(case, sparsity, least):
    scores, protect = case
    least = min(least, scores.shape[1])
    expected = prune_one_by_one(scores, round(sparsity * scores.size), least, protect)
    if expected is None:
        with pytest.raises(hp.HeadPruneError, match=r"cannot prune \d+ heads: the constraints allow only"):
            hp.prune_mask(scores, sparsity, min_heads_per_layer=least, protect=protect)
    else:
        np.testing.assert_array_equal(hp.prune_mask(scores, sparsity, min_heads_per_layer=least, protect=protect), expected)


@given(arrays(float, SHAPES, elements=st.floats(-1e6, 1e6)), SPARSITIES)
def test_the_lowest_scores_are_pruned_and_their_number_matches_the_sparsity(scores, sparsity):
    mask = hp.prune_mask(scores, sparsity)
    assert mask.dtype == bool
    assert (~mask).sum() == round(sparsity * scores.size)
    if mask.any() and not mask.all():
        assert scores[~mask].max() <= scores[mask].min()


@given(arrays(float, SHAPES, elements=st.floats(-1e6, 1e6)), SPARSITIES, SPARSITIES)
def test_a_larger_sparsity_prunes_the_same_heads_and_more(scores, one, other):
    fewer, more = sorted((one, other))
    assert (hp.prune_mask(scores, more) <= hp.prune_mask(scores, fewer)).all()


def test_ties_are_broken_by_row_and_head():
    mask = hp.prune_mask(np.zeros((2, 3)), 4 / 6)
    assert mask.tolist() == [[False] * 3, [False, True, True]]


@pytest.mark.parametrize(
    ("sparsity", "heads", "count"), [(0, 144, 0), (0.3, 144, 43), (0.5, 9, 4), (0.5, 11, 6), (0.15, 72, 11), (1, 72, 72)]
)
def test_heads_to_remove_are_rounded_halves_to_even(sparsity, heads, count):
    assert heads_to_remove(sparsity, heads) == count


def test_every_row_keeps_its_minimum():
    scores = np.array([[1.0, 2, 3, 4], [11, 12, 13, 14]])
    assert hp.prune_mask(scores, 0.5).sum(1).tolist() == [0, 4]
    assert hp.prune_mask(scores, 0.5, min_heads_per_layer=1).tolist() == [[False] * 3 + [True], [False] + [True] * 3]


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_sparsity_out_of_range_is_refused(sparsity):
    with pytest.raises(hp.HeadPruneError, match=f"sparsity must be between 0 and 1, got {sparsity}"):
        hp.prune_mask(np.zeros((2, 2)), sparsity)


@pytest.mark.parametrize(
    ("scores", "options", "words"),
    [
        (np.zeros(4), {}, r"scores must be finite numbers \(R, H\), got shape \(4,\)"),
        (np.array([[1.0, np.nan]]), {}, "with 1 non-finite values"),
        (
            np.zeros((2, 2)),
            {"protect": [[True, False]]},
            r"protect must be Boolean with shape \(2, 2\), got bool with shape \(1, 2\); set the chosen",
        ),
        (np.zeros((2, 2)), {"min_heads_per_layer": 3}, "min_heads_per_layer must be a whole number from 0 to 2, got 3"),
        (np.zeros((2, 2)), {"min_heads_per_layer": -1}, "min_heads_per_layer must be .* got -1"),
        (np.zeros((2, 2)), {"min_heads_per_layer": 2}, "cannot prune 2 heads: the constraints allow only 0 of 4"),
        (
            np.zeros((2, 2)),
            {"protect": [[True] * 2, [True, False]]},
            r"only 1 of 4 \(3 protected\); lower the sparsity or relax",
        ),
    ],
)
def test_invalid_arguments_are_refused(scores, options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.prune_mask(scores, 0.5, **options)
