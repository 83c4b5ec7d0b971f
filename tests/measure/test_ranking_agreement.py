"""Agreement of rankings: against SciPy, manually counted sets, and simulated random sets."""

import numpy as np
import pytest
from scipy import stats

import headprune_core as hp
from headprune_core.measure.ranking_agreement import chance_overlap, kendall_intervals, resampled_rankings
from headprune_core.scores.bootstrap import resampled_means


def some_scores(count=24, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.random((4, 6))
    values = {name: truth + generator.random((count, 4, 6)) for name in ("his", "ae")}
    return hp.HeadScores(None, values | {"gnorm": truth + generator.random((count, 3, 4, 6))})


def test_every_pair_is_scipys_kendall_and_the_sets_overlap():
    rankings = dict(zip("abc", np.random.default_rng(0).random((3, 4, 6)), strict=True))
    found = hp.agreement_matrix(rankings, 0.25)
    assert found.names == ("a", "b", "c")
    assert (found.removed, found.heads) == (6, 24)
    for i, first in enumerate(rankings.values()):
        for j, second in enumerate(rankings.values()):
            assert found.kendall[i, j] == pytest.approx(stats.kendalltau(first, second).statistic)
            one, other = (set(np.argsort(ranking.ravel())[:6].tolist()) for ranking in (first, second))
            assert found.overlap[i, j] == pytest.approx(len(one & other) / len(one | other))
    pairs = found.to_frame()
    assert pairs[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert pairs.kendall.tolist() == [found.kendall[0, 1], found.kendall[0, 2], found.kendall[1, 2]]


def test_a_ranking_and_its_inverse():
    ranking = np.arange(10.0).reshape(2, 5)
    found = hp.agreement_matrix({"up": ranking, "down": -ranking}, 0.5)
    assert (found.kendall[0, 1], found.overlap[0, 1]) == pytest.approx((-1, 0))
    assert hp.agreement_matrix({"up": ranking, "down": -ranking}, 1.0).overlap[0, 1] == 1


def test_overlap_is_undefined_without_pruned_heads():
    ranking = np.arange(10.0).reshape(2, 5)
    found = hp.agreement_matrix({"a": ranking, "b": ranking}, 0.0)
    assert np.isnan(found.overlap).all()
    assert np.isnan(found.chance)


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "removed"), [(24, 6), (10, 9), (7, 1), (5, 5)])
def test_chance_overlap_is_that_of_random_sets(heads, removed):
    generator = np.random.default_rng(0)
    sets = np.argsort(generator.random((2, 20_000, heads)), -1)[..., :removed]
    common = np.array([len(np.intersect1d(*pair)) for pair in zip(*sets, strict=True)])
    assert chance_overlap(heads, removed) == pytest.approx((common / (2 * removed - common)).mean(), abs=0.006)


def test_all_criteria_except_random_and_external_ones_are_ranked():
    scores = some_scores()
    found = hp.criterion_rankings(scores, alpha=0.3)
    assert set(found) == {"his", "hies", "hies_keep_high", "gnorm", "ae", "inverse_ae", "inverse_gnorm"}
    np.testing.assert_array_equal(found["hies"], scores.hies(0.3))
    np.testing.assert_array_equal(found["ae"], -scores.ae)
    only = hp.criterion_rankings(hp.HeadScores(None, {"ae": scores.per_example["ae"]}))
    assert set(only) == {"ae", "inverse_ae"}


