"""The orthogonality check against SciPy and against data whose correlation is known."""

import numpy as np
import pytest
from scipy import stats

import headprune_core as hp
from headprune_core.scores.orthogonality import REDUNDANT


def random_scores(seed=0, shape=(6, 12), mix=0.0):
    """Two arrays; the second contains `mix` times the first."""
    generator = np.random.default_rng(seed)
    first, other = generator.normal(size=(2, *shape))
    return first, mix * first + (1 - mix) * other


def scaled_by_row(values):
    return np.stack([(row - row.min()) / (row.max() - row.min()) for row in values])


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.7, 1.0])
def test_coefficients_are_scipys(mix):
    his, ae = random_scores(mix=mix)
    for normalize, u, v in (("global", his, ae), ("layer", scaled_by_row(his), scaled_by_row(ae))):
        found = hp.orthogonality(his, ae, normalize=normalize)
        assert found.pearson == pytest.approx(stats.pearsonr(u.ravel(), v.ravel()).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(u.ravel(), v.ravel()).statistic)
        assert found.kendall == pytest.approx(stats.kendalltau(u.ravel(), v.ravel()).statistic)
        np.testing.assert_allclose(found.per_row, [stats.pearsonr(*rows).statistic for rows in zip(his, ae, strict=True)])


def test_a_case_computed_by_hand():
    found = hp.orthogonality([[1.0, 2.0, 3.0, 4.0]], [[1.0, 3.0, 2.0, 4.0]])
    assert (found.pearson, found.spearman, found.kendall) == pytest.approx((0.8, 0.8, 2 / 3))
    assert found.redundant


@pytest.mark.parametrize(("mix", "redundant"), [(0.0, False), (1.0, True)])
def test_redundant_from_seven_tenths_on_in_either_direction(mix, redundant):
    his, ae = random_scores(mix=mix)
    for sign in (1, -1):
        found = hp.orthogonality(his, sign * ae)
        assert found.redundant is redundant is (abs(found.pearson) > REDUNDANT)


@pytest.mark.parametrize(("mix", "words"), [(1.0, "Redundant"), (0.35, "Partly correlated"), (0.0, "Nearly uncorrelated")])
def test_the_verdict_states_r(mix, words):
    found = hp.orthogonality(*random_scores(mix=mix, shape=(30, 12)))
    assert found.verdict.startswith(words)
    assert f"r = {found.pearson:.2f}" in found.verdict


def test_rows_that_are_constant_have_no_correlation_of_their_own():
    his, ae = random_scores()
    his[2] = 5.0
    found = hp.orthogonality(his, ae)
    assert np.flatnonzero(np.isnan(found.per_row)).tolist() == [2]
    assert np.isfinite(found.pearson)


def test_scores_that_are_all_equal_have_none_at_all():
    found = hp.orthogonality(np.ones((3, 4)), random_scores(shape=(3, 4))[0])
    assert np.isnan([found.pearson, found.spearman, found.kendall, found.p_value, *found.ci, *found.kendall_ci]).all()
    assert not found.redundant
    assert "the correlation is undefined" in found.verdict


def noisy_examples(count, seed=0, mix=0.4, noise=1.0):
    generator = np.random.default_rng(seed)
    his, ae = random_scores(seed, mix=mix)
    return tuple(values + noise * generator.normal(size=(count, *values.shape)) for values in (his, ae))


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["layer", "global"])
def test_the_interval_holds_r_and_narrows_with_more_examples(normalize):
    widths = []
    for count in (10, 1000):
        found = hp.orthogonality(*noisy_examples(count), normalize=normalize)
        low, high = found.ci
        assert -1 <= low < found.pearson < high <= 1
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


@pytest.mark.slow
def test_the_interval_equals_resampling_the_examples():
    his, ae = noisy_examples(25, noise=2.0)
    chosen = np.random.default_rng(7).integers(0, 25, (4000, 25))
    drawn = [np.corrcoef(*(scaled_by_row(v[some].mean(0)).ravel() for v in (his, ae)))[0, 1] for some in chosen]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert hp.orthogonality(his, ae).ci == pytest.approx((low, high), abs=0.05 * (high - low))


@pytest.mark.slow
@pytest.mark.parametrize(("statistic", "name"), [(stats.spearmanr, "spearman_ci"), (stats.kendalltau, "kendall_ci")])
@pytest.mark.parametrize("normalize", ["layer", "global"])
def test_rank_correlations_have_intervals_of_the_same_kind(statistic, name, normalize):
    his, ae = noisy_examples(25, noise=2.0)
    scale = scaled_by_row if normalize == "layer" else np.asarray
    chosen = np.random.default_rng(8).integers(0, 25, (3000, 25))
    drawn = [statistic(*(scale(v[some].mean(0)).ravel() for v in (his, ae))).statistic for some in chosen]
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = hp.orthogonality(his, ae, normalize=normalize)
    assert getattr(found, name) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_means_and_examples_agree():
    his, ae = noisy_examples(8)
    from_examples, from_means = hp.orthogonality(his, ae), hp.orthogonality(his.mean(0), ae.mean(0))
    assert from_examples.pearson == from_means.pearson
    assert np.isnan([*from_means.ci, *from_means.spearman_ci, *from_means.kendall_ci]).all()


@pytest.mark.parametrize("normalize", ["layer", "global"])
def test_p_is_small_for_correlated_signals_and_uniform_for_others(normalize):
    assert hp.orthogonality(*random_scores(mix=1.0), normalize=normalize).p_value == pytest.approx(1 / 2001)
    independent = [hp.orthogonality(*random_scores(seed), normalize=normalize).p_value for seed in range(40)]
    assert np.mean(np.array(independent) < 0.05) <= 0.15
    assert 0.3 < np.mean(independent) < 0.7


def test_p_is_two_sided():
    his, ae = random_scores(mix=0.7)
    assert hp.orthogonality(his, -ae).p_value == hp.orthogonality(his, ae).p_value == pytest.approx(1 / 2001)


def test_over_the_whole_model_heads_are_shuffled_between_rows():
    his, ae = random_scores(shape=(20, 1), mix=0.8)
    assert hp.orthogonality(his, ae, normalize="global").p_value < 0.01


def test_p_ignores_differences_between_rows():
    # rows with one head far above the others beside rows with one far below: over all heads this correlates even when
    # scaled by row, within a row it does not
    generator = np.random.default_rng(0)
    side = np.where(np.arange(8) % 2, 1, -1)[:, None]
    his, ae = side * np.exp(2 * generator.normal(size=(2, 8, 12)))
    found = hp.orthogonality(his, ae)
    assert stats.pearsonr(scaled_by_row(his).ravel(), scaled_by_row(ae).ravel()).pvalue < 1e-6
    assert found.pearson > 0.4
    assert found.p_value > 0.05


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result():
    his, ae = noisy_examples(5)
    first, second = (hp.orthogonality(his, ae, seed=3) for _ in range(2))
    assert (first.ci, first.p_value) == (second.ci, second.p_value)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((4,), (4,)), ((5, 2, 3), (2, 3))])
def test_different_shapes_are_refused(shapes):
    with pytest.raises(hp.HeadPruneError, match=r"his and ae must both have shape \(R, H\) or \(N, R, H\)"):
        hp.orthogonality(*(np.zeros(shape) for shape in shapes))
