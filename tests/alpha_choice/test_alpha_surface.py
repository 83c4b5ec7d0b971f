"""Accuracy over alpha and sparsity: against each path evaluated separately, and against a grid."""

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp

SPARSITIES = [0.5, 0.25]


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def examples():
    return random_examples(count=16, seed=1, longest=6)


@pytest.fixture(scope="module")
def scores(model):
    return hp.score_heads(model, random_examples(), metrics=("his", "ae"))


@pytest.fixture(scope="module")
def surface(model, examples, scores):
    return hp.alpha_surface(model, examples, scores, SPARSITIES)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_each_sparsity_equals_its_path_evaluated_separately(surface, model, examples, scores, sparsity):
    alone = hp.alpha_accuracy(model, examples, hp.alpha_path(scores.his, scores.ae, sparsity), n_random=0)
    part = surface.frame[surface.frame.sparsity == sparsity].reset_index(drop=True)
    expected = alone.frame.drop(columns=["differs_from_his", "differs_from_ae"])
    pd.testing.assert_frame_equal(part[expected.columns], expected)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_best_alpha_is_that_of_a_grid_and_of_recommend(surface, model, examples, scores, sparsity):
    line = surface.best.set_index("sparsity").loc[sparsity]
    masks = [hp.prune_mask(scores.hies(alpha), sparsity) for alpha in [line.alpha, *np.linspace(0.0005, 0.9995, 400)]]
    accuracy = hp.evaluate_masks(model, examples, masks).accuracy
    assert line.value == accuracy[0] == accuracy.max()
    assert (line.ae, line.his) == (accuracy[1], accuracy[-1])
    assert line.spread == pytest.approx(np.ptp(accuracy))
    chosen = hp.recommend_alpha(
        hp.alpha_accuracy(model, examples, hp.alpha_path(scores.his, scores.ae, sparsity), n_random=0)
    )
    assert (line.low, line.high, line.alpha, line.masks) == (chosen.low, chosen.high, chosen.alpha, chosen.masks)


def test_equal_masks_share_one_evaluation(model, examples, scores, runs):
    frame = hp.alpha_surface(model, examples, scores, [0.5, 0.5 + 1e-9], batch_size=16).frame
    both = len(runs)
    hp.alpha_surface(model, examples, scores, [0.5], batch_size=16)
    assert both == len(runs) - both
    assert frame.sparsity.nunique() == 2


def test_options_reach_the_path(model, examples, scores):
    options = {"normalize": "global", "entropy_direction": "high", "min_heads_per_layer": 2}
    frame = hp.alpha_surface(model, examples, scores, [0.5], **options).frame
    path = hp.alpha_path(scores.his, scores.ae, 0.5, **options)
    assert frame.low.tolist() == [part.low for part in path]


def test_without_labels_agreement_is_the_measure(model, examples, scores, surface):
    bare = hp.alpha_surface(model, examples.remove_columns("label"), scores, [0.5])
    assert (bare.measure, surface.measure) == ("agreement", "accuracy")
    assert bare.best.value.item() == bare.frame.agreement.max()


def test_cancelling_keeps_the_surface_on_the_evaluated_examples(model, examples, scores, surface):
    parts = []

    def stop(done, total, note):
        if parts:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as stopped:
        hp.alpha_surface(model, examples, scores, SPARSITIES, batch_size=4, progress=stop, on_partial=parts.append)
    assert stopped.value.partial is parts[0]
    assert len(parts[0].frame) == len(surface.frame)


def test_empty_sparsities_raise(model, examples, scores):
    with pytest.raises(hp.HeadPruneError, match="sparsities must have at least one value"):
        hp.alpha_surface(model, examples, scores, [])
