"""Paired tests: against published tables, SciPy, and simulated examples with a known difference."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, bootstrap, pearsonr, permutation_test

import headprune_core as hp
from headprune_core.measure.paired_tests import (
    PAIRED,
    McNemar,
    compare,
    holm,
    is_significant,
    mcnemar,
    method_text,
    paired,
    paired_columns,
    significance_text,
    why_not_significant,
)
from headprune_core.measure.permutation_tests import (
    Outcomes,
    PairedTest,
    correlation_test,
    difference_from_mean,
    token_test,
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


@pytest.mark.slow
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
    """(curves, outcomes): three methods and two random rankings at two sparsities, rows shuffled."""
    generator = np.random.default_rng(3)
    lines = [(m, s, seed) for s in (0.1, 0.3) for m, seed in [("hies", None), ("random", 0), ("his", None), ("ae", None)]]
    frame = pd.DataFrame([*lines, ("random", 0.3, 1)], columns=["method", "sparsity", "seed"])
    frame = frame.sample(frac=1, random_state=0)  # whose index is then no place
    chance = frame.method.map({"hies": 0.8, "his": 0.7, "ae": 0.3, "random": 0.5}).to_numpy()
    return frame, [Outcomes(row) for row in generator.random((len(frame), 100)) < chance[:, None]]


def test_every_method_is_tested_against_the_reference(measured):
    frame, outcomes = measured
    table = paired(frame, outcomes, 0.3)
    assert list(table.columns) == PAIRED
    assert set(table.method) == {"hies", "ae"}
    lines = {(m, s): outcomes[i].values for i, (m, s) in enumerate(zip(frame.method, frame.sparsity, strict=True))}
    for line in table.itertuples():
        expected = mcnemar(lines[line.method, 0.3], lines["his", 0.3])
        assert McNemar(line.difference, line.low, line.high, line.p_value, 100, line.b, line.c) == expected
        assert line.difference == pytest.approx(lines[line.method, 0.3].mean() - lines["his", 0.3].mean())
    assert table.p_holm.tolist() == holm(table.p_value).tolist()
    assert table.set_index("method").p_holm["ae"] < 0.001


def test_reference_and_sparsity_can_be_selected(measured):
    frame, outcomes = measured
    assert set(paired(frame, outcomes, 0.1 + 1e-12, against="ae").method) == {"hies", "his"}
    his = (frame.method == "his").to_numpy()
    alone = paired(frame[his], [outcomes[i] for i in np.flatnonzero(his)], 0.3)
    assert alone.empty
    assert list(alone.columns) == PAIRED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity": 0.2}, "sparsity must be one of the measured values 0.1, 0.3, got 0.2"),
        ({"against": "gnorm"}, "against must be one of ae, hies, his, got Gnorm"),
        ({"against": "random"}, "against must be one of .*, got Random"),
        ({"outcomes": None}, "these curves have no per-example predictions; compute them with measure_curves"),
        ({"outcomes": [None] * 3}, "outcomes must be those of the 9 rows of the curves, got 3"),
    ],
)
def test_invalid_comparisons_raise(measured, options, words):
    frame, outcomes = measured
    with pytest.raises(hp.HeadPruneError, match=words):
        paired(**{"curves": frame, "outcomes": outcomes, "sparsity": 0.3} | options)


def table_test(b, c, both=60, neither=80):
    return mcnemar(*answers(both, b, c, neither))


@pytest.mark.parametrize(
    ("test", "significant", "reason"),
    [
        (table_test(30, 5), True, ""),
        (table_test(6, 7), False, "The 95% CI includes 0"),
        (table_test(6, 16, 59), False, "but the exact McNemar test is not significant at the 5% level (p = 0.052)"),
        (PairedTest(0.1, 0.05, 0.15, 0.01, 90), True, ""),
        (PairedTest(-0.1, -0.15, -0.05, 0.01, 90), True, ""),
        (PairedTest(0.1, -0.05, 0.15, 0.2, 90), False, "The 95% CI includes 0"),
        (
            PairedTest(0.1, 0.01, 0.2, 0.06, 90),
            False,
            "but the permutation test is not significant at the 5% level (p = 0.060)",
        ),
    ],
)
def test_significance_and_its_text(test, significant, reason):
    assert is_significant(test) is significant
    assert why_not_significant(test).endswith(reason)
    assert bool(why_not_significant(test)) is not significant
    assert significance_text(test) == ("significant" if significant else "not significant") + " at the 5% level"


def tokens(n, seed=0, shift=0.05):
    """(correct_a, correct_b, counts): numbers of correct predictions under two methods, of 1 to 30 per example."""
    generator = np.random.default_rng(seed)
    counts, share = generator.integers(1, 31, n), generator.beta(6, 3, n)
    first, second = (generator.binomial(counts, np.clip(share + s, 0, 1)) for s in (shift, 0.0))
    return first, second, counts


def numbers(n, outputs=1, seed=0):
    """(first, second, labels, unpruned): outputs that correlate with the labels and with each other, of other scales."""
    generator = np.random.default_rng(seed)
    labels, shared = generator.standard_normal((2, n, outputs))
    noise = 0.5 * generator.standard_normal((2, n, outputs))
    return 3.0 + labels + 0.5 * shared + noise[0], 0.1 * (labels + shared + noise[1]), labels, labels + shared


def correlation(outputs, labels):
    """Pearson's r, mean over outputs."""
    x, y = outputs - outputs.mean(0), labels - labels.mean(0)
    return np.mean((x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0)))


