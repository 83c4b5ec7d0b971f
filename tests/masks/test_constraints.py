"""Masks under constraints, alone and combined, against a plain loop in exact fractions; contradictions are refused."""

from fractions import Fraction

import numpy as np
import pytest
from helpers.reference_masks import reference_mask
from helpers.tiny_models import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import headprune_core as hp
from headprune_core.masks.constraints import parse_heads

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=6)
SHARES = st.integers(0, 40).map(lambda k: Fraction(k, 40))


@st.composite
def cases(draw):
    """Scores with ties whose means are exact, and any combination of constraints."""
    shape = draw(SHAPES)
    scores = draw(arrays(float, shape, elements=st.integers(0, 6).map(lambda k: 60.0 * k)))  # divisible by 1 to 6
    few = arrays(bool, shape, elements=st.sampled_from([False, False, False, True]))
    possible = {
        "min_heads_per_layer": st.integers(0, shape[1]),
        "protect": few,
        "remove": few,
        "groups": arrays(int, shape, elements=st.integers(0, 3)),
        "parameters": arrays(int, shape, elements=st.integers(1, 5)),
        "uniform": st.just(True),
    }
    names = draw(st.sets(st.sampled_from(sorted(possible))))
    names -= {"uniform"} if "parameters" in names else set()
    return scores, draw(SHARES), {name: draw(possible[name]) for name in sorted(names)}


@given(cases())
def test_a_mask_equals_that_of_a_plain_loop(case):
    scores, share, constraints = case
    expected = reference_mask(scores, share, **constraints)
    if expected is None:
        with pytest.raises(hp.HeadPruneError):
            hp.prune_mask(scores, float(share), **constraints)
    else:
        np.testing.assert_array_equal(hp.prune_mask(scores, float(share), **constraints), expected)


@pytest.mark.slow
@given(cases())
def test_nested_masks_are_all_possible_masks(case):
    scores, _, constraints = case
    if reference_mask(scores, Fraction(0), **constraints) is None:
        with pytest.raises(hp.HeadPruneError):
            hp.nested_masks(scores, **constraints)
        return
    sparsities, masks = hp.nested_masks(scores, **constraints)
    assert (masks[1:] <= masks[:-1]).all()
    for sparsity, mask in zip(sparsities, masks, strict=True):
        np.testing.assert_array_equal(hp.prune_mask(scores, sparsity, **constraints), mask)
    found = {mask.tobytes() for mask in masks}
    assert len(found) == len(masks)
    for k in range(73):
        mask = reference_mask(scores, Fraction(k, 72), **constraints)
        assert mask is None or mask.tobytes() in found


def test_rounding_does_not_miss_an_exact_budget():
    # 0.29 * 100 is 28.999999999999996
    assert (~hp.prune_mask(np.arange(100.0).reshape(10, 10), 0.29, parameters=np.ones((10, 10)))).sum() == 29
    thirds = np.full((30, 9), 12309 + 1 / 3)
    for k in range(271):
        assert (~hp.prune_mask(np.random.default_rng(k).random((30, 9)), k / 270, parameters=thirds)).sum() == k


def test_groups_are_pruned_together_by_their_mean_score():
    scores, groups = np.array([[0.0, 9, 1, 2], [4, 4, 5, 5]]), [[0, 0, 1, 1]] * 2
    assert hp.prune_mask(scores, 2 / 8, groups=groups).tolist() == [[True, True, False, False], [True] * 4]
    assert (~hp.prune_mask(scores, 3 / 8, groups=groups)).sum() == 2
    assert (~hp.prune_mask(scores, 4 / 8, groups=groups)).tolist() == [
        [False, False, True, True],
        [True, True, False, False],
    ]


def test_kv_groups_of_a_model_are_pruned_together():
    grid = hp.PrunableModel(tiny("llama")).grid
    rows, heads = grid.shape
    groups = grid.kv_group
    assert groups.max() + 1 < heads
    mask = hp.prune_mask(np.random.default_rng(0).random(grid.shape), 0.5, groups=groups)
    for r in range(rows):
        for group in range(groups.max() + 1):
            assert len(set(mask[r][groups[r] == group])) == 1


def test_heads_in_remove_count_against_the_budget():
    scores = np.arange(8.0).reshape(2, 4)
    always_pruned = scores == 7
    assert np.flatnonzero(~hp.prune_mask(scores, 0.5, remove=always_pruned)).tolist() == [0, 1, 2, 7]
    assert np.flatnonzero(~hp.prune_mask(scores, 0.0, remove=scores > 4)).tolist() == [5, 6, 7]


def test_uniform_prunes_the_lowest_of_every_row():
    scores = np.array([[1.0, 2, 3, 4], [14, 13, 12, 11]])
    assert hp.prune_mask(scores, 0.5, uniform=True).tolist() == [[False, False, True, True], [True, True, False, False]]


