"""Comparisons of runs against plain counts, on scores whose differences are known, and on the built-in model."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.comparison.score_comparison import compare
from headprune_core.masks.criteria import CRITERIA
from headprune_core.measure.ranking_agreement import chance_overlap
from headprune_core.scores.head_scores import HeadScores

SHAPE = (4, 6)


def run_on(examples, seed=0, truth=None, metrics=("his", "ae", "gnorm"), **settings):
    """Scores of a run: the truth of every head plus noise of every example."""
    generator = np.random.default_rng(seed)
    truth = np.arange(24.0).reshape(SHAPE) / 4 if truth is None else truth
    his, ae = (np.abs(truth + generator.standard_normal((examples, *SHAPE))) for _ in range(2))
    gnorm = np.abs(truth[None, None] + generator.standard_normal((examples, 3, *SHAPE)))
    return HeadScores(
        SimpleNamespace(shape=SHAPE), {"his": his, "ae": ae, "gnorm": gnorm}, {"objective": "loss", **settings}
    )


def plain_tau(first, second):
    """Kendall's tau-b by counting pairs."""
    pairs = [
        (np.sign(u1 - u2), np.sign(v1 - v2))
        for (u1, v1), (u2, v2) in combinations(zip(first.ravel(), second.ravel(), strict=True), 2)
    ]
    untied = [sum(pair[k] != 0 for pair in pairs) for k in (0, 1)]
    return sum(a * b for a, b in pairs) / np.sqrt(untied[0] * untied[1])


def pruned_heads(ranking, count):
    """The heads of lowest rank by plain sorting."""
    places = [(ranking[row, head], row, head) for row in range(SHAPE[0]) for head in range(SHAPE[1])]
    return {(row, head) for _, row, head in sorted(places)[:count]}


def test_agreement_is_that_of_plain_counts():
    runs = [run_on(8, seed) for seed in range(3)]
    found = compare(*runs, names=("a", "b", "c"), sparsity=0.25, alpha=0.7, resamples=5)
    assert len(found.agreement) == 3 * len(found.criteria)
    by_name = dict(zip(found.names, runs, strict=True))
    for line in found.agreement.itertuples():
        rank = CRITERIA[line.criterion].rank
        first, second = (np.asarray(rank(by_name[name], 0.7, None)) for name in (line.first, line.second))
        assert line.kendall == pytest.approx(plain_tau(first, second))
        sets = [pruned_heads(ranking, 6) for ranking in (first, second)]
        assert sets[0] == {tuple(map(int, place)) for place in np.argwhere(~hp.prune_mask(first, 0.25))}
        assert (line.common, line.pruned) == (len(sets[0] & sets[1]), 6)
        assert line.overlap == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
        assert line.chance == chance_overlap(24, 6)
        assert line.kendall_low <= line.kendall <= line.kendall_high
        order = sorted((first[place], *place) for place in np.ndindex(SHAPE))
        places = found.places(line.criterion, line.first)
        assert [int(places[row, head]) for _, row, head in order] == list(range(1, 25))


def test_a_run_agrees_with_itself_and_no_head_moves():
    run = run_on(8)
    found = compare(run, run, paired=True, resamples=20)
    for name in ("kendall", "kendall_low", "kendall_high", "overlap"):
        np.testing.assert_allclose(found.agreement[name], 1, rtol=1e-12)
    for criterion in found.criteria:
        assert not found.moved(criterion)[["change", "low", "high"]].to_numpy().any()
    assert not found.settings


def of_his(size, number, **options):
    """The agreement by HIS of two runs of a size from one source."""
    runs = (run_on(size, number, metrics=["his"]), run_on(size, 1000 + number, metrics=["his"]))
    return compare(*runs, **options).agreement.loc[0]


@pytest.mark.slow
def test_halves_agree_as_two_calibration_sets_of_half_the_size_do():
    """Over many runs, the mean agreement of halves of 16 examples is that of two sets of 8 from the source."""
    whole, small = ([of_his(size, number, resamples=2) for number in range(30)] for size in (16, 8))
    halves = np.mean([one.half_first for one in whole])
    assert halves == pytest.approx(np.mean([one.kendall for one in small]), abs=0.03)
    assert halves < np.mean([one.kendall for one in whole])  # so it is a lower bound


@pytest.mark.slow
def test_intervals_hold_the_tau_of_other_sets_of_the_source():
    """Of 95% intervals, about 95% hold the mean of tau over all pairs of calibration sets."""
    lines = [of_his(16, number, resamples=100) for number in range(40)]
    mean = np.mean([line.kendall for line in lines])
    assert np.mean([line.kendall_low <= mean <= line.kendall_high for line in lines]) >= 0.9