def test_one_prediction_per_example_gives_the_exact_mcnemar_test():
    right, other = answers(3, 5, 1, 2)
    found, exact = token_test(right, other, np.ones(11)), mcnemar(right, other)
    assert (found.difference, found.p_value) == pytest.approx((exact.difference, exact.p_value))


@pytest.mark.parametrize("n", [2, 7, 10])
def test_the_permutation_test_of_few_examples_is_scipys_exact_one(n):
    first, second, counts = tokens(n)
    found = token_test(first, second, counts)
    options = {"permutation_type": "samples", "vectorized": False, "n_resamples": 2**n}
    of_scipy = permutation_test((first, second), lambda a, b: (a.sum() - b.sum()) / counts.sum(), **options)
    assert (found.difference, found.p_value, found.n) == pytest.approx((of_scipy.statistic, of_scipy.pvalue, n))
    x, y, labels, unpruned = numbers(n)
    if n > 2:  # correlations of two examples are 1
        found = correlation_test(x, y, labels, unpruned)
        z = [((some - some.mean()) / some.std()).ravel() for some in (x, y)]
        of_scipy = permutation_test(z, lambda a, b: pearsonr(a, labels[:, 0])[0] - pearsonr(b, labels[:, 0])[0], **options)
        assert (found.difference, found.p_value) == pytest.approx((of_scipy.statistic, of_scipy.pvalue))


def test_intervals_and_sampled_permutations_are_close_to_scipys():
    generator, n = np.random.default_rng(1), 60
    first, second, counts = tokens(n)
    x, y, labels, unpruned = numbers(n, 2)
    rows = np.arange(n)

    def accuracy(some):
        return (first[some] - second[some]).sum() / counts[some].sum()

    def correlations(some):
        return correlation(x[some], labels[some]) - correlation(y[some], labels[some])

    for found, statistic in (
        (token_test(first, second, counts), accuracy),
        (correlation_test(x, y, labels, unpruned), correlations),
    ):
        assert found.difference == pytest.approx(statistic(rows))
        of_scipy = bootstrap((rows,), statistic, n_resamples=1000, method="percentile", rng=generator, vectorized=False)
        expected = of_scipy.confidence_interval
        assert (found.low, found.high) == pytest.approx(expected, abs=0.12 * (expected.high - expected.low))
    options = {"permutation_type": "samples", "n_resamples": 2000, "rng": generator}
    p = permutation_test((first, second), lambda a, b: a.sum() - b.sum(), vectorized=False, **options).pvalue
    assert token_test(first, second, counts).p_value == pytest.approx(p, abs=0.03)
    z = [(some - some.mean(0)) / some.std(0) for some in (x, y)]
    swaps = generator.random((1000, n, 1)) < 0.5
    apart = [correlation(np.where(s, *z), labels) - correlation(np.where(s, *z[::-1]), labels) for s in swaps]
    p = np.mean(np.abs(apart) >= abs(correlations(rows)))
    assert correlation_test(x, y, labels, unpruned).p_value == pytest.approx(p, abs=0.03)


