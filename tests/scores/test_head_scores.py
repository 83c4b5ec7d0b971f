"""score_heads: options, results, and invalid input that is refused."""

import numpy as np
import pytest
import torch
from helpers.reference import reference_scores
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, examples_for, random_examples, tiny

import headprune_core as hp

METRICS = ("his", "ae", "gnorm")


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def scores(model):
    return hp.score_heads(model, random_examples())


def without_labels():
    return random_examples().remove_columns("label")


@pytest.mark.parametrize("metrics", [("his",), ("ae",), ("gnorm",), ("his", "gnorm"), ("ae", "his"), ("gnorm", "ae")])
def test_metrics_computed_separately_equal_those_computed_together(model, scores, metrics):
    some = hp.score_heads(model, random_examples(), metrics=metrics)
    assert set(some.per_example) == set(metrics)
    for metric in metrics:
        np.testing.assert_allclose(getattr(some, metric), getattr(scores, metric), rtol=1e-5)


def test_shapes_and_precision(scores):
    shapes = {"his": (9, 3, 4), "ae": (9, 3, 4), "gnorm": (9, 3, 3, 4)}
    assert {metric: values.shape for metric, values in scores.per_example.items()} == shapes
    for values in (*scores.per_example.values(), scores.his, scores.ae, scores.gnorm, scores.hies(0.5)):
        assert values.dtype == np.float64
    assert scores.his.shape == scores.ae.shape == scores.gnorm.shape == scores.hies(0.5).shape == (3, 4)


