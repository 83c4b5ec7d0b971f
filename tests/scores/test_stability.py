"""Rank stability against scores with known signal and noise, and against rankings computed one by one."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import headprune_core as hp
from headprune_core.scores.stability import STABLE_TAU


def noisy_scores(count=64, noise=1.0, heads=30, seed=0):
    """Every example is the truth, evenly spaced over heads, plus noise; the same for the three norms of Gnorm."""
    generator = np.random.default_rng(seed)
    truth = np.linspace(1, 2, 2 * heads).reshape(2, heads)
    values = {name: truth + noise * generator.normal(size=(count, 2, heads)) for name in ("his", "ae")}
    values["gnorm"] = truth + noise * generator.normal(size=(count, 3, 2, heads))
    return hp.HeadScores(None, values)


def values(scores, metric):
    return scores.hies(0.3) if metric == "hies" else getattr(scores, metric)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["his", "ae", "hies", "gnorm"])
def test_prefixes_are_compared_with_all(metric):
    scores = noisy_scores()
    found = hp.rank_stability(scores, metric, (32, 8, 64, 200), alpha=0.3)
    assert found.table["size"].tolist() == [8, 32]
    assert found.examples == 64
    for line in found.table.itertuples():
        first = hp.HeadScores(None, {name: part[: line.size] for name, part in scores.per_example.items()})
        expected = stats.kendalltau(values(first, metric), values(scores, metric)).statistic
        assert line.kendall == pytest.approx(expected)
        assert line.low < line.high <= 1


def test_disjoint_subsets_agree_as_far_as_noise_allows():
    # with noise in every example, two means of n examples correlate by signal / (signal + noise / n) whatever N is
    scores = noisy_scores(count=400, noise=2.0)
    table = hp.rank_stability(scores, "his", (8, 64, 300)).table.set_index("size")
    variance = np.linspace(1, 2, 60).var()
    for size in (8, 64):
        reliability = variance / (variance + 4.0 / size)
        two = np.random.default_rng(1).multivariate_normal([0, 0], [[1, reliability], [reliability, 1]], 4000).T
        assert table.apart[size] == pytest.approx(stats.kendalltau(*two).statistic, abs=0.06)
        assert table.apart_low[size] < table.apart[size] < table.apart_high[size]
        assert table.apart[size] < table.kendall[size]  # a shared example biases tau upward
    assert np.isnan(table.loc[300, ["apart", "apart_low", "apart_high"]]).all()


def test_pure_noise_looks_more_stable_than_it_is():
    scores = hp.HeadScores(None, {"his": np.random.default_rng(0).normal(size=(100, 4, 25))})
    line = hp.rank_stability(scores, "his", (50,)).table.iloc[0]
    assert line.kendall > 0.35
    assert abs(line.apart) < 0.1
    assert abs(hp.split_half(scores.per_example["his"])[0]) < 0.1


@pytest.mark.parametrize(
    ("kendall", "recommended"),
    [([0.5, 0.95, 0.99], 16), ([0.95, 0.95, 0.9], 8), ([0.95, 0.8, 0.92], 32), ([0.95, 0.95, 0.89], None), ([], None)],
)
def test_the_recommended_size_is_the_first_stable_one(kendall, recommended):
    table = pd.DataFrame({"size": [8, 16, 32][: len(kendall)], "kendall": kendall, "apart": np.nan})
    found = hp.RankStability("his", 64, table)
    assert found.recommended_size == recommended
    assert (f"{recommended} examples give" in found.verdict) == (recommended is not None)
    assert ("Load more." in found.verdict) == (recommended is None)


def test_the_verdict_states_tau_of_disjoint_subsets():
    found = hp.rank_stability(noisy_scores(noise=0.01), "his", (8, 16, 32))
    assert found.table.kendall.min() >= STABLE_TAU
    assert found.recommended_size == 8
    assert f"Two disjoint subsets of 32 examples: τ = {found.table.apart.iloc[-1]:.2f}." in found.verdict


def test_split_half_equals_splits_computed_one_by_one():
    per_example = noisy_scores(count=31).per_example["his"]
    generator = np.random.default_rng(5)
    found = []
    for _ in range(300):
        order = generator.permutation(31)
        found.append(stats.kendalltau(per_example[order[:15]].mean(0), per_example[order[15:30]].mean(0)).statistic)
    mean, low, high = hp.split_half(per_example)
    assert mean == pytest.approx(np.mean(found), abs=0.02)
    assert (low, high) == pytest.approx(tuple(np.quantile(found, [0.025, 0.975])), abs=0.05)


def test_the_same_seed_gives_the_same_result():
    scores = noisy_scores(20)
    first, second = (hp.rank_stability(scores, "gnorm", (5,), seed=4).table for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": ()}, r"sizes must hold at least one number, each at least 1, got \[\]"),
        ({"sizes": (0, 8)}, r"sizes must .* got \[0, 8\]"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"metric": "size"}, "unknown score 'size'"),
    ],
)
def test_invalid_arguments_are_refused(options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.rank_stability(noisy_scores(10), **{"metric": "his"} | options)


def test_one_example_cannot_be_split():
    with pytest.raises(hp.HeadPruneError, match="a split needs at least 2 examples, got 1"):
        hp.split_half(np.ones((1, 2, 3)))