def test_a_head_that_moves_is_found_and_few_others_are():
    truth = np.arange(24.0).reshape(SHAPE)
    moved = truth.copy()
    moved[0, 1] = 30.0  # the second head to be pruned becomes the last one
    found = compare(run_on(32, 1, truth), run_on(32, 2, moved), names=("before", "after")).moved("his")
    assert (found.row[0], found["head"][0]) == (0, 1)
    assert found.change[0] == 22
    assert found.low[0] > 15
    assert (found.pruned_first[0], found.pruned_second[0]) == (True, False)
    others = found.iloc[1:]
    assert (others.change.abs() <= 2).all()


@pytest.mark.slow
def test_heads_that_do_not_move_seldom_have_an_interval_without_zero():
    flags = []
    for seed in range(20):
        runs = (run_on(16, 2 * seed + more, metrics=["his"]) for more in (0, 1))
        found = compare(*runs, resamples=200).moved("his")
        flags += list((found.low > 0) | (found.high < 0))
    assert 0.02 < np.mean(flags) < 0.1


def test_pairing_makes_intervals_of_the_same_examples_narrower():
    run = run_on(16)
    noisy = HeadScores(run.grid, {name: values * 1.01 + 0.01 for name, values in run.per_example.items()}, run.settings)
    paired, single = (
        compare(run, noisy, paired=paired).agreement.set_index("criterion").loc["his"] for paired in (True, False)
    )
    assert paired.kendall == single.kendall == 1
    assert paired.kendall_low == 1 > single.kendall_low


def test_the_description_has_the_numbers_and_the_settings():
    found = compare(run_on(8), run_on(8, 1, objective="prediction"), names=("loss", "prediction"), resamples=5)
    line = found.agreement.set_index("criterion").loc["his"]
    settings, pair, halves = found.describe()[:3]
    assert settings == "objective: loss loss, prediction prediction."
    assert pair == (
        f"HIS: Kendall's τ of loss and prediction is {line.kendall:.2f} (95% CI {line.kendall_low:.2f} to "
        f"{line.kendall_high:.2f}); at 30% sparsity both prune the same {line.common} of 7 heads (Jaccard index "
        f"{line.overlap:.2f}, {line.chance:.2f} by chance)."
    )
    both = f"{line.half_first:.2f} (loss), {line.half_second:.2f} (prediction)"
    assert halves == f"HIS: Kendall's τ of two halves of the examples is {both}."


def test_one_example_has_no_interval():
    found = compare(run_on(1), run_on(4))
    assert found.agreement[["kendall_low", "kendall_high", "half_first"]].isna().all(axis=None)
    assert found.agreement.half_second.notna().all()
    assert found.moved("his")[["low", "high"]].isna().all(axis=None)
    assert "CI" not in " ".join(found.describe())


def test_what_cannot_be_compared_is_one_sentence():
    run, small = run_on(4), HeadScores(SimpleNamespace(shape=(1, 2)), {"his": np.ones((4, 1, 2))})
    his, ae = (HeadScores(run.grid, {name: run.per_example[name]}) for name in ("his", "ae"))
    for arguments, options, message in (
        ((run,), {}, "compare needs the scores of two or more runs, got 1"),
        ((run, run), {"names": ("a", "a")}, "names must be 2 different names, one per run, got a, a"),
        ((run, run), {"names": ("a",)}, "names must be 2 different names, one per run, got a"),
        ((run, small), {}, "equally many layers and heads can be compared, got run 1 4 x 6, run 2 1 x 2"),
        ((his, ae), {}, r"the runs have no score in common \(run 1 his; run 2 ae\); score them with the same metrics"),
        ((run, run_on(5)), {"paired": True}, "paired=True needs the same examples, got 4, 5"),
        ((run, run), {"resamples": 1}, "resamples must be"),
        ((run, run), {"sparsity": 1.5}, "sparsity must be between 0 and 1, got 1.5"),
        ((run, run), {"alpha": 2}, "alpha must be between 0"),
    ):
        with pytest.raises(hp.HeadPruneError, match=message):
            compare(*arguments, **options)
    found = compare(run, run_on(4, 1), resamples=2)
    with pytest.raises(hp.HeadPruneError, match="unknown criterion 'size'; choose one of his, ae"):
        found.moved("size")
    with pytest.raises(hp.HeadPruneError, match="unknown run 'other'; choose one of run 1, run 2"):
        found.places("his", "other")


@pytest.mark.slow
def test_two_halves_of_the_built_in_tweets_agree_at_least_as_their_halves_do(embedded_model):
    """Real scores that differ by sampling alone."""
    tweets = hp.load_examples("embedded", split="evaluation", size=64)
    halves = [hp.score_heads(embedded_model, tweets.select(range(start, start + 32))) for start in (0, 32)]
    found = compare(*halves, names=("first half", "second half"), resamples=100).agreement.set_index("criterion")
    assert (found.kendall_high > np.minimum(found.half_first, found.half_second)).all()
    assert found.kendall["ae"] > 0.9 > found.kendall["his"]
