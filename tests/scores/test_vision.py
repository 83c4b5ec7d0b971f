"""A vision model trained on real digits: its scores are exact, and its important heads are the ones that it needs."""

import numpy as np
import pytest
from helpers.reference import reference_scores
from helpers.vision import digits, train

import headprune_core as hp


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(train())


@pytest.fixture(scope="module")
def texts():
    training, held_out = digits()
    return training.select(range(96)), held_out


@pytest.fixture(scope="module")
def scores(model, texts):
    return hp.score_heads(model, texts[0])


def accuracy(model, examples, masks):
    return hp.evaluate_masks(model, examples, np.array(masks)).accuracy


@pytest.mark.slow
def test_the_model_recognizes_held_out_digits(model, texts):
    assert accuracy(model, texts[1], [np.ones(model.grid.shape, bool)])[0] > 0.85


@pytest.mark.slow
def test_scores_equal_the_plain_reference(model, texts, scores):
    few = texts[0].select(range(12))
    his, ae, gnorm = reference_scores(model.model, "vit", few)
    found = hp.score_heads(model, few)
    np.testing.assert_allclose(found.his, his.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.ae, ae.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.gnorm, gnorm.mean(0).prod(0), rtol=1e-4)


def test_pruning_the_least_important_heads_costs_less_than_the_most_important(model, texts, scores):
    least, most = hp.prune_mask(scores.his, 0.25), hp.prune_mask(-scores.his, 0.25)
    whole, without_least, without_most = accuracy(model, texts[1], [np.ones_like(least), least, most])
    assert whole - without_least < 0.5 * (whole - without_most)
    assert without_most < whole - 0.05
