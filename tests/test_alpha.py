"""The exact alpha path against trying many values of alpha."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import headprune_core as hp

GRID = np.linspace(0, 1, 101)
OPTIONS = {
    "layer, low": {},
    "layer, high": {"entropy_direction": "high"},
    "global, low": {"normalize": "global"},
    "global, high": {"normalize": "global", "entropy_direction": "high"},
}
CONSTRAINTS = {"free": {}, "quota": {"min_heads_per_layer": 1}}


def check(his, ae, sparsity, options, constraints):
    path = hp.alpha_path(his, ae, sparsity, **options, **constraints)
    assert path[0].low == 0
    assert path[-1].high == 1
    for before, after in pairwise(path):
        assert before.high == after.low
        assert (before.mask != after.mask).any()
    for interval in path:
        assert interval.low < interval.high
        inside = [alpha for alpha in GRID if interval.low + 1e-9 < alpha < interval.high - 1e-9]
        for alpha in [*inside, (interval.low + interval.high) / 2]:
            mask = hp.prune_mask(hp.hies(his, ae, alpha, **options), sparsity, **constraints)
            np.testing.assert_array_equal(mask, interval.mask)
    return path


@st.composite
def whole_numbers(draw):
    """HIS and AE with many ties and crossings at the same place."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=4))
    return tuple(draw(arrays(float, shape, elements=st.integers(0, 4).map(float))) for _ in range(2))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@given(case=whole_numbers(), sparsity=st.sampled_from([0.0, 0.25, 0.5, 0.7]))
def test_ties_and_crossings_in_one_place(options, case, sparsity):
    check(*case, sparsity, options, {})


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS)
@pytest.mark.parametrize("sparsity", [0.3, 0.5])
def test_random_scores(options, constraints, sparsity):
    his, ae = np.random.default_rng(0).lognormal(size=(2, 4, 6))
    path = check(his, ae, sparsity, options, constraints)
    assert len(path) > 3


def test_protected_heads_stay_on_the_whole_path():
    his, ae = np.random.default_rng(1).lognormal(size=(2, 4, 6))
    protect = np.random.default_rng(2).random((4, 6)) < 0.3
    assert all(interval.mask[protect].all() for interval in check(his, ae, 0.4, {}, {"protect": protect}))


def test_a_crossing_by_hand():
    # HIS~ 0, 1, 0.5 and 1 - AE~ 1, 0, 0.75: head 1 is the lowest until it meets head 0 at alpha = 1/2
    path = hp.alpha_path([[0.0, 2, 1]], [[0.0, 4, 1]], 1 / 3)
    assert [(round(i.low, 9), round(i.high, 9), i.mask[0].tolist()) for i in path] == [
        (0.0, 0.5, [True, False, True]),
        (0.5, 1.0, [False, True, True]),
    ]


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_all_or_nothing_never_changes(sparsity):
    his, ae = np.random.default_rng(0).lognormal(size=(2, 3, 4))
    (interval,) = hp.alpha_path(his, ae, sparsity)
    assert (interval.low, interval.high) == (0, 1)


def test_impossible_constraints_are_refused():
    with pytest.raises(hp.HeadPruneError, match="heads are to be removed but only"):
        hp.alpha_path(np.eye(3), np.eye(3), 0.9, min_heads_per_layer=2)
