"""The exact alpha path against a fine grid of alphas, and against recomputing the mask after every crossing."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from helpers.reference_masks import reference_mask
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
CONSTRAINTS = ("min_heads_per_layer", "protect", "remove", "groups", "uniform", "parameters")
ALONE = [(), *((name,) for name in CONSTRAINTS)]


def constraints_named(names, shape, generator, groups=None):
    """Random constraints of the named kinds, without two that exclude each other by definition."""
    removed = generator.random(shape) < 0.1
    drawn = {
        "min_heads_per_layer": int(generator.integers(1, 1 + shape[1] // 2)) if shape[1] > 1 else 1,
        "protect": (generator.random(shape) < 0.2) & ~removed,
        "remove": removed,
        "groups": generator.integers(0, 4, shape) if groups is None else groups,
        "uniform": True,
        "parameters": generator.integers(1, 6, shape),
    }
    return {name: drawn[name] for name in sorted(names) if not (name == "uniform" and "parameters" in names)}


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
        side = min(1e-9, (interval.high - interval.low) / 4)
        for alpha in [*inside, (interval.low + interval.high) / 2, interval.low + side, interval.high - side]:
            mask = hp.prune_mask(hp.hies(his, ae, alpha, **options), sparsity, **constraints)
            np.testing.assert_array_equal(mask, interval.mask)
    return path


def path_by_every_crossing(his, ae, sparsity, options, constraints):
    """The path as [(low, high, mask)]: one mask in the middle of any two adjacent crossings of two units' scores."""
    ends = [hp.hies(his, ae, alpha, **options) for alpha in (0.0, 1.0)]
    groups = constraints.get("groups", np.indices(his.shape)[1])
    units = [(r, g) for r in range(len(his)) for g in np.unique(groups[r])]
    low, high = ([end[r][groups[r] == g].mean() for r, g in units] for end in ends)
    found = [0.0, 1.0]
    for i in range(len(units)):
        for j in range(i):
            at_0, at_1 = low[i] - low[j], high[i] - high[j]
            if at_0 * at_1 < 0:
                found.append(at_0 / (at_0 - at_1))
    path = []
    for start, end in pairwise(sorted(found)):
        scores = hp.hies(his, ae, (start + end) / 2, **options)
        mask = reference_mask(scores, Fraction(sparsity).limit_denominator(1000), **constraints)
        if path and (path[-1][2] == mask).all():
            path[-1][1] = end
        else:
            path.append([start, end, mask])
    return path


