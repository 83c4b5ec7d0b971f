"""Accuracy over the alpha path: against every alpha of a fine grid, evaluated separately."""

import numpy as np
import pytest
from helpers.tiny_models import examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.data.measures import wilson

MEASURES = ("accuracy", "loss", "agreement")


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def examples():
    return random_examples(count=20, seed=1)


@pytest.fixture(scope="module")
def scores(model):
    return hp.score_heads(model, random_examples(), metrics=("his", "ae"))


@pytest.fixture(scope="module")
def path(scores):
    return hp.alpha_path(scores.his, scores.ae, 0.5)


@pytest.fixture(scope="module")
def found(model, examples, path):
    return hp.alpha_accuracy(model, examples, path, n_random=4)


@pytest.mark.slow
def test_every_alpha_of_a_grid_has_the_values_of_its_interval(found, model, examples, scores):
    grid = np.linspace(0.003, 0.997, 143)
    masks = [hp.prune_mask(scores.hies(alpha), 0.5) for alpha in grid]
    alone = hp.evaluate_masks(model, examples, masks)
    assert len(found.path) > 3
    lines = found.frame
    for number, alpha in enumerate(grid):
        line = lines[(lines.low < alpha) & (alpha < lines.high)]
        assert len(line) == 1
        for measure in MEASURES:
            assert line[measure].item() == pytest.approx(getattr(alone, measure)[number])
        np.testing.assert_array_equal(found.right[line.index[0]], alone.right[number])


def test_the_ends_are_ae_only_and_his_only(found, model, examples, scores):
    ends = hp.evaluate_masks(model, examples, [hp.prune_mask(-scores.ae, 0.5), hp.prune_mask(scores.his, 0.5)])
    by_global = hp.alpha_path(scores.his, scores.ae, 0.5, normalize="global")
    measured = hp.alpha_accuracy(model, examples, by_global, n_random=0)
    assert measured.loss[[0, -1]] == pytest.approx(ends.loss)
    assert np.isnan(measured.random_mean)
    assert found.frame.differs_from_ae[0] == found.frame.differs_from_his.iloc[-1] == 0


def test_heads_that_differ_are_counted_one_by_one(found):
    for line, part in zip(found.frame.itertuples(), found.path, strict=True):
        assert line.heads_pruned == 6
        for other, count in ((found.path[-1], line.differs_from_his), (found.path[0], line.differs_from_ae)):
            assert count == sum(a != b for a, b in zip(part.mask.ravel(), other.mask.ravel(), strict=True))


def test_intervals_are_wilsons(found):
    for number, accuracy in enumerate(found.accuracy):
        low, high = wilson(round(20 * accuracy), 20)
        assert (found.accuracy_low[number], found.accuracy_high[number]) == pytest.approx((float(low), float(high)))
    assert found.right.dtype == bool
    assert found.right.mean(1) == pytest.approx(found.accuracy)
    assert found.agrees.mean(1) == pytest.approx(found.agreement)


def test_random_masks_are_those_of_the_curves(found, model, examples, scores):
    curves = hp.sparsity_curves(model, examples, scores, methods=["random"], sparsities=[0.0, 0.5], n_random=4)
    half = curves[curves.sparsity == 0.5]
    np.testing.assert_allclose(found.random_accuracy, half.accuracy)
    np.testing.assert_allclose(found.random_agreement, half.agreement)
    assert found.random_mean == pytest.approx(half.accuracy.mean())
    assert found.unpruned == pytest.approx(curves.accuracy[curves.sparsity == 0].iloc[0])


def test_random_masks_can_be_passed_and_satisfy_constraints(model, examples, path):
    few = hp.random_masks((3, 4), 0.5, n_random=3, min_heads_per_layer=2)
    assert (few.sum(2) == 2).all()
    measured = hp.alpha_accuracy(model, examples, path, random=few)
    np.testing.assert_allclose(measured.random_accuracy, hp.evaluate_masks(model, examples, few).accuracy)
    assert hp.random_masks((3, 4), 0.5, n_random=0).shape == (0, 3, 4)


def back_and_forth(path):
    """The first mask comes back at the end."""
    a, b = path[0].mask, path[-1].mask
    return [hp.AlphaInterval(0.0, 0.25, a), hp.AlphaInterval(0.25, 0.6, b), hp.AlphaInterval(0.6, 1.0, a)]


def test_recurring_masks_are_evaluated_once(model, examples, path, runs):
    twice = back_and_forth(path)
    found = hp.alpha_accuracy(model, examples, twice, n_random=0, batch_size=len(examples))
    counted = len(runs)
    hp.evaluate_masks(model, examples, [twice[0].mask, twice[1].mask], batch_size=len(examples))
    assert counted == len(runs) - counted
    assert found.which.tolist() == [0, 1, 0]
    assert found.widths == pytest.approx([0.65, 0.35])
    assert found.first.tolist() == [0, 1]
    assert found.loss[0] == found.loss[2] != found.loss[1]


def test_distinct_masks_are_in_the_order_of_their_first_interval(path):
    masks, which = hp.distinct_masks(path)
    assert [part.mask.tolist() for part in path] == masks[which].tolist()
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    assert list(dict.fromkeys(which.tolist())) == list(range(len(masks)))


def test_without_labels_agreement_is_the_measure(model, examples, path, found):
    bare = hp.alpha_accuracy(model, examples.remove_columns("label"), path, n_random=4)
    assert (bare.measure, found.measure) == ("agreement", "accuracy")
    assert np.isnan(bare.accuracy).all()
    assert np.isnan(bare.unpruned)
    np.testing.assert_array_equal(bare.right, bare.agrees)
    np.testing.assert_array_equal(bare.agrees, found.agrees)
    assert bare.random_mean == pytest.approx(found.random_agreement.mean())


def test_token_prediction_gives_shares(scores):
    model, examples = hp.PrunableModel(tiny("gpt2")), examples_for("gpt2", count=6)
    found = hp.alpha_accuracy(model, examples, hp.alpha_path(scores.his, scores.ae, 0.25), n_random=2)
    assert found.right.dtype == float
    assert found.agrees is None
    assert not found.answers.any()
    assert found.trials > 6


def test_cancelling_keeps_the_path_on_the_evaluated_examples(model, examples, path):
    parts = []

    def stop(done, total, note):
        if len(parts) == 2:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as stopped:
        hp.alpha_accuracy(model, examples, path, n_random=1, batch_size=4, progress=stop, on_partial=parts.append)
    partial = stopped.value.partial
    assert partial is parts[-1]
    assert len(partial.frame) == len(path)
    assert 0 < partial.right.shape[1] == partial.trials < 20


def test_cancelling_at_the_start_keeps_nothing(model, examples, path):
    def stop(done, total, note):
        raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as stopped:
        hp.alpha_accuracy(model, examples, path, progress=stop)
    assert stopped.value.partial is None


def test_invalid_paths_raise(model, examples, path):
    with pytest.raises(hp.HeadPruneError, match="path must have at least one interval"):
        hp.alpha_accuracy(model, examples, [])
    with pytest.raises(hp.HeadPruneError, match=r"masks must be Boolean .*, got bool with shape \(\d+, 2, 4\)"):
        hp.alpha_accuracy(model, examples, [hp.AlphaInterval(0.0, 1.0, np.ones((2, 4), bool))])
    with pytest.raises(hp.HeadPruneError, match=r"random must be Boolean .* \(S, 3, 4\), got float64 with shape \(2, 4\)"):
        hp.alpha_accuracy(model, examples, path, random=np.ones((2, 4)))
