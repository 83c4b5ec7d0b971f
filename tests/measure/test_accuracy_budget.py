"""Accuracy budget: against evaluating every mask; early end; cancelling and resuming."""

import numpy as np
import pytest
from helpers.assert_equal import same
from helpers.tiny_models import random_examples, tiny
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.measure.paired_tests import compare

CONSTRAINTS = {
    "free": {},
    "protect": {"protect": np.arange(12).reshape(3, 4) % 5 == 0},
    "quota": {"min_heads_per_layer": 2},
    "groups": {"groups": [[0, 0, 1, 1]] * 3},
    "uniform": {"uniform": True},
    "parameters": {"parameters": np.arange(1, 13).reshape(3, 4)},
}


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def examples(model):
    """Random texts of which the model, whose weights are random too, classifies three in four correctly."""
    plain = random_examples(count=40, seed=1)
    answers = hp.evaluate_masks(model, plain, np.ones((1, 3, 4), bool)).logits[0].argmax(-1)
    answers[::4] = (answers[::4] + 1) % 3
    return plain.remove_columns("label").add_column("label", answers.tolist())


RANKING = np.random.default_rng(1).random((3, 4))


def every_mask(model, examples, constraints, **options):
    """(masks, right answers of each, or decisions that the unpruned model makes too) of every sparsity that can be."""
    masks = [np.ones((3, 4), bool)]
    for k in range(157):
        try:
            masks.append(hp.prune_mask(RANKING, k / 156, **constraints))
        except hp.HeadPruneError:
            break
    found = hp.evaluate_masks(model, examples, masks, **options)
    return masks, found.right.sum(1).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_maximum_sparsity_equals_that_of_evaluating_every_mask(model, examples, constraints, tmp_path):
    cache = hp.ResultCache(tmp_path)
    masks, right = every_mask(model, examples, constraints, cache=cache)
    reached = []
    for answers in range(0, 24, 3):  # that may be lost, of 40
        found = hp.max_sparsity(model, examples, RANKING, 2.5 * answers, cache=cache, **constraints)
        pair = hp.evaluate_masks(model, examples, [found.mask, np.ones_like(found.mask)], cache=cache)
        assert found.change == compare(pair.outcomes(0), pair.outcomes(1))
        limited_by_accuracy = np.flatnonzero(right < right[0] - answers)
        last = limited_by_accuracy[0] - 1 if len(limited_by_accuracy) else len(masks) - 1
        np.testing.assert_array_equal(found.mask, masks[last])
        np.testing.assert_array_equal(hp.prune_mask(RANKING, found.sparsity, **constraints), found.mask)
        assert (found.measure, found.unpruned) == ("accuracy", 0.75)
        assert (found.heads_removed, found.accuracy) == ((~masks[last]).sum(), pytest.approx(right[last] / 40))
        interval = binomtest(int(right[last]), 40).proportion_ci(method="wilson")
        assert (found.accuracy_low, found.accuracy_high) == pytest.approx((interval.low, interval.high))
        reached.append(found.heads_removed)
    assert reached[0] < reached[-1]


def test_without_labels_it_is_agreement(model, examples):
    bare = examples.remove_columns("label")
    masks, equal = every_mask(model, bare, {})
    found = hp.max_sparsity(model, bare, RANKING, 10)
    last = np.flatnonzero(equal < 36)[0] - 1
    assert (found.measure, found.unpruned, found.accuracy) == ("agreement", 1.0, pytest.approx(equal[last] / 40))
    np.testing.assert_array_equal(found.mask, masks[last])


def test_no_mask_is_evaluated_after_the_group_that_loses_too_much(model, examples, runs):
    found = hp.max_sparsity(model, examples, RANKING, 0)
    assert found.limited_by_accuracy
    assert len(found.measured) == 8
    assert len(runs) == 8 * len(list(encode(model, examples).batches(32, model.device)))


def test_all_heads_are_pruned_if_any_loss_is_allowed(model, examples):
    found = hp.max_sparsity(model, examples, RANKING, 100)
    assert (found.heads_removed, found.sparsity, found.limited_by_accuracy) == (12, 1.0, False)
    assert found.measured.heads_removed.tolist() == list(range(13))


@pytest.mark.slow
def test_cancelling_keeps_partial_results_and_the_cache_resumes(model, examples, tmp_path, runs):
    cache, reports = hp.ResultCache(tmp_path), []

    def stop(done, total, note):
        reports.append((done, total))
        if done > 9 * 40:
            raise hp.Cancelled("enough")

    options = {"points": 100, "cache": cache, "batch_size": 8}
    with pytest.raises(hp.Cancelled) as stopped:
        hp.max_sparsity(model, examples, RANKING, progress=stop, **options)
    partial = stopped.value.partial
    assert partial.heads_removed == 7
    assert len(partial.measured) == 8
    assert reports == sorted(reports)
    before = len(runs)
    resumed = hp.max_sparsity(model, examples, RANKING, **options)
    again = len(runs) - before
    whole = hp.max_sparsity(model, examples, RANKING, points=100, batch_size=8)
    assert again < len(runs) - before - again
    assert same(resumed, whole)


def test_progress_ends_with_all_done(model, examples):
    reports = []
    hp.max_sparsity(model, examples, RANKING, 0, progress=lambda *report: reports.append(report))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 13 * 40)
    assert {report[1:] for report in reports} == {(13 * 40, "Measuring accuracy")}


def test_always_pruned_heads_that_lose_too_much_raise(model, examples):
    with pytest.raises(
        hp.HeadPruneError, match=r"the 11 heads that are always pruned lose \d+\.\d\d pp, more than the 0 pp allowed"
    ):
        hp.max_sparsity(model, examples, RANKING, 0, remove=np.arange(12).reshape(3, 4) > 0)


@pytest.mark.parametrize(
    ("ranking", "points", "words"),
    [
        (RANKING, -1, "points must be between 0 and 100, got -1"),
        (RANKING, float("nan"), "points must be between 0 and 100, got nan"),
        (np.zeros((4, 3)), 1, r"ranking must have shape \(3, 4\), one number for each head, got \(4, 3\)"),
        (np.full((3, 4), np.nan), 1, "12 non-finite values"),
    ],
)
def test_invalid_arguments_raise(model, examples, ranking, points, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.max_sparsity(model, examples, ranking, points)


@pytest.mark.slow
def test_the_embedded_model_can_lose_heads_for_a_point(embedded_model, embedded_scores):
    """By importance it goes further than by its reverse, on texts that the scores have not seen."""
    held_out = hp.load_examples("embedded", split="evaluation", size=48)
    found = hp.max_sparsity(embedded_model, held_out, embedded_scores.his, 1.5)
    reverse = hp.max_sparsity(embedded_model, held_out, -embedded_scores.his, 1.5)
    assert found.heads_removed > reverse.heads_removed
    assert found.unpruned - found.accuracy <= 0.015