def test_shared_rows_have_scores_of_their_own():
    scores = hp.score_heads(hp.PrunableModel(tiny("albert")), random_examples())
    assert scores.gnorm.shape == scores.his.shape == scores.ae.shape == (1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_examples_keep_their_order(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    scores = hp.score_heads(model, examples)
    turned = hp.score_heads(model, examples.select(range(8, -1, -1)), batch_size=4)
    for metric in METRICS:
        values = scores.per_example[metric]
        np.testing.assert_allclose(turned.per_example[metric][::-1], values, rtol=1e-4, atol=2e-6 * values.max())


def test_settings_hold_the_options(scores):
    assert scores.settings == {
        "examples": 9,
        "objective": "loss",
        "gnorm_objective": "logit_norm",
        "his_reduction": "example",
        "entropy": "exact",
        "special_tokens": True,
        "dtype": "float32",
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
@pytest.mark.parametrize("objective", ["prediction", "logit_norm"])
def test_objectives_that_need_no_labels(family, objective):
    model, examples = tiny(family), examples_for(family, count=5)
    bare = examples.remove_columns("label")
    found = hp.score_heads(hp.PrunableModel(model), bare, metrics=("his",), objective=objective).his
    expected = reference_scores(model, family, examples, objective=objective)[0].mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * expected.max())


def test_entropy_and_gnorm_need_no_labels(model, scores):
    found = hp.score_heads(model, without_labels(), metrics=("ae", "gnorm"))
    np.testing.assert_allclose(found.gnorm, scores.gnorm, rtol=1e-5)


@pytest.mark.parametrize("options", [{"metrics": ("his",)}, {"metrics": ("gnorm",), "gnorm_objective": "loss"}])
def test_the_loss_needs_labels(model, options):
    with pytest.raises(hp.HeadPruneError, match="the examples have no labels; add a label column, or use objective"):
        hp.score_heads(model, without_labels(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ("his", "hiss")}, r"metrics must be some of his, ae, gnorm, got \['his', 'hiss'\]"),
        ({"metrics": ()}, "metrics must be some of his, ae, gnorm, got"),
        ({"objective": "accuracy"}, "objective must be one of loss, prediction, logit_norm, got 'accuracy'"),
        ({"gnorm_objective": "norm"}, "objective must be .* got 'norm'"),
        ({"his_reduction": "sum"}, "his_reduction must be one of example, token, batch, got 'sum'"),
        ({"entropy": "D"}, "entropy must be .* got 'D'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_invalid_options_are_refused(model, options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.score_heads(model, random_examples(), **options)


def test_non_finite_scores_are_reported_by_row_and_head():
    broken = tiny("bert")
    with torch.no_grad():
        broken.bert.encoder.layer[1].attention.self.query.weight[2 * 8] = torch.nan
    with pytest.raises(hp.HeadPruneError, match=r"ae is not finite for \d entries, .* row 1 \(.*layer\.1.*\), head 2"):
        hp.score_heads(hp.PrunableModel(broken), random_examples(), metrics=("ae",))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_detects_non_finite_weights(metric):
    broken = tiny("bert")
    with torch.no_grad():
        broken.classifier.weight[0, 0] = torch.inf
        broken.bert.embeddings.word_embeddings.weight[5:] *= torch.inf if metric == "ae" else 1
    part = "bert.embeddings.word_embeddings.weight" if metric == "ae" else "classifier.weight"
    with pytest.raises(
        hp.HeadPruneError, match=f"{metric} is not finite .*; the weights {part} contain NaN or infinite values"
    ):
        hp.score_heads(hp.PrunableModel(broken), random_examples(), metrics=(metric,))


def test_a_metric_that_was_not_computed_is_refused(model):
    scores = hp.score_heads(model, random_examples(), metrics=("ae",))
    for ask in (lambda: scores.his, lambda: scores.hies(0.5), lambda: scores.bootstrap("gnorm")):
        with pytest.raises(hp.HeadPruneError, match="was not computed; these scores contain ae"):
            ask()


def test_the_frame_has_a_row_for_every_head(scores):
    frame = scores.to_frame()
    assert list(frame.columns) == ["row", "head", *METRICS]
    for line in frame.itertuples():
        assert line.his == scores.his[line.row, line.head]
        assert line.gnorm == scores.gnorm[line.row, line.head]
    assert len(frame) == 12


@pytest.mark.parametrize("metric", METRICS)
def test_bootstrap_equals_resampling_the_examples(scores, metric):
    low, high = scores.bootstrap(metric, resamples=4000)
    values, generator = scores.per_example[metric], np.random.default_rng(5)
    drawn = np.stack([values[generator.integers(0, 9, 9)].mean(0) for _ in range(4000)])
    drawn = drawn.prod(1) if metric == "gnorm" else drawn
    for found, tail in ((low, 0.025), (high, 0.975)):
        np.testing.assert_allclose(found, np.quantile(drawn, tail, axis=0), rtol=0.1)
    assert (low < getattr(scores, metric)).all()
    assert (getattr(scores, metric) < high).all()


def test_bootstrap_of_higher_confidence_is_wider(scores):
    (low, high), (lower, higher) = (scores.bootstrap("his", confidence=c) for c in (0.5, 0.99))
    assert (lower < low).all()
    assert (higher > high).all()


def test_progress_counts_examples(model):
    reports = []
    hp.score_heads(model, random_examples(), batch_size=4, progress=lambda *report: reports.append(report))
    done = [report[0] for report in reports]
    assert done == sorted(set(done))
    assert (done[0], done[-1]) == (0, 9)
    assert max(np.diff(done)) <= 4
    assert {report[1:] for report in reports} == {(9, "Scoring heads")}


def test_cancelling_stops_between_batches(model):
    seen = []

    def stop_at_second(done, total, note):
        seen.append(done)
        if done:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled, match="enough"):
        hp.score_heads(model, random_examples(), batch_size=2, progress=stop_at_second)
    assert seen == [0, 2]
    hp.score_heads(model, random_examples(), metrics=("ae",))


@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_scoring_leaves_the_model_as_it_was(family):
    model = hp.PrunableModel(tiny(family))
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    hp.score_heads(model, examples_for(family, count=3))
    assert all(torch.equal(value, before[name]) for name, value in model.model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.model.parameters())


def test_low_precision_is_close(model, scores):
    low = hp.score_heads(hp.PrunableModel(tiny("bert").bfloat16()), random_examples())
    for metric in METRICS:
        correlation = np.corrcoef(getattr(low, metric).ravel(), getattr(scores, metric).ravel())[0, 1]
        assert correlation > 0.98
