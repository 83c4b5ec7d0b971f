"""Cochran's Q: against its textbook formula, a permutation test, and its nominal false positive rate."""

import numpy as np
import pytest
from scipy.stats import chi2

import headprune_core as hp
from headprune_core.alpha_choice.cochran import cochran_q


def by_the_book(right):
    """Cochran's formula as textbooks print it: k (k - 1) sum (T - mean T)^2 / (k sum R - sum R^2)."""
    k, totals, rows = len(right), right.sum(1).astype(float), right.sum(0).astype(float)
    return k * (k - 1) * ((totals - totals.mean()) ** 2).sum() / (k * rows.sum() - (rows**2).sum())


def simulate(methods, texts, seed, spread=0.0):
    generator = np.random.default_rng(seed)
    easy = generator.uniform(0.2, 0.9, texts)
    return generator.random((methods, texts)) < easy + spread * np.linspace(-1, 1, methods)[:, None]


def test_a_table_by_hand():
    # totals 4, 2, 0 of four texts that each have k = 3 methods: mean 2, squares 8; rows 2, 2, 1, 1: k sum - squares = 8
    right = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    found = cochran_q(right)
    assert (found.q, found.degrees) == (pytest.approx(6.0), 2)
    assert found.p_value == pytest.approx(np.exp(-3.0))  # chi-squared with two degrees of freedom


@pytest.mark.parametrize(("methods", "texts", "spread"), [(2, 30, 0.1), (5, 40, 0.0), (9, 200, 0.05)])
def test_the_textbooks_formula(methods, texts, spread):
    right = simulate(methods, texts, 0, spread)
    found = cochran_q(right)
    assert found.q == pytest.approx(by_the_book(right))
    assert found.p_value == pytest.approx(chi2.sf(found.q, methods - 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_permutation_test_within_examples_gives_the_same_p(seed):
    right = simulate(4, 60, seed, 0.08)
    generator, q = np.random.default_rng(7), by_the_book(right)
    shuffled = np.array([by_the_book(generator.permuted(right, axis=0)) for _ in range(3000)])
    as_large, larger = np.mean(shuffled >= q - 1e-9), np.mean(shuffled > q + 1e-9)
    assert cochran_q(right).p_value == pytest.approx((as_large + larger) / 2, abs=0.03)


def test_two_methods_need_no_correction():
    found = cochran_q(simulate(2, 50, 3, 0.1))
    assert found.epsilon == pytest.approx(1.0)
    assert found.p_corrected == pytest.approx(found.p_value)


def test_epsilon_is_that_of_the_covariances():
    right = simulate(5, 60, 4)
    covariance = np.cov(right.astype(float))
    centre = np.eye(5) - 1 / 5
    values = np.linalg.eigvalsh(centre @ covariance @ centre)
    assert cochran_q(right).epsilon == pytest.approx(values.sum() ** 2 / (4 * (values**2).sum()))


def test_correlated_masks_have_the_nominal_false_positive_rate():
    # nine near copies of one method beside one other, all equally good: Cochran's own p is wrong, the corrected one is not
    generator, own, corrected = np.random.default_rng(5), 0, 0
    for _ in range(800):
        base, other = generator.random((2, 150)) < 0.8
        copies = base ^ ((generator.random((9, 150)) < 0.02) & (generator.random((9, 150)) < 0.5))
        copies = np.vstack([base, copies, other])
        found = cochran_q(copies)
        own += found.p_value < 0.05
        corrected += found.p_corrected < 0.05
    assert own / 800 > 0.1
    assert 0.02 <= corrected / 800 <= 0.075


def test_a_real_difference_is_significant():
    assert cochran_q(simulate(10, 400, 6, 0.1)).p_corrected < 0.001


@pytest.mark.parametrize("right", [np.ones((1, 5), bool), np.zeros((4, 5), bool), np.tile([True, False, True], (6, 1))])
def test_equal_predictions_have_no_difference(right):
    found = cochran_q(right)
    assert (found.q, found.p_value, found.p_corrected) == (0.0, 1.0, 1.0)


def test_shares_have_the_same_test():
    right = simulate(3, 40, 8, 0.1)
    assert cochran_q(right / 2.0).q == pytest.approx(cochran_q(right).q)  # a scale says nothing
    assert cochran_q(np.random.default_rng(0).random((6, 20))).epsilon <= 1.0  # more methods than can be told apart


@pytest.mark.parametrize("wrong", [[True, False], np.ones((0, 3)), [[np.nan, 1.0]]])
def test_invalid_values_raise(wrong):
    with pytest.raises(hp.HeadPruneError, match="must be finite numbers of shape \\(methods, examples\\)"):
        cochran_q(wrong)