@st.composite
def whole_numbers(draw):
    """HIS and AE with many ties and crossings at the same alpha."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=4))
    return tuple(draw(arrays(float, shape, elements=st.integers(0, 4).map(float))) for _ in range(2))


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@given(case=whole_numbers(), sparsity=st.sampled_from([0.0, 0.25, 0.5, 0.7]))
def test_ties_and_crossings_at_the_same_alpha(options, case, sparsity):
    check(*case, sparsity, options, {})


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("names", ALONE, ids=str)
def test_random_scores(options, names):
    generator = np.random.default_rng(0)
    his, ae = generator.lognormal(size=(2, 12, 12))
    path = check(his, ae, 0.3, options, constraints_named(names, his.shape, generator))
    assert len(path) > 10


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
    share=st.integers(0, 20),
    names=st.sets(st.sampled_from(CONSTRAINTS)),
    ties=st.booleans(),
)
def test_constraints_in_any_combination(options, shape, seed, share, names, ties):
    generator, groups = np.random.default_rng(seed), None
    his, ae = generator.lognormal(size=(2, *shape))
    if ties:  # whole numbers; heads of a group are equal, so that the means of tied groups are bitwise identical
        his, ae = generator.integers(0, 5, (2, *shape)).repeat(2, axis=2)[:, :, : shape[1]]
        groups = np.broadcast_to(np.arange(shape[1]) // 2, shape)
    constraints = constraints_named(names, shape, generator, groups)
    try:
        check(his, ae, share / 20, options, constraints)
    except hp.HeadPruneError:
        scores = (hp.hies(his, ae, alpha, **options) for alpha in GRID)
        assert any(reference_mask(some, Fraction(share, 20), **constraints) is None for some in scores)


@pytest.mark.parametrize("names", [*ALONE, ("min_heads_per_layer", "groups", "remove")], ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_interval_is_missed(names, seed):
    generator = np.random.default_rng(seed)
    his, ae = generator.lognormal(size=(2, 4, 6))
    constraints = constraints_named(names, his.shape, generator)
    path = hp.alpha_path(his, ae, 0.4, **constraints)
    expected = path_by_every_crossing(his, ae, 0.4, {}, constraints)
    np.testing.assert_allclose([(i.low, i.high) for i in path], [(low, high) for low, high, _ in expected], atol=1e-9)
    for interval, (*_, mask) in zip(path, expected, strict=True):
        np.testing.assert_array_equal(interval.mask, mask)


def test_protected_heads_are_kept_along_the_path():
    his, ae = np.random.default_rng(1).lognormal(size=(2, 4, 6))
    protect = np.random.default_rng(2).random((4, 6)) < 0.3
    assert all(interval.mask[protect].all() for interval in check(his, ae, 0.4, {}, {"protect": protect}))


def test_a_crossing_computed_by_hand():
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
    with pytest.raises(hp.HeadPruneError, match="cannot prune 8 heads: the constraints allow only"):
        hp.alpha_path(np.eye(3), np.eye(3), 0.9, min_heads_per_layer=2)


def test_layers_without_differences():
    his, ae = np.random.default_rng(0).lognormal(size=(2, 4, 6))
    his[1], ae[2] = 3.0, 0.0
    for options in OPTIONS.values():
        check(his, ae, 0.5, options, {})
    (interval,) = hp.alpha_path(np.ones((2, 3)), np.ones((2, 3)), 0.5)
    assert interval.mask.tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize(
    ("his", "sparsity", "words"),
    [
        ([[1.0, np.nan, np.inf]], 0.5, "scores must be finite, got 2 non-finite values"),
        ([[1.0, 2, 3]], -0.1, "sparsity must be between 0 and 1, got -0.1"),
        ([[1.0, 2, 3]], 1.1, "sparsity must be between 0 and 1, got 1.1"),
        ([[1.0, 2, 3]], float("nan"), "sparsity must be between 0 and 1, got nan"),
        ([[[1.0, 2, 3]]], 0.5, r"his must have shape \(R, H\), got \(1, 1, 3\)"),
    ],
)
def test_invalid_scores_and_sparsities_are_refused(his, sparsity, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.alpha_path(his, np.zeros(np.shape(his)), sparsity)


@pytest.mark.slow
@pytest.mark.parametrize("names", [(), ("uniform", "protect"), ("parameters",)], ids=str)
def test_the_keep_fraction_equals_that_of_a_fine_grid(names):
    generator = np.random.default_rng(4)
    his, ae = generator.lognormal(size=(2, 5, 7))
    constraints = constraints_named(names, his.shape, generator)
    share = hp.keep_fraction(hp.alpha_path(his, ae, 0.4, **constraints))
    fine = (np.arange(2000) + 0.5) / 2000
    expected = np.mean([hp.prune_mask(hp.hies(his, ae, alpha), 0.4, **constraints) for alpha in fine], axis=0)
    np.testing.assert_allclose(share, expected, atol=4 / 2000)
    assert (share[expected == 1] == 1).all()
    assert (share[expected == 0] == 0).all()


def test_a_recurring_mask_counts_once():
    one, other = np.array([[True, False]]), np.array([[False, True]])
    path = [hp.AlphaInterval(0.0, 0.2, one), hp.AlphaInterval(0.2, 0.5, other), hp.AlphaInterval(0.5, 1.0, one)]
    assert len(hp.distinct_masks(path)[0]) == 2
    np.testing.assert_allclose(hp.keep_fraction(path), [[0.7, 0.3]])
    expected = {0.0: 0, 0.1: 0, 0.2: 0, 0.3: 1, 0.5: 1, 0.6: 2, 1.0: 2}
    assert {alpha: path.index(hp.interval_at(path, alpha)) for alpha in expected} == expected


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(
        hp.HeadPruneError, match=rf"alpha must be between 0 \(entropy only\) and 1 \(importance only\), got {alpha}"
    ):
        hp.interval_at([hp.AlphaInterval(0.0, 1.0, np.ones((1, 1), bool))], alpha)
