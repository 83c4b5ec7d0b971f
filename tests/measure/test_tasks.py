"""Measures of multi-label and regression models, against scikit-learn and SciPy, through every kind of measurement."""

import warnings

import numpy as np
import pytest
from helpers.tasks import task_examples, tiny_task
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, recall_score

import headprune_core as hp
from headprune_core.data.measures import correlations, format_difference, format_value, resampling_weights, spearman, wilson
from headprune_core.figures.alpha import describe_surface, surface_heatmap
from headprune_core.figures.curves import describe_curves
from headprune_core.measure.curve_metrics import summary
from headprune_core.measure.curve_verdicts import describe_verdict
from headprune_core.measure.curves import main_measure
from headprune_core.measure.failure_signatures import failure_signatures
from headprune_core.measure.paired_tests import compare, paired

TASKS = ("multi_label", "regression")
MEASURE = {"multi_label": "accuracy", "regression": "pearson"}
UNLABELED = {"multi_label": "agreement", "regression": "correlation"}


def some_masks(shape, count=5):
    masks = np.random.default_rng(3).random((count, *shape)) < 0.6
    masks[0] = True
    masks[-1] = False
    return masks


def evaluated(task, family="bert", count=60, **options):
    model = hp.PrunableModel(tiny_task(task, family))
    examples = task_examples(model.model, task, count)
    masks = some_masks(model.grid.shape)
    return model, examples, masks, hp.evaluate_masks(model, examples, masks, **options)


@pytest.fixture(scope="module")
def multi_label():
    return evaluated("multi_label")


@pytest.fixture(scope="module", params=["bert", "roberta"])
def regression(request):
    return evaluated("regression", request.param)


def test_label_sets_are_measured_like_scikit_learn(multi_label):
    _, examples, masks, found = multi_label
    labels = np.array(examples["label"])
    predicted = (found.logits > 0).astype(int)
    assert found.measure == "accuracy"
    assert found.reason is None
    for m in range(len(masks)):
        assert found.accuracy[m] == accuracy_score(labels, predicted[m])
        assert found.further["micro_f1"][m] == pytest.approx(f1_score(labels, predicted[m], average="micro"))
        np.testing.assert_allclose(found.recall[m], recall_score(labels, predicted[m], average=None))
        assert found.agreement[m] == accuracy_score(predicted[0], predicted[m])
    np.testing.assert_array_equal(found.right, (predicted == labels).all(-1))
    assert found.trials == 60
    measured = found.measured()
    np.testing.assert_array_equal((measured.low, measured.high), wilson(60 * found.accuracy, 60))


def test_outputs_are_measured_like_scipy(regression):
    _, examples, _, found = regression
    labels = np.array(examples["label"]).reshape(60, -1)
    assert found.measure == "pearson"
    assert found.right is found.recall is None
    assert np.isnan(found.accuracy).all()
    assert found.reason == "the task is regression"
    outputs = range(labels.shape[1])
    for m in range(4):
        of_labels = [stats.pearsonr(found.logits[m, :, c], labels[:, c]).statistic for c in outputs]
        of_ranks = [stats.spearmanr(found.logits[m, :, c], labels[:, c]).statistic for c in outputs]
        of_unpruned = [stats.pearsonr(found.logits[m, :, c], found.logits[0, :, c]).statistic for c in outputs]
        assert found.main_value[m] == pytest.approx(np.mean(of_labels), abs=1e-12)
        assert found.further["spearman"][m] == pytest.approx(np.mean(of_ranks), abs=1e-12)
        assert found.agreement[m] == found.correlation[m] == pytest.approx(np.mean(of_unpruned), abs=1e-12)
    assert found.agreement[0] == pytest.approx(1.0)
    np.testing.assert_allclose(found.losses, np.square(found.logits - labels).mean(-1))


def test_constant_outputs_say_nothing():
    """Without heads, BERT's first token knows nothing of the text; rounding errors are no correlation."""
    model = hp.PrunableModel(tiny_task("regression"))
    examples = task_examples(model.model, "regression", 60)
    ids = [[2, *ids] for ids in examples["input_ids"]]
    examples = examples.remove_columns("input_ids").add_column("input_ids", ids)
    found = hp.evaluate_masks(model, examples, some_masks(model.grid.shape), batch_size=7)
    assert np.ptp(found.logits[-1]) < 1e-5
    assert found.main_value[-1] == found.correlation[-1] == found.further["spearman"][-1] == 0.0


def test_rounding_errors_of_any_size_are_no_correlation():
    generator = np.random.default_rng(0)
    unpruned = generator.standard_normal((50, 1))
    noise = 3.0 + 1e-6 * unpruned[None]
    assert correlations(noise, unpruned, unpruned) == spearman(noise, unpruned, unpruned) == 0.0
    assert correlations(3.0 + 1e-2 * unpruned[None], unpruned, unpruned) == pytest.approx(1.0)


