"""Agreement between the reductions of HIS, against counting pairs of heads."""

from itertools import combinations

import numpy as np
import pytest

from headprune_core import HeadScores, prune_mask
from headprune_core.masks import reduction_agreement as reductions


def tau_by_counting(first, second):
    """Kendall's tau-b from its definition: concordant minus discordant pairs, corrected for ties."""
    pairs = [(np.sign(a - b), np.sign(c - d)) for (a, c), (b, d) in combinations(zip(first, second, strict=True), 2)]
    signs = np.array(pairs)
    untied = np.abs(signs).sum(0)
    return signs.prod(1).sum() / np.sqrt(untied.prod())


@pytest.fixture(scope="module")
def scores(embedded_scores) -> HeadScores:
    return embedded_scores


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_agreement_is_kendalls_tau_with_and_without_ties(levels):
    generator = np.random.default_rng(levels)
    first, second = generator.integers(0, levels, (2, 4, 5)).astype(float)
    expected = tau_by_counting(first.ravel(), second.ravel())
    assert reductions.rank_agreement(first, second) == pytest.approx(expected, abs=1e-12)


def test_constant_scores_have_no_rank_agreement():
    assert np.isnan(reductions.rank_agreement(np.ones((2, 3)), np.arange(6.0).reshape(2, 3)))


@pytest.mark.slow
def test_every_pair_of_reductions_is_compared_by_mean_scores(scores):
    found = reductions.reduction_agreement(scores)
    assert set(found) == {("example", "token"), ("example", "batch"), ("token", "batch")}
    for (first, second), value in found.items():
        means = (scores.his_by_reduction[name].mean(0).ravel() for name in (first, second))
        assert value == pytest.approx(tau_by_counting(*means), abs=1e-12)


@pytest.mark.slow
def test_the_comparison_does_not_depend_on_the_reduction_in_use(scores):
    assert reductions.reduction_agreement(scores.reduced_by("token")) == reductions.reduction_agreement(scores)


def test_heads_pruned_by_all_are_in_the_mask_of_each(scores):
    common, total = reductions.removed_by_all(scores, 0.3)
    removed = [
        set(map(tuple, np.argwhere(~prune_mask(scores.his_by_reduction[r].mean(0), 0.3)))) for r in scores.his_by_reduction
    ]
    assert (common, total) == (len(set.intersection(*removed)), round(0.3 * 72))
    assert reductions.removed_by_all(scores, 1.0) == (72, 72)


@pytest.mark.parametrize(("smallest", "word"), [(0.95, "similarly"), (0.6, "agree broadly"), (0.1, "disagree")])
def test_the_description_depends_on_the_smallest_tau(smallest, word):
    assert word in reductions.describe_reductions({("a", "b"): 0.99, ("a", "c"): smallest})
    assert "same for every head" in reductions.describe_reductions({("a", "b"): float("nan")})


def test_a_scoring_run_agrees_with_itself(scores):
    assert reductions.precision_agreement(scores, scores) == pytest.approx({"his": 1.0, "ae": 1.0, "gnorm": 1.0})
