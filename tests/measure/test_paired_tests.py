"""Paired tests: against published tables, SciPy, and simulated examples with a known difference."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.measure.paired_tests import (
    PAIRED,
    McNemar,
    ShareDifference,
    holm,
    is_significant,
    mcnemar,
    paired,
    significance_text,
    why_not_significant,
)


def answers(both, first, second, neither):
    """Two bool arrays with that table, shuffled."""
    a = np.repeat([True, True, False, False], [both, first, second, neither])
    b = np.repeat([True, False, True, False], [both, first, second, neither])
    order = np.random.default_rng(0).permutation(len(a))
    return a[order], b[order]


@pytest.mark.parametrize(
    ("table", "p_value", "difference", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), chapter 8, whose Newcombe
        # interval for the second table is printed as -0.0621 (-0.1186 to -0.0046)
        ((1, 1, 7, 12), 0.070, -0.286, -0.507, -0.026),
        ((59, 6, 16, 80), 0.0525, -0.0621, -0.1186, -0.0046),
    ],
)
def test_published_tables(table, p_value, difference, low, high):
    found = mcnemar(*answers(*table))
    assert (found.b, found.c) == table[1:3]
    digits = 5e-4 if sum(table) < 50 else 5e-5
    assert found.p_value == pytest.approx(p_value, abs=digits)
    assert (found.difference, found.low, found.high) == pytest.approx((difference, low, high), abs=digits)


@pytest.mark.parametrize(("b", "c"), [(1, 0), (0, 5), (3, 3), (9, 1), (40, 71)])
def test_p_is_scipys_and_swapping_methods_changes_the_sign(b, c):
    a, other = answers(30, b, c, 12)
    found, turned = mcnemar(a, other), mcnemar(other, a)
    assert found.p_value == binomtest(b, b + c).pvalue == turned.p_value
    assert (found.difference, found.low, found.high) == pytest.approx((-turned.difference, -turned.high, -turned.low))
    assert found.low < found.difference < found.high


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_equal_predictions_have_no_difference(share):
    right = np.arange(50) < 50 * share
    found = mcnemar(right, right)
    assert (found.b, found.c, found.p_value, found.difference) == (0, 0, 1.0, 0.0)
    assert found.low <= 0 <= found.high


def test_opposite_predictions_stay_within_bounds():
    right = np.ones(20, bool)
    found = mcnemar(right, ~right)
    assert found.difference == found.high == 1.0
    assert found.p_value == pytest.approx(2 * 0.5**20)


def test_intervals_have_their_nominal_coverage():
    generator, held, alarms = np.random.default_rng(0), 0, 0
    shares = [0.6, 0.1, 0.1, 0.2]
    for both, first, second, neither in generator.multinomial(80, shares, size=1500):
        found = mcnemar(*answers(both, first, second, neither))
        held += found.low <= 0 <= found.high
        alarms += found.p_value < 0.05
    assert 0.94 <= held / 1500 <= 0.975
    assert alarms / 1500 <= 0.05


@pytest.mark.parametrize(
    "pair",
    [([True], [True, False]), ([], []), ([1, 0], [0, 1]), ([[True]], [[True]])],
    ids=["lengths", "nothing", "numbers", "shape"],
)
def test_invalid_predictions_raise(pair):
    with pytest.raises(hp.HeadPruneError, match="must be two bool arrays of one length"):
        mcnemar(*pair)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([0.02]).tolist() == [0.02]
    assert holm([]).tolist() == []


@pytest.fixture(scope="module")
def measured():
    """(curves, right): three methods and two random rankings at two sparsities, rows shuffled."""
    generator = np.random.default_rng(3)
    lines = [(m, s, seed) for s in (0.1, 0.3) for m, seed in [("hies", None), ("random", 0), ("his", None), ("ae", None)]]
    frame = pd.DataFrame([*lines, ("random", 0.3, 1)], columns=["method", "sparsity", "seed"])
    frame = frame.sample(frac=1, random_state=0)  # whose index is then no place
    chance = frame.method.map({"hies": 0.8, "his": 0.7, "ae": 0.3, "random": 0.5}).to_numpy()
    return frame, generator.random((len(frame), 100)) < chance[:, None]


def test_every_method_is_tested_against_the_reference(measured):
    frame, right = measured
    table = paired(frame, right, 0.3)
    assert list(table.columns) == PAIRED
    assert set(table.method) == {"hies", "ae"}
    lines = {(m, s): right[i] for i, (m, s) in enumerate(zip(frame.method, frame.sparsity, strict=True))}
    for line in table.itertuples():
        expected = mcnemar(lines[line.method, 0.3], lines["his", 0.3])
        assert McNemar(line.b, line.c, line.p_value, line.difference, line.low, line.high) == expected
        assert line.difference == pytest.approx(lines[line.method, 0.3].mean() - lines["his", 0.3].mean())
    assert table.p_holm.tolist() == holm(table.p_value).tolist()
    assert table.set_index("method").p_holm["ae"] < 0.001


def test_reference_and_sparsity_can_be_selected(measured):
    frame, right = measured
    assert set(paired(frame, right, 0.1 + 1e-12, against="ae").method) == {"hies", "his"}
    alone = paired(frame[frame.method == "his"], right[(frame.method == "his").to_numpy()], 0.3)
    assert alone.empty
    assert list(alone.columns) == PAIRED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity": 0.2}, "sparsity must be one of the measured values 0.1, 0.3, got 0.2"),
        ({"against": "gnorm"}, "against must be one of ae, hies, his, got Gnorm"),
        ({"against": "random"}, "against must be one of .*, got Random"),
        ({"right": None}, "these curves have no per-example predictions; compute them with measure_curves"),
        (
            {"right": np.ones((3, 4), bool)},
            r"right must have shape \(9, N\), one row for each row of the curves, got \(3, 4\)",
        ),
    ],
)
def test_invalid_comparisons_raise(measured, options, words):
    frame, right = measured
    with pytest.raises(hp.HeadPruneError, match=words):
        paired(**{"curves": frame, "right": right, "sparsity": 0.3} | options)


def table_test(b, c, both=60, neither=80):
    return mcnemar(*answers(both, b, c, neither))


@pytest.mark.parametrize(
    ("test", "significant", "reason"),
    [
        (table_test(30, 5), True, ""),
        (table_test(6, 7), False, "The 95% CI includes 0"),
        (table_test(6, 16, 59), False, "but the exact McNemar test is not significant at the 5% level (p = 0.052)"),
        (ShareDifference(0.1, 0.05, 0.15), True, ""),
        (ShareDifference(-0.1, -0.15, -0.05), True, ""),
        (ShareDifference(0.1, -0.05, 0.15), False, "The 95% CI includes 0"),
    ],
)
def test_significance_and_its_text(test, significant, reason):
    assert is_significant(test) is significant
    assert why_not_significant(test).endswith(reason)
    assert bool(why_not_significant(test)) is not significant
    assert significance_text(test) == ("significant" if significant else "not significant") + " at the 5% level"