def test_equal_and_constant_outputs_do_not_differ():
    x, _, labels, unpruned = numbers(30)
    found = correlation_test(x, 5 * x - 1, labels, unpruned)
    assert (found.difference, found.p_value) == pytest.approx((0.0, 1.0), abs=1e-9)
    constant = correlation_test(x, np.full_like(x, 2.0), labels, unpruned)
    assert constant.difference == pytest.approx(correlation(x, labels))
    assert constant.p_value < 0.01
    undefined = correlation_test(x, -x, np.ones_like(labels), unpruned)
    assert not is_significant(undefined)
    with pytest.raises(hp.HeadPruneError, match="must be three arrays of one length with at least one prediction"):
        token_test([1, 2], [1, 1], [0, 0])


@pytest.mark.parametrize("kind", ["decisions", "tokens", "numbers"])
def test_the_difference_from_the_mean_of_others(kind):
    """Against plain resampling, example by example."""
    generator, n = np.random.default_rng(0), 50
    if kind == "decisions":
        values = generator.random((4, n)) < np.array([0.9, 0.6, 0.6, 0.5])[:, None]
        outcomes = [Outcomes(row) for row in values]
    elif kind == "tokens":
        counts = generator.integers(1, 20, n)
        values = generator.binomial(counts, np.array([0.9, 0.6, 0.6, 0.5])[:, None])
        outcomes = [Outcomes(row, counts) for row in values]
    else:
        x, y, labels, unpruned = numbers(n)
        values = np.stack([x, y, -x, y * y])
        outcomes = [Outcomes(row, None, labels, unpruned) for row in values]

    def measure(row, some):
        if kind == "numbers":
            return correlation(row[some], labels[some])
        return row[some].sum() / (counts[some].sum() if kind == "tokens" else n)

    def difference(some):
        first, *others = (measure(row, some) for row in values)
        return first - np.mean(others)

    found, low, high = difference_from_mean(outcomes[0], outcomes[1:])
    assert found == pytest.approx(difference(np.arange(n)))
    resampled = [difference(generator.integers(0, n, n)) for _ in range(400)]
    expected = np.quantile(resampled, [0.025, 0.975])
    assert (low, high) == pytest.approx(expected, abs=0.25 * np.ptp(expected))


def test_rows_of_curves_are_compared_with_the_unpruned_model_and_with_random_rankings(measured):
    frame, outcomes = measured
    unpruned = Outcomes(np.arange(100) < 75)
    columns = paired_columns(frame, outcomes, unpruned)
    for i, (method, sparsity) in enumerate(zip(frame.method, frame.sparsity, strict=True)):
        found = {name: values[i] for name, values in columns.items()}
        if method == "random":
            assert found.pop("change_test") is None
            assert np.isnan(list(found.values())).all()
            continue
        test = compare(outcomes[i], unpruned)
        assert list(found.values())[:5] == [test.difference, test.low, test.high, test.p_value, "exact McNemar test"]
        others = np.flatnonzero((frame.method == "random") & (frame.sparsity == sparsity))
        expected = difference_from_mean(outcomes[i], [outcomes[k] for k in others])
        assert [found[name] for name in ("gain", "gain_low", "gain_high")] == list(expected)


def test_a_test_in_words():
    assert method_text(PairedTest(0.1, 0.05, 0.15, 0.034, 1500)) == "permutation test, p = 0.034, n = 1,500"
    assert method_text(table_test(30, 5)) == "exact McNemar test, p < 0.001, n = 175"
