"""Measures of token classifiers, against scikit-learn and nervaluate, through every kind of measurement."""

import numpy as np
import pytest
from helpers.reference import plain_logits
from helpers.tasks import TAGS, task_examples, tiny_task
from nervaluate import Evaluator
from sklearn.metrics import accuracy_score, recall_score

import headprune_core as hp
from headprune_core.data import entities
from headprune_core.figures.curve_details import class_names
from headprune_core.measure.curve_verdicts import describe_verdict
from headprune_core.measure.curves import main_measure

TASK = "token_classification"


def examples_of(model, count=30, seed=0, labeled=True):
    examples = task_examples(model.model, TASK, count, seed)
    return examples if labeled else examples.remove_columns("labels")


def some_masks(shape):
    masks = np.random.default_rng(3).random((4, *shape)) < 0.6
    masks[0] = True
    return masks


@pytest.fixture(scope="module")
def case():
    """(model, labeled examples, masks, evaluation, predictions and labels of the labeled tokens by example)."""
    model = hp.PrunableModel(tiny_task(TASK))
    examples, masks = examples_of(model), some_masks(model.grid.shape)
    unpruned = [logits.argmax(-1) for logits in plain_logits(model.model, examples)]
    labels = [np.array(row) for row in examples["labels"]]
    pairs = [(guess[row != -100], row[row != -100]) for guess, row in zip(unpruned, labels, strict=True)]
    return model, examples, masks, hp.evaluate_masks(model, examples, masks), pairs


def test_labeled_tokens_are_measured_like_scikit_learn(case):
    _, _, _, found, pairs = case
    predicted, labels = (np.concatenate(part) for part in zip(*pairs, strict=True))
    assert found.measure == "accuracy"
    assert found.trials == len(labels)
    assert found.accuracy[0] == pytest.approx(accuracy_score(labels, predicted))
    np.testing.assert_allclose(found.right[0], [accuracy_score(label, guess) for guess, label in pairs])
    assert found.agreement[0] == pytest.approx(1.0)
    assert found.logits is None
    recall = recall_score(labels, predicted, labels=range(len(TAGS)), average=None)
    np.testing.assert_allclose(found.recall[0], recall)
    assert found.class_counts.sum(0).tolist() == np.bincount(labels, minlength=len(TAGS)).tolist()


def test_recall_of_a_class_without_tokens_is_undefined(case):
    model, examples, masks, *_ = case
    labels = [[tag if tag != 2 else -100 for tag in row] for row in examples["labels"]]
    found = hp.evaluate_masks(model, examples.remove_columns("labels").add_column("labels", labels), masks)
    assert np.isnan(found.recall).all(0).tolist() == [False, False, True, False, False]
    assert np.isnan(hp.evaluate_masks(model, examples.remove_columns("labels"), masks).recall).all()


def test_entities_are_counted_like_nervaluate(case):
    _, _, _, found, pairs = case
    guesses, labels = ([[TAGS[i] for i in row] for row in part] for part in zip(*pairs, strict=True))
    expected = Evaluator(labels, guesses, tags=["PER", "LOC"], loader="list").evaluate()["overall"]["strict"]
    assert 0 < found.further["entity_f1"][0] == pytest.approx(expected.f1)


def test_without_the_package_entities_are_not_counted(case, monkeypatch):
    model, examples, masks, expected, _ = case
    assert entities.entity_note(model) is None
    monkeypatch.setattr(entities, "_collector", lambda: None)
    found = hp.evaluate_masks(model, examples, masks)
    assert found.further == {}
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)
    assert "pip install nervaluate" in entities.entity_note(model)


def test_other_tags_have_no_entities():
    model = tiny_task(TASK)
    model.config.id2label = dict(enumerate(("NOUN", "VERB", "ADJ", "DET", "ADV")))
    wrapped = hp.PrunableModel(model)
    assert entities.entity_tags(wrapped) is entities.entity_note(wrapped) is None
    assert hp.evaluate_masks(wrapped, examples_of(wrapped), np.ones((1, 3, 4), bool)).further == {}


