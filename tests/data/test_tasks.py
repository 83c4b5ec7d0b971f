"""Losses of every task: scores against the plain reference with the loss of the Transformers model."""

import numpy as np
import pytest
from helpers.tasks import MODELS, reference, task_examples, tiny_task

import headprune_core as hp


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def case(request):
    """(wrapped model, examples, plain reference)."""
    task, family = request.param
    model = tiny_task(task, family)
    examples = task_examples(model, task)
    expected = reference(model, family, examples)
    wrapped = hp.PrunableModel(model)
    assert wrapped.task == task
    return wrapped, examples, expected


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
def test_scores_equal_those_of_the_models_own_loss(case, batch_size):
    model, examples, (his, gnorm, _, norm) = case
    found = hp.score_heads(model, examples, gnorm_objective="loss", batch_size=batch_size)
    np.testing.assert_allclose(found.per_example["his"], his, rtol=1e-4, atol=1e-4 * his.max())
    np.testing.assert_allclose(found.per_example["gnorm"], gnorm, rtol=1e-4, atol=1e-4 * gnorm.max())
    found = hp.score_heads(model, examples, metrics=["gnorm"], batch_size=batch_size)
    np.testing.assert_allclose(found.per_example["gnorm"], norm, rtol=1e-4, atol=1e-4 * norm.max())


def test_losses_equal_those_that_the_model_computes(case):
    model, examples, (_, _, losses, _) = case
    found = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool))
    np.testing.assert_allclose(found.losses[0], losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.loss[0], losses.mean(), rtol=1e-5)


def test_the_own_prediction_of_a_regression_model_is_refused_as_a_target():
    model = tiny_task("regression")
    examples = task_examples(model, "regression")
    with pytest.raises(hp.HeadPruneError, match="always 0 for regression"):
        hp.score_heads(hp.PrunableModel(model), examples, objective="prediction")
    with pytest.raises(hp.HeadPruneError, match="use objective 'logit_norm'"):
        hp.score_heads(hp.PrunableModel(model), examples.remove_columns("label"))


def test_the_own_label_set_of_a_multi_label_model_is_a_target():
    model = tiny_task("multi_label")
    examples = task_examples(model, "multi_label")
    wrapped = hp.PrunableModel(model)
    logits = hp.evaluate_masks(wrapped, examples, np.ones((1, *wrapped.grid.shape), bool)).logits[0]
    own = examples.remove_columns("label").add_column("label", (logits > 0).astype(int).tolist())
    found = hp.score_heads(wrapped, examples.remove_columns("label"), metrics=["his"], objective="prediction")
    np.testing.assert_allclose(found.his, hp.score_heads(wrapped, own, metrics=["his"]).his, rtol=1e-6)