def test_the_bootstrap_interval_is_that_of_resampled_examples(regression):
    _, examples, _, found = regression
    labels = np.array(examples["label"]).reshape(60, -1)
    measured = found.measured()
    counts = np.rint(60 * resampling_weights(60)).astype(int)
    resampled = []
    for count in counts:
        index = np.repeat(np.arange(60), count)
        pairs = [(found.logits[1, index, c], labels[index, c]) for c in range(labels.shape[1])]
        resampled.append(np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs]))
    np.testing.assert_allclose((measured.low[1], measured.high[1]), np.quantile(resampled, [0.025, 0.975]), atol=1e-10)


def test_the_bootstrap_interval_agrees_with_scipy():
    _, examples, _, found = evaluated("regression")
    labels = np.array(examples["label"])

    def pearson(x, y, axis=-1):
        x, y = x - x.mean(axis, keepdims=True), y - y.mean(axis, keepdims=True)
        return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))

    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 4000, "rng": 0}
    expected = stats.bootstrap((found.logits[1, :, 0], labels), pearson, **options).confidence_interval
    measured = found.measured()
    np.testing.assert_allclose((measured.low[1], measured.high[1]), expected, atol=0.03)


@pytest.mark.parametrize("task", TASKS)
def test_examples_without_labels_are_compared_with_the_unpruned_model(task):
    model, examples, masks, labeled = evaluated(task)
    found = hp.evaluate_masks(model, examples.remove_columns("label"), masks)
    assert found.measure == UNLABELED[task]
    assert np.isnan(found.loss).all()
    assert found.further == {}
    np.testing.assert_array_equal(found.agreement, labeled.agreement)
    measured = found.measured()
    assert np.isfinite([measured.value, measured.low, measured.high]).all()
    assert (measured.low <= measured.value + 1e-12).all()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_batches_and_the_cache_do_not_change_results(task, tmp_path):
    model, examples, masks, expected = evaluated(task)
    cache = hp.ResultCache(tmp_path / "results.db")
    for _ in range(2):
        found = hp.evaluate_masks(model, examples, masks, batch_size=3, cache=cache)
        np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.main_value, expected.main_value, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_curves_hold_the_measure_of_the_task(task, labeled):
    model = hp.PrunableModel(tiny_task(task))
    calibration, evaluation = (task_examples(model.model, task, 24, seed) for seed in (0, 1))
    scores = hp.score_heads(model, calibration)
    evaluation = evaluation if labeled else evaluation.remove_columns("label")
    curves = hp.measure_curves(
        model, evaluation, scores, methods=["his", "hies", "random"], sparsities=[0, 0.3, 0.6], n_random=3
    )
    frame, name = curves.frame, MEASURE[task] if labeled else UNLABELED[task]
    assert main_measure(frame) == name
    assert np.isfinite(frame[name]).all()
    assert ("perplexity" in frame) is False
    masks = np.stack([hp.prune_mask(scores.his, sparsity) for sparsity in (0, 0.3, 0.6)])
    found = hp.evaluate_masks(model, evaluation, masks)
    np.testing.assert_allclose(frame[frame.method == "his"][name], found.main_value)
    if name == "pearson":
        assert (frame.pearson_low <= frame.pearson).all()
        assert (frame.pearson <= frame.pearson_high).all()
        assert frame.accuracy.isna().all()
    tested = paired(frame, curves.outcomes, 0.3)
    at = {method: np.flatnonzero((frame.method == method) & (frame.sparsity == 0.3))[0] for method in ("his", "hies")}
    his, hies = (curves.outcomes[at[method]] for method in ("his", "hies"))
    assert tested.difference.tolist() == [compare(hies, his).difference]
    assert tested.b.isna().all() == (task == "regression")
    change = compare(found.outcomes(2), hp.evaluate_masks(model, evaluation, np.ones_like(masks[:1])).outcomes())
    last = frame[(frame.method == "his") & (frame.sparsity == 0.6)].iloc[0]
    assert (last.change, last.change_low, last.change_high, last.change_p) == pytest.approx(
        (change.difference, change.low, change.high, change.p_value)
    )
    assert last.gain == pytest.approx(last[name] - frame[(frame.method == "random") & (frame.sparsity == 0.6)][name].mean())
    assert f"n = {len(evaluation)}" in describe_verdict(frame)["his"]
    summary(frame)
    text = " ".join([*describe_verdict(frame).values(), *(s.sentence for s in failure_signatures(frame))])
    assert "nan" not in text
    assert ("accuracy" in text) is (name == "accuracy")
    assert ("pp" in text) is (task == "multi_label")


