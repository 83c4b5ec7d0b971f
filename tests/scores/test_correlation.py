"""Correlations against pairs counted one by one and ranks computed by hand."""

import numpy as np
import pytest

from headprune_core.scores.correlation import kendall, pearson, spearman


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
