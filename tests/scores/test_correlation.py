"""Correlations against pairs counted one by one and ranks computed by hand."""

import re

import numpy as np
import pytest
from scipy import stats

from headprune_core.scores.correlation import association, kendall, pearson, spearman


def tau_b(u, v):
    """From its definition, one pair of indices at a time."""
    same = opposite = u_differ = v_differ = 0
    for i in range(len(u)):
        for j in range(i):
            product = (u[i] - u[j]) * (v[i] - v[j])
            same, opposite = same + (product > 0), opposite + (product < 0)
            u_differ, v_differ = u_differ + (u[i] != u[j]), v_differ + (v[i] != v[j])
    return (same - opposite) / np.sqrt(u_differ * v_differ)


@pytest.mark.parametrize("values", [3, 1000])
def test_kendall_counts_pairs_ties_included(values):
    u, v = np.random.default_rng(0).integers(0, values, (2, 4, 15)).astype(float)
    np.testing.assert_allclose(kendall(u, v), [tau_b(*pair) for pair in zip(u, v, strict=True)])


def test_spearman_is_pearson_of_ranks_that_ties_share():
    u, v = np.array([10.0, 20.0, 20.0, 90.0, 50.0]), np.array([5.0, 1.0, 2.0, 7.0, 7.0])
    assert spearman(u, v) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 5, 4], [3, 1, 2, 4.5, 4.5])[0, 1])
    assert pearson(u, v) == pytest.approx(np.corrcoef(u, v)[0, 1])


@pytest.mark.parametrize("correlation", [pearson, spearman, kendall])
def test_leading_axes_broadcast_and_constants_have_no_correlation(correlation):
    u, v = np.random.default_rng(1).random((2, 3, 1, 6))
    v[1] = 0.25
    found = correlation(u, v.reshape(1, 3, 6))
    assert found.shape == (3, 3)
    assert np.isnan(found[:, 1]).all()
    assert found[2, 0] == pytest.approx(correlation(u[2, 0], v[0, 0]))


def test_the_association_of_heads_equals_scipy_and_leaves_out_unknown_values():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(6, 12))
    v = u + rng.normal(size=(6, 12))
    u[0, 0], v[5, 11] = np.nan, np.nan
    found, known = association(u, v), np.isfinite(u + v)
    r, rho = stats.pearsonr(u[known], v[known]), stats.spearmanr(u[known], v[known])
    assert found.n == 70
    assert (found.pearson, found.spearman) == pytest.approx((r.statistic, rho.statistic))
    np.testing.assert_allclose(found.pearson_ci, r.confidence_interval(), atol=0.06)  # Fisher's interval
    assert found.pearson_ci[0] < found.pearson < found.pearson_ci[1]
    assert found.spearman_ci[0] < found.spearman < found.spearman_ci[1]
    assert max(found.pearson_p, found.spearman_p) < 0.001
    assert re.fullmatch(r"Pearson r = 0\.\d\d \(95% CI .*, p < 0\.001\); Spearman ρ = .*; n = 70 heads\.", found.text)


def test_p_values_of_independent_values_are_those_of_scipy():
    u, v = np.random.default_rng(3).normal(size=(2, 40))
    found = association(u, v)
    assert found.pearson_p == pytest.approx(stats.pearsonr(u, v).pvalue, abs=0.05)
    assert found.spearman_p == pytest.approx(stats.spearmanr(u, v).pvalue, abs=0.05)
    assert found.pearson_ci[0] < 0 < found.pearson_ci[1]


def test_an_association_without_variation_or_heads_is_undefined():
    constant = association(np.ones(9), np.arange(9))
    assert constant.text == "The correlation is undefined, because one value is the same for every head."
    few = association(np.array([1.0, 2.0, np.nan]), np.arange(3))
    assert few.text == "The correlation is undefined, because fewer than 3 heads have both values."
    assert np.isnan([few.pearson, few.spearman, *few.pearson_ci, few.pearson_p]).all()