@pytest.mark.slow
@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_greedy_leave_one_out_and_random_masks_use_the_measure_of_the_task(task, labeled):
    model = hp.PrunableModel(tiny_task(task))
    calibration, evaluation = (task_examples(model.model, task, 24, seed) for seed in (0, 1))
    evaluation = evaluation if labeled else evaluation.remove_columns("label")
    name = MEASURE[task] if labeled else UNLABELED[task]
    run = hp.greedy_gnorm(model, calibration, evaluation=evaluation, steps=3)
    masks = np.stack([run.mask(step) for step in range(4)])
    found = hp.evaluate_masks(model, evaluation, masks)
    assert run.measure_name == name
    np.testing.assert_allclose(run.measure, found.main_value)
    np.testing.assert_allclose(run.measure_low, found.measured().low)
    assert name in run.to_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.inflection is None or 0 < run.inflection < 4
    ablation = hp.leave_one_out(model, evaluation)
    assert ablation.measure == name
    one = np.ones((1, *model.grid.shape), bool)
    one[0, 1, 2] = False
    alone = hp.evaluate_masks(model, evaluation, np.concatenate([np.ones_like(one), one]))
    assert ablation.accuracy_drop[1, 2] == pytest.approx(alone.main_value[0] - alone.main_value[1])
    if labeled:
        np.testing.assert_allclose(ablation.per_example[:, 1, 2], alone.losses[1] - alone.losses[0])
    elif task == "regression":
        np.testing.assert_allclose(ablation.per_example[:, 1, 2], np.square(alone.logits[1] - alone.logits[0])[:, 0])
    control = hp.random_baseline(model, evaluation, masks[3], n_random=4)
    assert control.measure == name
    assert control.value == pytest.approx(run.measure[3])
    assert ("%" in control.summary.partition(" for ")[0]) is (task == "multi_label")
    assert "nan" not in control.summary


@pytest.mark.parametrize("task", TASKS)
def test_the_largest_sparsity_within_a_budget(task):
    model = hp.PrunableModel(tiny_task(task))
    calibration, evaluation = (task_examples(model.model, task, 24, seed) for seed in (0, 1))
    ranking = hp.score_heads(model, calibration).his
    found = hp.max_sparsity(model, evaluation, ranking, 5.0)
    assert found.measure == MEASURE[task]
    values = hp.evaluate_masks(model, evaluation, np.stack([np.ones_like(found.mask), found.mask])).main_value
    assert found.unpruned == pytest.approx(values[0])
    assert found.accuracy == pytest.approx(values[1])
    assert values[0] - values[1] <= 0.05 + 1e-9


@pytest.mark.slow
def test_labels_do_not_share_a_cached_greedy_run(tmp_path):
    """The printed form of many labels is abbreviated; they are hashed by content."""
    model = hp.PrunableModel(tiny_task("multi_label"))
    first = task_examples(model.model, "multi_label", 300)
    labels = np.array(first["label"])
    labels[100:200] = 1 - labels[100:200]  # in the part that a printed tensor leaves out
    other = first.remove_columns("label").add_column("label", labels.tolist())
    cache, options = hp.ResultCache(tmp_path / "results.db"), {"steps": 1, "objective": "loss", "batch_size": 300}
    runs = [hp.greedy_gnorm(model, part, cache=cache, **options) for part in (first, other)]
    expected = hp.greedy_gnorm(model, other, **options)
    np.testing.assert_array_equal(runs[1].scores[0], expected.scores[0])
    assert (runs[0].scores[0] != expected.scores[0]).any()


@pytest.mark.slow
def test_equal_labels_leave_the_correlation_undefined_and_nothing_says_nan():
    model = hp.PrunableModel(tiny_task("regression"))
    calibration, evaluation = (task_examples(model.model, "regression", 12, seed) for seed in (0, 1))
    evaluation = evaluation.remove_columns("label").add_column("label", [2.0] * 12)
    scores = hp.score_heads(model, calibration)
    frame = hp.sparsity_curves(model, evaluation, scores, methods=["his", "random"], sparsities=[0, 0.5], n_random=2)
    assert main_measure(frame) == "correlation"
    texts = [*describe_verdict(frame).values(), describe_curves(frame)]
    control = hp.random_baseline(model, evaluation, np.ones(model.grid.shape, bool), n_random=2)
    assert "undefined" in control.summary
    surface = hp.alpha_surface(model, evaluation, scores, [0.5])
    texts += [control.summary, describe_surface(surface)]
    assert not any("nan" in text for text in texts)
    surface_heatmap(surface).to_json()
    found = hp.alpha_accuracy(model, evaluation, hp.alpha_path(scores.his, scores.ae, 0.5), n_random=1)
    with pytest.raises(hp.HeadPruneError, match="Pearson correlation is undefined"):
        hp.recommend_alpha(found)
    assert hp.recommend_alpha(found, by="correlation").value <= 1.0
    with pytest.raises(hp.HeadPruneError, match="these 12 examples have equal labels or outputs"):
        hp.max_sparsity(model, evaluation, scores.his, 5.0)
    assert hp.greedy_gnorm(model, calibration, evaluation=evaluation, steps=2).inflection is None


def test_undefined_values_are_words():
    outputs, labels = np.random.default_rng(0).standard_normal((2, 5, 1)), np.ones((5, 1))
    assert np.isnan(correlations(outputs, labels, outputs[0])).all()
    assert format_value("pearson", np.nan) == format_difference("accuracy", np.nan) == "undefined"
    assert (format_value("accuracy", 0.857), format_value("pearson", 0.8571)) == ("85.7%", "0.857")
    assert (format_difference("accuracy", -0.014), format_difference("pearson", 0.0141)) == ("-1.4 pp", "+0.014")
