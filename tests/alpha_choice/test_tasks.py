"""The choice of alpha for multi-label and regression models: the measure of the task, its intervals and its tests."""

import numpy as np
import pytest
from helpers.tasks import task_examples, tiny_task

import headprune_core as hp
from headprune_core.alpha_choice.alpha_text import describe_recommendation
from headprune_core.figures.alpha import alpha_steps, describe_alpha_steps, describe_surface, surface_heatmap


def measured(task, labeled=True):
    model = hp.PrunableModel(tiny_task(task))
    calibration, evaluation = (task_examples(model.model, task, 40, seed) for seed in (0, 1))
    evaluation = evaluation if labeled else evaluation.remove_columns("label")
    scores = hp.score_heads(model, calibration)
    path = hp.alpha_path(scores.his, scores.ae, 0.5)
    return model, evaluation, scores, path, hp.alpha_accuracy(model, evaluation, path, n_random=3)


@pytest.fixture(scope="module", params=[True, False], ids=["labeled", "unlabeled"])
def regression(request):
    return request.param, *measured("regression", request.param)


@pytest.mark.slow
def test_masks_along_alpha_have_correlations(regression):
    labeled, model, evaluation, _, _, found = regression
    assert found.choices == (("pearson", "correlation") if labeled else ("correlation",))
    result = hp.evaluate_masks(model, evaluation, found.masks)
    for name in found.choices:
        expected = result.measured(name)
        np.testing.assert_allclose(found.measured(name).value, expected.value[found.which])
        np.testing.assert_allclose(found.measured(name).low, expected.low[found.which])
        assert name in found.frame
    random = hp.random_masks(model.grid.shape, 0.5, n_random=3)
    np.testing.assert_allclose(found.random(), hp.evaluate_masks(model, evaluation, random).main_value)


def test_a_recommendation_by_correlation_is_cross_validated(regression):
    labeled, model, evaluation, _, _, found = regression
    for by in found.choices:
        chosen = hp.recommend_alpha(found, by=by)
        value = found.measured(by).value
        assert chosen.value == value.max()
        assert chosen.his == value[-1]
        assert chosen.value_low <= chosen.value <= chosen.value_high
        held = chosen.cross_validated
        assert held.folds == 10
        assert held.value <= chosen.value + 1e-9
        assert held.low <= held.value <= held.high
        # The paired difference is that of the two outputs on the same examples.
        masks = np.stack([found.masks[chosen.mask], found.masks[found.which[-1]]])
        pair = hp.evaluate_masks(model, evaluation, masks).value(by)
        assert chosen.against_his.difference == pytest.approx(pair[0] - pair[1])
        texts = [*describe_recommendation(chosen), describe_alpha_steps(found, chosen)]
        assert not any(
            "nan" in text or "pp" in text or "%" in text.replace("95%", "").replace("5%", "") for text in texts[:3]
        )
        assert "accuracy" not in " ".join(texts).lower()
        alpha_steps(found, chosen).to_json()
    with pytest.raises(hp.HeadPruneError, match="by must be 'pearson' or 'correlation'"):
        hp.recommend_alpha(found, by="accuracy")
    if not labeled:
        with pytest.raises(hp.HeadPruneError, match="use by='correlation'"):
            hp.recommend_alpha(found, by="pearson")


def test_a_recommendation_that_no_test_supports_is_not_given(regression):
    _, _, _, _, _, found = regression
    chosen = hp.recommend_alpha(found)
    assert chosen.significantly_better is bool(chosen.cross_validated.against_his.low > 0 and not chosen.is_his)
    assert chosen.cochran is None
    assert chosen.advised_alpha == (chosen.alpha if chosen.significantly_better else 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("labeled", [True, False])
def test_label_sets_are_chosen_by_exact_matches(labeled):
    model, evaluation, _, path, found = measured("multi_label", labeled)
    assert found.choices == (("accuracy", "agreement") if labeled else ("agreement",))
    chosen = hp.recommend_alpha(found)
    assert chosen.cochran is not None
    result = hp.evaluate_masks(model, evaluation, found.masks)
    np.testing.assert_array_equal(found.measured().value, result.main_value[found.which])
    search = hp.successive_halving(model, evaluation, path, last=1, first=8)
    assert search.by == found.measure
    assert search.value == result.main_value[search.mask]


def test_the_quick_search_is_refused_for_a_correlation(regression):
    _, model, evaluation, _, path, _ = regression
    with pytest.raises(hp.HeadPruneError, match="not available for regression"):
        hp.successive_halving(model, evaluation, path)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_alpha_and_sparsity_together(task):
    model, evaluation, scores, *_ = measured(task)
    surface = hp.alpha_surface(model, evaluation, scores, [0.3, 0.6])
    name = {"multi_label": "accuracy", "regression": "pearson"}[task]
    assert surface.measure == name
    best = surface.best.iloc[0]
    assert best.value == surface.frame[surface.frame.sparsity == 0.3][name].max()
    text = describe_surface(surface)
    assert ("pp" in text) is (task == "multi_label")
    surface_heatmap(surface).to_json()
