"""Inflection point: against trajectories with a known drop, simulated noise, and a brute-force search over breakpoints."""

import numpy as np
import pytest

from headprune_core.measure.greedy_trajectory import inflection

FLAT, FALL, TAIL = [0.9] * 11, np.linspace(0.9, 0.33, 11)[1:].tolist(), np.linspace(0.33, 0.3, 50).tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FLAT + FALL, 10),
        (FLAT + FALL + TAIL, 10),  # values after the drop do not move it
        (FLAT + FALL[:3], 10),  # nor do missing later values
        ([0.9] * 10 + [0.5] * 10, 9),  # a sudden change
        ([0.9] * 10 + [0.5], 9),
        ([0.9, 0.9, 0.5], 1),
        (np.r_[np.linspace(0.9, 0.65, 51), np.linspace(0.65, 0.35, 7)[1:]], 50),  # a slow fall before
        (np.r_[np.linspace(0.7, 0.9, 21), np.linspace(0.9, 0.3, 13)[1:]], 20),  # better at first
        ([0.9] * 5 + [0.3] + [0.9] * 10 + [0.3] * 5, 15),  # a dip that does not last
        ([0.9] * 20, None),
        (np.linspace(0.9, 0.3, 20), None),  # falls all along
        ([0.9, 0.4, 0.4, 0.4, 0.4], None),
        (np.linspace(0.3, 0.9, 20), None),
        ([0.9] * 5 + [0.3] + [0.9] * 10, None),
        ([0.9, 0.5], None),
        ([], None),
        ([np.nan] * 9, None),
    ],
)
def test_inflections_by_hand(values, expected):
    assert inflection(values) == expected
    assert inflection(values, trials=1000) == expected


def test_a_drop_within_noise_has_no_inflection():
    values = [0.9] * 10 + [0.8, 0.7]
    assert inflection(values, trials=200) == 9
    assert inflection(values, trials=20) is None


@pytest.mark.parametrize("trials", [120, 960])
def test_a_known_inflection_is_found_despite_noise_and_none_in_noise_only(trials):
    generator = np.random.default_rng(0)
    truth = np.r_[np.linspace(0.9, 0.8, 41), np.linspace(0.8, 0.4, 21)[1:], np.linspace(0.4, 0.33, 40)]
    found = [inflection(generator.binomial(trials, truth) / trials, trials) for _ in range(60)]
    assert np.abs(np.array(found, float) - 40).max() <= {120: 8, 960: 3}[trials]
    level = np.full(72, 0.88)
    assert [inflection(generator.binomial(trials, level) / trials, trials) for _ in range(60)] == [None] * 60


def test_the_inflection_equals_a_search_over_all_breakpoints():
    generator = np.random.default_rng(5)
    values = np.r_[np.full(12, 0.9), np.linspace(0.9, 0.5, 9)[1:]] + generator.normal(0, 0.01, 20)
    end = 1 + int(np.flatnonzero(values >= values[0] - np.ptp(np.r_[values[0], values.min()]) / 2)[-1]) + 1
    errors = []
    for at in range(1, end - 1):
        basis = np.array([[1.0, min(n, at), max(n - at, 0)] for n in range(end)])  # level, steps before, steps after
        weights = np.linalg.solve(basis.T @ basis, basis.T @ values[:end])
        errors.append((np.square(basis @ weights - values[:end]).sum(), at))
    assert inflection(values) == min(errors)[1]