@pytest.mark.slow
def test_intervals_are_those_of_a_plain_bootstrap():
    scores = some_scores()
    drawn = resampled_rankings(scores, resamples=600)
    low, high = kendall_intervals(hp.criterion_rankings(scores), drawn)
    names = list(drawn)
    i, j = names.index("his"), names.index("gnorm")
    generator, expected = np.random.default_rng(9), []
    for _ in range(2000):
        some = generator.integers(0, 24, 24)
        his, norms = (scores.per_example[name][some].mean(0) for name in ("his", "gnorm"))
        expected.append(stats.kendalltau(his, norms[0] * norms[1] * norms[2]).statistic)
    found = stats.kendalltau(scores.his, scores.gnorm).statistic
    limits = (
        np.quantile(expected, [0.025, 0.975]) + found - np.mean(expected)
    )  # corrected for the bias of resamples towards 0
    assert (low[i, j], high[i, j]) == pytest.approx(tuple(limits), abs=0.04)
    assert low[i, j] < found < high[i, j]
    np.testing.assert_array_equal(low, low.T)
    assert (low.diagonal() == 1).all()


@pytest.mark.slow
def test_intervals_cover_the_mean_over_many_samples():
    # two noisy measurements of the same heads: the mean lies in 93% of the intervals, in 87% of the plain percentiles
    generator, intervals, plain, values = np.random.default_rng(3), [], [], []
    truth = generator.normal(size=(3, 8))
    for seed in range(60):
        measured = dict(zip("ab", truth + 3 * generator.normal(size=(2, 20, 3, 8)), strict=True))
        rankings = {name: part.mean(0) for name, part in measured.items()}
        drawn = {name: resampled_means(part, 100, seed) for name, part in measured.items()}
        low, high = kendall_intervals(rankings, drawn)
        values.append(stats.kendalltau(*rankings.values()).statistic)
        intervals.append((low[0, 1], high[0, 1]))
        again = [stats.kendalltau(*pair).statistic for pair in zip(*drawn.values(), strict=True)]
        plain.append(tuple(np.quantile(again, [0.025, 0.975])))
    held, held_plain = (np.mean([low <= np.mean(values) <= high for low, high in some]) for some in (intervals, plain))
    assert held >= 0.9
    assert held_plain < held


def ablation_like(scores, noise, seed=1):
    """An ablation whose every example moves by what HIS says, up or down by chance, and some noise."""
    his = scores.per_example["his"]
    generator = np.random.default_rng(seed)
    change = (his + noise * generator.random(his.shape)) * generator.choice([-1, 1], his.shape)
    return hp.LeaveOneOut(None, change, np.zeros(his.shape[1:]), 1.0, "loss")


@pytest.mark.slow
def test_his_predicts_the_absolute_change_in_loss():
    scores = some_scores()
    table = hp.compare_with_ablation(scores, ablation_like(scores, 0.0), paired=True).set_index("criterion")
    assert table.loc["his", ["kendall", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    assert table.increase["his"] < 0.5
    assert table.kendall["inverse_ae"] == -table.kendall["ae"]
    expected = stats.kendalltau(scores.gnorm, scores.his).statistic
    assert table.kendall["gnorm"] == pytest.approx(expected)


@pytest.mark.slow
def test_resamples_are_paired_only_for_the_same_examples():
    scores = some_scores()
    ablation = ablation_like(scores, 0.0)
    apart = hp.compare_with_ablation(scores, ablation, paired=False).set_index("criterion")
    assert apart.kendall["his"] == 1
    assert apart.low["his"] < 1
    fewer = hp.LeaveOneOut(None, ablation.per_example[:5], ablation.accuracy_drop, 1.0, "loss")
    assert len(hp.compare_with_ablation(scores, fewer, paired=False)) == 7
    with pytest.raises(hp.HeadPruneError, match="needs the same examples, got 24 for the scores and 5 for the ablation"):
        hp.compare_with_ablation(scores, fewer, paired=True)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, r"rankings must be two or more of one shape \(R, H\), got none"),
        ({"a": (2, 3)}, r"a \(2, 3\)"),
        ({"a": (2, 3), "b": (3, 2)}, "b"),
    ],
)
def test_invalid_rankings_raise(shapes, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.agreement_matrix({name: np.ones(shape) for name, shape in shapes.items()}, 0.5)