@pytest.mark.slow
def test_batches_and_the_cache_do_not_change_results(case, tmp_path):
    model, examples, masks, expected, _ = case
    cache = hp.ResultCache(tmp_path / "results.db")
    for _ in range(2):
        found = hp.evaluate_masks(model, examples, masks, batch_size=3, cache=cache)
        np.testing.assert_array_equal(found.accuracy, expected.accuracy)
        np.testing.assert_array_equal(found.further["entity_f1"], expected.further["entity_f1"])
        np.testing.assert_array_equal(found.class_hits, expected.class_hits)
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
        np.testing.assert_allclose(found.correlation, expected.correlation, rtol=1e-5)
    unlabeled = hp.evaluate_masks(model, examples_of(model, labeled=False), masks, cache=cache)
    assert np.isnan(unlabeled.accuracy).all()


@pytest.mark.slow
def test_examples_without_tags_are_compared_with_the_unpruned_model(case):
    model, examples, masks, *_ = case
    found = hp.evaluate_masks(model, examples.remove_columns("labels"), masks)
    assert found.measure == "agreement"
    assert found.trials == sum(map(len, examples["input_ids"]))
    assert np.isnan(found.loss).all()
    assert found.further == {}
    assert found.agreement[0] == 1.0
    ablation = hp.leave_one_out(model, examples.remove_columns("labels"))
    assert ablation.objective == "prediction"
    own = [logits.argmax(-1).tolist() for logits in plain_logits(model.model, examples)]
    labeled = examples.remove_columns("labels").add_column("labels", own)
    expected = hp.leave_one_out(model, labeled)
    np.testing.assert_allclose(ablation.per_example, expected.per_example, atol=1e-5)
    np.testing.assert_allclose(ablation.accuracy_drop, expected.accuracy_drop, atol=1e-12)


def test_the_own_prediction_and_the_norm_need_no_tags(case):
    model, examples, *_ = case
    unlabeled = examples.remove_columns("labels")
    own = [logits.argmax(-1).tolist() for logits in plain_logits(model.model, examples)]
    labeled = unlabeled.add_column("labels", own)
    found = hp.score_heads(model, unlabeled, metrics=["his"], objective="prediction")
    np.testing.assert_allclose(found.his, hp.score_heads(model, labeled, metrics=["his"]).his, rtol=1e-5)
    with pytest.raises(hp.HeadPruneError, match="use objective 'prediction'"):
        hp.score_heads(model, unlabeled, metrics=["his"])


@pytest.mark.slow
@pytest.mark.parametrize("labeled", [True, False])
def test_every_measurement_runs_with_and_without_tags(labeled):
    model = hp.PrunableModel(tiny_task(TASK))
    calibration, evaluation = examples_of(model, 16, 0, labeled), examples_of(model, 24, 1, labeled)
    scores = hp.score_heads(model, calibration, objective="loss" if labeled else "prediction")
    name = "accuracy" if labeled else "agreement"
    frame = hp.sparsity_curves(model, evaluation, scores, methods=["his", "random"], sparsities=[0, 0.5], n_random=2)
    assert main_measure(frame) == name
    assert "perplexity" not in frame
    assert ("entity_f1" in frame) is labeled
    assert class_names(frame) == (list(model.labels) if labeled else [])
    assert (frame[frame.method == "his"].change_test == "permutation test").all()
    assert "nan" not in " ".join(describe_verdict(frame).values())
    run = hp.greedy_gnorm(model, calibration, evaluation=evaluation, steps=2)
    masks = np.stack([run.mask(step) for step in range(3)])
    np.testing.assert_allclose(run.measure, hp.evaluate_masks(model, evaluation, masks).main_value)
    path = hp.alpha_path(scores.his, scores.ae, 0.5)
    found = hp.alpha_accuracy(model, evaluation, path, n_random=2)
    chosen = hp.recommend_alpha(found)
    assert chosen.by == name
    assert chosen.value == found.measured().value.max()
    search = hp.successive_halving(model, evaluation, path, last=1, first=8)
    assert search.by == name
    assert hp.random_baseline(model, evaluation, masks[2], n_random=2).measure == name