def test_a_protected_head_that_would_fit_is_no_error_if_a_large_group_ended_the_budget():
    # row 0 runs out of units with budget for one head left, row 1 ends before its group of three
    groups = np.array([[0, 1, 1, 1], [0, 0, 0, 1]])
    constraints = {"groups": groups, "protect": np.array([[False, True, True, True], [False, False, False, True]])}
    scores = np.arange(8.0).reshape(2, 4)
    mask = hp.prune_mask(scores, 0.5, uniform=True, **constraints)
    assert mask.tolist() == [[False] + [True] * 3, [True] * 4]
    np.testing.assert_array_equal(mask, reference_mask(scores, Fraction(1, 2), uniform=True, **constraints))


PROTECT, REMOVE = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
PROTECT[1, :3], REMOVE[0, :3] = True, True


@pytest.mark.parametrize(
    ("sparsity", "constraints", "words"),
    [
        (0.75, {"protect": PROTECT}, r"cannot prune 6 heads: the constraints allow only 5 of 8 \(3 protected\); lower the"),
        (0.75, {"min_heads_per_layer": 2}, r"cannot prune 6 heads: .* only 4 of 8 \(at least 2 kept in"),
        (0.75, {"protect": PROTECT, "min_heads_per_layer": 1}, r"only 4 of 8 \(3 protected, at least 1 kept"),
        (0.75, {"protect": PROTECT, "groups": [[0, 0, 1, 1]] * 2}, r"only 4 of 8 \(4 protected, whole groups only\)"),
        (
            1.0,
            {"protect": PROTECT, "parameters": np.full((2, 4), 9)},
            "cannot prune 72 parameters: the constraints allow only 45 of 72",
        ),
        (0.5, {"protect": PROTECT, "uniform": True}, r"cannot prune 2 heads in row 1: .* only 1 of 4 \(3 protected"),
        (0.5, {"min_heads_per_layer": 3, "uniform": True}, r"2 heads in row 0: .* only 1 of 4 \(at least 3 kept"),
        (
            0.5,
            {"remove": REMOVE, "min_heads_per_layer": 2},
            "remove leaves 1 of 4 heads in row 0, but min_heads_per_layer is 2",
        ),
        (0.5, {"remove": REMOVE, "protect": REMOVE}, "head 0 in row 0 is in both protect and remove"),
        (
            0.5,
            {"remove": REMOVE, "protect": ~REMOVE, "groups": [[0, 0, 1, 1]] * 2},
            "the group of heads 2, 3 in row 0 has heads in both",
        ),
        (0.5, {"uniform": True, "parameters": np.ones((2, 4))}, "uniform=True cannot be combined with a parameter budget"),
        (0.5, {"min_heads_per_layer": 1.5}, "min_heads_per_layer must be a whole number from 0 to 4, got 1.5"),
        (0.5, {"groups": [[0, 0, 1, 1]]}, r"groups must have shape \(2, 4\), one value per head, got \(1, 4\)"),
        (0.5, {"groups": np.full((2, 4), 0.5)}, "groups must hold a whole number for every head"),
        (0.5, {"parameters": np.zeros((2, 4))}, "parameters must hold a positive number"),
        (0.5, {"parameters": np.full((2, 4), np.nan)}, "parameters must hold a positive number"),
        (0.5, {"remove": [True]}, r"remove must be Boolean .* got bool with shape \(1,\); set the chosen heads"),
    ],
)
def test_contradicting_constraints_are_refused(sparsity, constraints, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.prune_mask(np.arange(8.0).reshape(2, 4), sparsity, **constraints)


def test_a_budget_that_ends_inside_a_group_is_no_error():
    groups = [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert hp.prune_mask(np.arange(8.0).reshape(2, 4), 3 / 8, groups=groups, min_heads_per_layer=1).all()
    with pytest.raises(
        hp.HeadPruneError, match=r"cannot prune 4 heads: .* only 0 of 8 \(at least 1 kept in every row, whole groups only\)"
    ):
        hp.prune_mask(np.arange(8.0).reshape(2, 4), 4 / 8, groups=groups, min_heads_per_layer=1)


@pytest.fixture(scope="module")
def grid():
    return hp.PrunableModel(tiny("bert")).grid


def test_heads_are_found_by_name(grid):
    chosen = parse_heads(["0.3", "2"], grid)
    assert np.argwhere(chosen).tolist() == [[0, 3], [2, 0], [2, 1], [2, 2], [2, 3]]
    both = hp.PrunableModel(tiny("t5")).grid
    assert np.argwhere(parse_heads(["cross 0.1"], both)).tolist() == [[both.row_labels.index("cross 0"), 1]]


@pytest.mark.parametrize("name", ["3.0", "0.4", "-1.0", "0.", "x", "0.1.2", "", "0.-1"])
def test_an_unknown_head_is_refused(grid, name):
    with pytest.raises(
        hp.HeadPruneError,
        match=r"unknown head .* use row\.head .* rows 0 to 2 and heads 0 to 3",
    ):
        parse_heads([name], grid)
