"""Resampled scores against the scores of the resampled examples, one resample at a time."""

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.scores.bootstrap import (
    RANKED,
    available,
    resample_indices,
    resample_weights,
    resampled_means,
    resampled_scores,
    select_examples,
)


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    shapes = {"his": (7, 2, 5), "ae": (7, 2, 5), "gnorm": (7, 3, 2, 5)}
    return hp.HeadScores(None, {metric: generator.random(shape) for metric, shape in shapes.items()})


@pytest.mark.parametrize("metric", RANKED)
def test_resampled_scores_are_those_of_their_examples(scores, metric):
    indices = resample_indices(7, 20, seed=3)
    resampled = resampled_scores(scores, metric, resample_weights(indices, 7), alpha=0.3)
    for values, index in zip(resampled, indices, strict=True):
        expected = hp.HeadScores(None, {name: np.stack([v[i] for i in index]) for name, v in scores.per_example.items()})
        np.testing.assert_allclose(values, expected.hies(0.3) if metric == "hies" else getattr(expected, metric))
        np.testing.assert_array_equal(select_examples(scores, index).his, expected.his)


def test_resampled_means_use_the_same_resamples(scores):
    his = scores.per_example["his"]
    np.testing.assert_allclose(
        resampled_means(his, 9, seed=2), [his[some].mean(0) for some in resample_indices(7, 9, seed=2)]
    )


def test_every_example_is_equally_likely():
    counts = np.bincount(resample_indices(10, 2000).ravel(), minlength=10)
    assert counts.sum() == 20_000
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_available_rankings(scores):
    assert available(scores) == list(RANKED)
    assert available(hp.HeadScores(None, {"his": scores.per_example["his"]})) == ["his"]


def test_invalid_arguments_are_refused(scores):
    with pytest.raises(hp.HeadPruneError, match="unknown score 'size'; choose one of his, ae, hies, gnorm"):
        resampled_scores(scores, "size", np.ones((1, 7)) / 7)
    with pytest.raises(hp.HeadPruneError, match="'ae' was not computed; these scores contain his"):
        resampled_scores(hp.HeadScores(None, {"his": scores.per_example["his"]}), "hies", np.ones((1, 7)) / 7)
    with pytest.raises(hp.HeadPruneError, match="resamples must be at least 1, got 0"):
        resample_indices(5, 0)
