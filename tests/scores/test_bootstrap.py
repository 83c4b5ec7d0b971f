"""Draws of stored scores against the scores of the drawn examples, taken one draw at a time."""

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.scores.bootstrap import (
    RANKED,
    available,
    chosen,
    resample_indices,
    resampled_means,
    resampled_scores,
    shares,
)


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    shapes = {"his": (7, 2, 5), "ae": (7, 2, 5), "gnorm": (7, 3, 2, 5)}
    return hp.HeadScores(None, {metric: generator.random(shape) for metric, shape in shapes.items()})


@pytest.mark.parametrize("metric", RANKED)
def test_a_draws_scores_are_those_of_its_examples(scores, metric):
    index = resample_indices(7, 20, seed=3)
    found = resampled_scores(scores, metric, shares(index, 7), alpha=0.3)
    for there, some in zip(found, index, strict=True):
        those = hp.HeadScores(None, {name: np.stack([v[i] for i in some]) for name, v in scores.per_example.items()})
        np.testing.assert_allclose(there, those.hies(0.3) if metric == "hies" else getattr(those, metric))
        np.testing.assert_array_equal(chosen(scores, some).his, those.his)


def test_drawn_means_are_of_the_same_draws(scores):
    his = scores.per_example["his"]
    np.testing.assert_allclose(
        resampled_means(his, 9, seed=2), [his[some].mean(0) for some in resample_indices(7, 9, seed=2)]
    )


def test_draws_give_every_example_the_same_chance():
    counts = np.bincount(resample_indices(10, 2000).ravel(), minlength=10)
    assert counts.sum() == 20_000
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_what_can_be_ranked_by(scores):
    assert available(scores) == list(RANKED)
    assert available(hp.HeadScores(None, {"his": scores.per_example["his"]})) == ["his"]


def test_what_cannot_be_is_refused(scores):
    with pytest.raises(hp.HeadPruneError, match="there is no score 'size'; expected one of his, ae, hies, gnorm"):
        resampled_scores(scores, "size", np.ones((1, 7)) / 7)
    with pytest.raises(hp.HeadPruneError, match="'ae' was not computed; these scores hold his"):
        resampled_scores(hp.HeadScores(None, {"his": scores.per_example["his"]}), "hies", np.ones((1, 7)) / 7)
    with pytest.raises(hp.HeadPruneError, match="0 resamples were asked for; expected at least 1"):
        resample_indices(5, 0)
