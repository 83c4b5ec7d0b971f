"""HIES computed by hand, and its options."""

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.scores.hies import min_max

HIS = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
AE = np.array([[0.0, 2.0, 0.5], [1.0, 3.0, 2.0]])
IMPORTANCE = np.array([[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]])  # by hand: min-max within each row; equal values give 0
ENTROPY = np.array([[0.0, 1.0, 0.25], [0.0, 1.0, 0.5]])


def test_alpha_0_and_1():
    np.testing.assert_allclose(hp.hies(HIS, AE, 1.0), IMPORTANCE)
    np.testing.assert_allclose(hp.hies(HIS, AE, 0.0), 1 - ENTROPY)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_combination(alpha):
    np.testing.assert_allclose(hp.hies(HIS, AE, alpha), alpha * IMPORTANCE + (1 - alpha) * (1 - ENTROPY))


def test_the_other_direction_keeps_heads_of_high_entropy():
    np.testing.assert_allclose(hp.hies(HIS, AE, 0.25, entropy_direction="high"), 0.25 * IMPORTANCE + 0.75 * ENTROPY)


def test_scaling_over_the_whole_model():
    importance = (HIS - 1) / 4
    np.testing.assert_allclose(hp.hies(HIS, AE, 0.5, normalize="global"), 0.5 * importance + 0.5 * (1 - AE / 3))


def test_units_do_not_matter():
    np.testing.assert_allclose(hp.hies(HIS, AE, 0.4), hp.hies(7 * HIS + 2, AE / 9 + 1, 0.4))


def test_scaling_leaves_leading_axes_alone():
    many = np.stack([HIS, 2 * HIS, AE])
    for normalize in ("layer", "global"):
        np.testing.assert_allclose(min_max(many, normalize), np.stack([min_max(values, normalize) for values in many]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": -0.1}, r"alpha must be between 0 \(entropy only\) and 1 \(importance only\), got -0.1"),
        ({"alpha": 1.1}, "alpha must be .* got 1.1"),
        ({"alpha": float("nan")}, "alpha must be .* got nan"),
        ({"normalize": "row"}, "normalize must be 'layer' or 'global', got 'row'"),
        ({"entropy_direction": "up"}, r"entropy_direction must be 'low' or 'high' \(the heads to keep\), got 'up'"),
        ({"ae": AE[:1]}, r"his and ae must have the same shape \(..., R, H\), got \(2, 3\) and \(1, 3\)"),
        ({"ae": AE * np.nan}, "scores must be finite, got 6 non-finite values"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.hies(**{"his": HIS, "ae": AE, "alpha": 0.5} | options)
