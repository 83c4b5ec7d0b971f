"""Pruning, reloading, fine-tuning, model card, report and command line for multi-label and regression models."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.reference import plain_logits
from helpers.tasks import NAMES, task_examples, tiny_task
from helpers.tiny_models import tiny_tokenizer
from scipy import stats
from sklearn.metrics import f1_score
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

import headprune_core as hp
from headprune_core.cli.main import main
from headprune_core.data.encoding import encode
from headprune_core.prune.finetuning import teacher_loss
from headprune_core.prune.pruning_text import describe_pruning, pruning_document
from headprune_core.report.data import by_class
from headprune_core.report.pruning_record import share

TASKS = ("multi_label", "regression", "token_classification")
WORD = {"multi_label": "Accuracy", "regression": "Pearson correlation", "token_classification": "Accuracy"}


def no_nan(text):
    return re.search(r"\bnan\b", text, re.IGNORECASE) is None


def wrapped(task):
    model = tiny_task(task)
    if task == "multi_label":
        model.config.id2label = NAMES["id2label"]
    return hp.PrunableModel(model)


@pytest.fixture(scope="module", params=[(task, labeled) for task in TASKS for labeled in (True, False)], ids=str)
def pruned(request, tmp_path_factory):
    """(task, labeled, model, pruned, reloaded, evaluation examples, verification, scores)."""
    task, labeled = request.param
    model = wrapped(task)
    calibration, evaluation = (task_examples(model.model, task, 40, seed) for seed in (0, 1))
    evaluation = evaluation if labeled else evaluation.remove_columns(evaluation.column_names[-1])
    scores = hp.score_heads(model, calibration)
    smaller = hp.prune_heads(model, hp.prune_mask(scores.his, 0.4))
    folder = tmp_path_factory.mktemp("models") / "pruned"
    smaller.save_pretrained(folder)
    reloaded = hp.PrunableModel.from_pretrained(folder)
    verification = hp.verify_pruning(model, smaller, evaluation, reloaded=reloaded)
    return task, labeled, model, smaller, reloaded, evaluation, verification, scores


@pytest.mark.slow
def test_the_pruned_model_keeps_its_task(pruned):
    task, labeled, _, smaller, reloaded, _, verification, _ = pruned
    assert smaller.task == reloaded.task == task
    assert verification.prediction_match == 1.0
    assert verification.max_logit_difference < 1e-4
    for form in (verification.pruned, verification.reloaded):
        assert form.agreement[0] == pytest.approx(verification.masked.agreement[0], abs=1e-5)
        np.testing.assert_allclose(form.main_value, verification.masked.main_value, atol=1e-5)
        assert list(form.further) == ([*form.task.further] if labeled else [])


def test_head_maps_of_the_first_version_load_with_the_task_of_the_configuration(pruned, tmp_path):
    task, _, _, smaller, *_ = pruned
    if task == "token_classification":
        return  # the first version had no such maps
    smaller.save_pretrained(tmp_path / "old")
    file = tmp_path / "old" / "head_map.json"
    file.write_text(file.read_text().replace(f'"task": "{task}"', '"task": "classification"'))
    assert hp.PrunableModel.from_pretrained(tmp_path / "old").task == task


@pytest.mark.slow
def test_card_and_report_name_the_measure(pruned):
    task, labeled, model, smaller, _, evaluation, verification, scores = pruned
    curves = hp.sparsity_curves(model, evaluation, scores, methods=["his", "random"], sparsities=[0, 0.4], n_random=2)
    control = hp.random_baseline(model, evaluation, smaller.grid.kept, n_random=3)
    record = hp.PruningRecord("some/model", "HIS, 40% sparsity", verification=verification, random_baseline=control)
    card = hp.model_card(smaller, record)
    report = re.sub(
        r"<script.*?</script>|<svg.*?</svg>", "", hp.html_report(model, smaller, record, curves=curves), flags=re.S
    )
    texts = [card, report, *describe_pruning(model, smaller, verification)]
    assert all(no_nan(text) for text in texts)
    measured = share(verification.pruned)
    assert measured.text in card
    assert measured.text in report
    assert ("accuracy" in card.lower()) is (task != "regression" and labeled)
    if labeled:
        assert f"{WORD[task]}: " in card
        assert f"{WORD[task]} before and after pruning" in report
        name = next(iter(verification.pruned.further))
        value = f"{verification.pruned.further[name][0]:.3f}"
        assert value in card
        assert value in report
    if task == "multi_label":
        assert "- Labels (4): joy, anger, fear, trust" in card
        assert "multi-label classification" in card
    if task == "token_classification":
        assert "- Task: token classification" in card
        assert "next token" not in card + report
        if labeled:
            assert "share of labeled tokens predicted correctly" in report
            assert "Per-class recall" in report
    if task == "regression":
        assert "- Task: regression" in card
        assert "Classes" not in card
        assert "Accuracy" not in report
    document = pruning_document(model, smaller, verification)
    json.dumps(document, allow_nan=False)
    assert document["measure"] == verification.unpruned.measure
    assert document["value"]["pruned"] == pytest.approx(measured.value)


def test_recall_of_each_label_is_tested_on_its_examples():
    model = wrapped("multi_label")
    examples = task_examples(model.model, "multi_label", 60)
    masks = np.ones((2, *model.grid.shape), bool)
    masks[1, 1] = False
    before, after = (hp.evaluate_masks(model, examples, mask[None]) for mask in masks)
    labels = np.array(examples["label"]) > 0
    changes = by_class(before, after, model.labels)
    assert [one.name for one in changes] == ["joy", "anger", "fear", "trust"]
    for number, one in enumerate(changes):
        members = labels[:, number]
        assert one.n == members.sum()
        assert one.before == (before.logits[0][members, number] > 0).mean() == before.recall[0, number]
        assert one.after == (after.logits[0][members, number] > 0).mean() == after.recall[0, number]
        assert one.change.difference == pytest.approx(one.after - one.before)


def test_recall_of_each_tag_is_tested_on_its_tokens():
    model = wrapped("token_classification")
    examples = task_examples(model.model, "token_classification", 30)
    masks = np.ones((2, *model.grid.shape), bool)
    masks[1, 1] = False
    before, after = (hp.evaluate_masks(model, examples, mask[None]) for mask in masks)
    labels = np.concatenate(examples["labels"])
    changes = by_class(before, after, model.labels)
    assert [one.name for one in changes] == list(model.labels)
    for number, one in enumerate(changes):
        assert one.n == (labels == number).sum()
        assert (one.before, one.after) == pytest.approx((before.recall[0, number], after.recall[0, number]))
        assert one.change.difference == pytest.approx(one.after - one.before)
        assert one.change.n == len(examples)
    unlabeled = [hp.evaluate_masks(model, examples.remove_columns("labels"), mask[None]) for mask in masks]
    assert by_class(*unlabeled, model.labels) == []


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["labels", "teacher"])
@pytest.mark.parametrize("task", TASKS)
def test_recovery_fine_tuning_lowers_the_loss_of_the_task(task, objective):
    model = wrapped(task)
    training, evaluation = (task_examples(model.model, task, 24, seed) for seed in (0, 1))
    mask = np.ones(model.grid.shape, bool)
    mask[1] = False
    smaller = hp.prune_heads(model, mask)
    run = {"steps": 12, "batch_size": 24, "learning_rate": 1e-3, "teacher": model, "evaluation": evaluation}
    tuned, result = hp.recover(smaller, training, objective=objective, **run)
    assert result.loss[-1] < result.loss[0]
    assert result.before.measure == ("pearson" if task == "regression" else "accuracy")
    if task == "token_classification":
        return
    every = np.ones((1, *model.grid.shape), bool)
    teacher, student = (hp.evaluate_masks(one, evaluation, every).logits[0] for one in (model, tuned))
    if task == "regression":
        labels = np.array(evaluation["label"])
        assert result.after.main_value[0] == pytest.approx(stats.pearsonr(student[:, 0], labels).statistic, abs=1e-6)
        assert result.after.agreement[0] == pytest.approx(stats.pearsonr(student[:, 0], teacher[:, 0]).statistic, abs=1e-6)
    else:
        assert result.after.agreement[0] == ((student > 0) == (teacher > 0)).all(-1).mean()
        expected = f1_score(np.array(evaluation["label"]), student > 0, average="micro")
        assert result.after.further["micro_f1"][0] == pytest.approx(expected)


def test_the_distillation_loss_of_each_task():
    for task in TASKS:
        model = wrapped(task)
        examples = task_examples(model.model, task, 5)
        batch = encode(model, examples).batch(np.arange(5), model.device)
        target = model.logits(batch.inputs).detach()
        logits = target + torch.linspace(-1, 1, target.numel()).view_as(target)
        found = teacher_loss(model, 1.0)(logits, batch)
        if task == "regression":
            expected = mse_loss(logits, target, reduction="none").mean(-1)
        elif task == "token_classification":
            p, q = target.softmax(-1), logits.softmax(-1)
            divergence = (p * (p / q).log()).sum(-1)
            expected = torch.stack([row[real].mean() for row, real in zip(divergence, batch.real, strict=True)])
        else:  # KL = cross-entropy minus entropy of independent labels
            p = target.sigmoid()
            expected = (
                binary_cross_entropy_with_logits(logits, p, reduction="none")
                - binary_cross_entropy_with_logits(target, p, reduction="none")
            ).mean(-1)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_logits_of_all_forms_are_compared_with_predictions_in_words(task):
    model = wrapped(task)
    examples = task_examples(model.model, task, 3)
    mask = np.ones(model.grid.shape, bool)
    mask[0, 0] = False
    found = hp.compare_logits(model, hp.prune_heads(model, mask), examples)
    if task == "token_classification":
        every = [logits.argmax(-1) for logits in plain_logits(model.model, examples)]
        labels = [np.array(row) for row in examples["labels"]]
        tags = [[model.labels[i] for i in row[label != -100]] for row, label in zip(every, labels, strict=True)]
        assert found.predicted[0] == tuple(" ".join(row) for row in tags)
        assert found.max_logit_difference < 1e-4
        return
    logits = hp.evaluate_masks(model, examples, np.ones((1, *mask.shape), bool)).logits[0]
    np.testing.assert_allclose(found.logits[0], logits, rtol=1e-5, atol=1e-5)
    if task == "regression":
        assert found.classes[0] == ("output",)
        assert found.predicted[0] == tuple(f"{value:.4g}" for value in logits[:, 0])
    else:
        sets = [", ".join(name for name, v in zip(model.labels, row, strict=True) if v > 0) for row in logits]
        assert found.predicted[0] == tuple(text or "no label" for text in sets)


@pytest.mark.slow
def test_the_command_line_has_no_nan(tmp_path, capsys):
    folder = tmp_path / "model"
    hp.PrunableModel(tiny_task("regression"), tiny_tokenizer(model_max_length=60)).save_pretrained(folder)
    file = tmp_path / "ratings.csv"
    generator = np.random.default_rng(0)
    rows = [f"{' '.join(f'w{i}' for i in generator.integers(4, 90, 5))},{generator.normal():.3f}" for _ in range(60)]
    file.write_text("\n".join(["text,label", *rows]))
    common = ["--model", str(folder), "--dataset", str(file), "--calibration-size", "12", "--evaluation-size", "40"]

    def run(command, *options):
        assert main([command, *common, *options]) == 0
        return capsys.readouterr().out

    assert "unpruned Pearson correlation 0." in run("score", "--evaluate").replace("-0.", "0.")
    document = json.loads(run("score", "--evaluate", "--json"), parse_constant=pytest.fail)
    assert document["evaluation"]["accuracy"] is None
    assert document["evaluation"]["measure"] == "pearson"
    other = tmp_path / "texts.csv"
    other.write_text("\n".join(["text", *(row.partition(",")[0] for row in rows)]))
    assert main(["score", "--model", str(folder), "--dataset", str(other), "--calibration-size", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["objective"] == "logit_norm"
    for command, options in (
        ("alpha", ["--measure"]),
        ("curves", ["--methods", "his", "random", "--sparsities", "0", "0.5", "--n-random", "2"]),
        ("greedy", ["--steps", "2"]),
        ("prune", ["--n-random", "2", "--out-folder", str(tmp_path / "pruned"), "--report", str(tmp_path / "report.html")]),
    ):
        text = run(command, *options)
        assert no_nan(text), text
        assert "accuracy" not in text.lower(), text
        json.loads(run(command, *options, "--json"), parse_constant=pytest.fail)
