"""HIS, AE and Gnorm of every family against the plain reference, at several batch sizes."""

import numpy as np
import pytest
from helpers.reference import reference_scores
from helpers.tiny_models import FAMILIES, examples_for, tiny

import headprune_core as hp


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    model, examples = tiny(request.param), examples_for(request.param)
    return hp.PrunableModel(model), examples, reference_scores(model, request.param, examples)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_equal_the_plain_reference(case, batch_size):
    model, examples, (his, ae, gnorm) = case
    scores = hp.score_heads(model, examples, batch_size=batch_size)
    # absolute floor: float32 rounding of the largest value, for heads whose own value is next to nothing
    np.testing.assert_allclose(scores.per_example["his"], his, rtol=1e-4, atol=2e-6 * his.max())
    np.testing.assert_allclose(scores.per_example["ae"], ae, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.per_example["gnorm"], gnorm, rtol=1e-4, atol=1e-6 * gnorm.max())
    np.testing.assert_allclose(scores.his, his.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scores.ae, ae.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scores.gnorm, gnorm.mean(0).prod(0), rtol=1e-4)


def test_scores_of_the_real_model_on_real_text_equal_the_plain_reference(embedded_model, calibration):
    few = calibration.select(range(6))
    tokens = embedded_model.tokenizer(list(few["text"]))["input_ids"]
    ready = [{"input_ids": ids, "label": label} for ids, label in zip(tokens, few["label"], strict=True)]
    his, ae, gnorm = reference_scores(embedded_model.model, "bert", ready)
    scores = hp.score_heads(embedded_model, few)
    np.testing.assert_allclose(scores.his, his.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scores.ae, ae.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.gnorm, gnorm.mean(0).prod(0), rtol=1e-4)
