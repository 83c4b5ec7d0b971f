"""Every page with a multi-label model, a regression model and a token classifier: right measures, and no NaN."""

import re

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.apptest import finished, opened, said
from helpers.tasks import NAMES, task_examples, tiny_task
from helpers.tiny_models import EVERYTHING, tiny_tokenizer

import headprune_core as hp
from headprune_core.report.pruning_record import share
from pages.parts.common.labels import PAGES
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, ScoreOptions, Workspace, load

TASKS = ("multi_label", "regression", "token_classification")
CASES = [(task, labeled) for task in TASKS for labeled in (True, False) if labeled or EVERYTHING]
MEASURE = {"multi_label": "Accuracy", "regression": "Pearson correlation", "token_classification": "Accuracy"}

pytestmark = pytest.mark.slow


def folder_of(task, tmp_path_factory):
    model = tiny_task(task)
    if task == "multi_label":
        model.config.id2label = NAMES["id2label"]
    folder = tmp_path_factory.mktemp("models") / task
    hp.PrunableModel(model, tiny_tokenizer(model_max_length=60)).save_pretrained(folder)
    return folder


def text_examples(model, task, count, seed):
    """Texts of the words w5 to w89 with labels of the task; lists of words for token classification."""
    generator = np.random.default_rng(seed)
    words = [[f"w{i}" for i in generator.integers(5, 90, n)] for n in generator.integers(3, 9, count)]
    columns = {"text": [" ".join(row) for row in words]}
    if task == "token_classification":
        columns |= {"tokens": words, "ner_tags": [generator.choice(model.labels, len(row)).tolist() for row in words]}
    else:
        columns["label"] = task_examples(model.model, task, count, seed)["label"]
    return datasets.Dataset.from_dict(columns)


def workspace(task, folder, labeled=True):
    model = hp.PrunableModel.from_pretrained(folder)
    parts = [text_examples(model, task, count, seed) for count, seed in ((16, 0), (24, 1))]
    if not labeled:
        parts = [part.select_columns("text") for part in parts]
    options = ScoreOptions(objective="loss" if labeled else "logit_norm")
    scores = hp.score_heads(model, parts[0], **options.run)
    return Workspace(Request(str(folder), text="mine", options=options), model, "1", *parts, (4, 9), scores, ())


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request, tmp_path_factory):
    """(task, labeled, app, workspace); the app has the workspace loaded."""
    task, labeled = request.param
    work = workspace(task, folder_of(task, tmp_path_factory), labeled)
    app = opened()
    app.session_state["work"] = work
    return task, labeled, app.run(), work


def visit(app, view):
    app.switch_page(f"pages/views/{view}.py").run()
    assert not app.exception
    return app


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    return finished(app)


def text(app):
    """Everything that the page says, without the navigation."""
    parts = [
        element.value
        for kind in ("title", "header", "markdown", "caption", "info", "warning")
        for element in app.main.get(kind)
    ]
    parts += [f"{metric.label} {metric.value} {metric.delta} {metric.help or ''}" for metric in app.main.metric]
    parts += [element.label for kind in ("slider", "selectbox", "button") for element in app.main.get(kind)]
    tables = [element.value.to_string() for element in app.main.dataframe]
    return " ".join(map(str, parts)), " ".join(tables)


def check(case):
    """No page says NaN, and none of a regression model speaks of accuracy but in names of pages."""
    task, _labeled, app, _ = case
    said, _ = text(app)
    assert not app.exception
    assert re.search(r"\b[Nn]a[Nn]\b|\bNone\b|undefined", said) is None, said
    if task == "regression":
        for page in PAGES.values():
            said = said.replace(page.title, "").replace(page.question, "")
        found = re.search(r".{60}accuracy.{40}", said, re.IGNORECASE)
        assert found is None, found
    return said


def name_of(task, labeled):
    if labeled:
        return MEASURE[task]
    return "Correlation with the unpruned model" if task == "regression" else "Agreement"


@pytest.mark.parametrize("view", PAGES)
def test_every_page_opens(case, view):
    visit(case[2], view)
    check(case)


def test_one_text_and_the_effect_of_a_head(case, monkeypatch):
    task, labeled, app, work = case
    app.session_state["set_heads"] = ((1, 2),)
    visit(app, "one_text")
    finished(app)
    check(case)
    found = hp.predict_text(work.model, app.session_state["set_text"])
    shown = text(app)[0] + " ".join(metric.value for metric in app.metric)
    if task == "token_classification":
        assert found.positions == tuple(app.dataframe[0].value["Token"])
        assert found.decisions[0] == tuple(app.dataframe[0].value["All heads"])
    else:
        assert found.decisions[0][0] in shown
    visit(app, "inspector")
    press(app, "Measure effect")
    check(case)
    masked = hp.masking_effect(work.model, work.evaluation, [(1, 2)])
    for line in masked.describe():
        assert line in said(app.main.markdown)
    dials = [chart for chart in app.get("plotly_chart") if "Loss by gate" in chart.proto.alt]
    assert len(dials) == (labeled or task != "regression")
    app.session_state["set_heads"] = ()


def test_the_labels_of_the_model_are_shown(case):
    task, labeled, app, work = case
    visit(app, "model_and_data")
    table = app.main.dataframe[0].value
    if labeled and task == "multi_label":
        row = work.calibration["label"][0]
        names = [name for name, y in zip(("joy", "anger", "fear", "trust"), row, strict=True) if y]
        assert table["label"][0] == (", ".join(names) or "no label")
    if labeled and task == "regression":
        assert float(table["label"][0]) == pytest.approx(work.calibration["label"][0], rel=1e-4)


def test_curves(case):
    task, labeled, app, _work = case
    visit(app, "accuracy")
    press(app, "Evaluate curves")
    said = check(case)
    name = name_of(task, labeled).split(" with")[0]
    frame = app.session_state["curves"].curves.frame
    assert {"Accuracy": "accuracy", "Agreement": "agreement"}.get(name, name.partition(" ")[0].lower()) in frame
    assert name.lower() in said.lower()
    if not labeled:
        assert "The dataset has no labels" in said
    exact = task == "multi_label"
    test = "exact McNemar test uses only those" if exact else "permutation test swaps the two criteria within examples"
    assert f" examples; the {test}" in said
    assert ("b" in app.main.dataframe[-1].value) is exact
    for measure in app.main.segmented_control(key="measure").options:
        app.segmented_control(key="measure").set_value(measure.lower().replace(" ", "_")).run()
        check(case)


def test_alpha_choice(case):
    task, _labeled, app, _work = case
    visit(app, "alpha_choice")
    press(app, "Evaluate all masks")
    said = check(case)
    found = app.session_state["alpha_result"].found
    chosen = hp.recommend_alpha(found)
    assert chosen.verdict in said
    assert ("pp" in chosen.verdict) is False or task != "regression"
    press(app, "Evaluate alpha × sparsity")
    check(case)
    press(app, "Find maximum sparsity")
    check(case)
    budget = app.session_state["accuracy_budget"][2]
    assert budget.measure == found.measure
    search = next(button for button in app.button if button.label == "Run quick search")
    assert search.disabled is (task == "regression")
    if task != "regression":
        press(app, "Run quick search")
        check(case)


def test_pinned_masks(case):
    _task, _labeled, app, work = case
    visit(app, "alpha")
    app.button(key="pin_A").click().run()
    app.session_state["set_alpha"] = 0.0
    app.run()
    app.button(key="pin_B").click().run()
    press(app, "Evaluate both masks")
    said = check(case)
    found = hp.evaluate_masks(
        work.model, work.evaluation, np.stack([pin.mask for pin in app.session_state["pins"].values()])
    )
    for i in range(2):
        assert share(found, i).text in said
    assert "Difference in " in said


def test_leave_one_out(case):
    task, labeled, app, _work = case
    visit(app, "uncertainty")
    press(app, "Run leave-one-out")
    check(case)
    app.segmented_control(key="ablation_measure").set_value("accuracy_drop").run()
    said = check(case)
    if labeled or task == "regression":
        name = {"Accuracy": "accuracy"}.get(name_of(task, labeled), name_of(task, labeled))
        assert f"Drop in {name[0].lower() + name[1:] if name[0] == 'C' else name} when the head is masked" in said


def test_greedy(case):
    task, labeled, app, _work = case
    visit(app, "greedy")
    app.session_state["greedy_end"] = "steps"
    app.run()
    app.slider(key="greedy_steps").set_value(3).run()
    press(app, "Run Greedy-Gnorm")
    said = check(case)
    run = app.session_state["greedy"]["greedy_gnorm"].trajectory if "greedy" in app.session_state else None
    assert run is None or run.measure_name in ("accuracy", "agreement", "pearson", "correlation")
    name = name_of(task, labeled).lower().replace("pearson", "Pearson")
    assert f"{name.split(' with')[0]}" in said
    press(app, "Compare with static rankings")
    check(case)


def test_pruning(case):
    task, labeled, app, _work = case
    visit(app, "prune")
    press(app, "Prune model")
    said = check(case)
    result = app.session_state["pruned"]
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown[name_of(task, labeled)] == share(result.verification.pruned).text
    assert shown["Identical predictions"] == "100.0%"
    if labeled:
        assert f"{MEASURE[task]} changes by" in said
        further = next(iter(result.verification.pruned.further.values()))[0]
        assert f"{further:.3f}" in said
    press(app, "Compare logits")
    check(case)
    app.slider(key="recover_steps").set_value(10).run()
    press(app, "Fine-tune")
    check(case)


def test_a_folder_and_ratings_are_loaded_like_any_other(tmp_path_factory):
    """A regression model with a table of numbers needs nothing special; without labels the norm is the objective."""
    folder = folder_of("regression", tmp_path_factory)
    texts = [f"w{i} w{i + 1} w{i + 2}" for i in range(5, 45)]
    table = pd.DataFrame({"text": texts, "label": np.linspace(0, 5, len(texts))})
    work = load(
        Request(str(folder), text="mine", plan=hp.plan_examples(table), is_folder=True), ServerState(), lambda *_: None
    )
    assert work.scores.settings["objective"] == "loss"
    labels = np.array(work.evaluation["label"], float)
    found = hp.evaluate_masks(work.model, work.evaluation, np.ones((1, *work.model.grid.shape), bool))
    expected = np.corrcoef(found.logits[0, :, 0], labels)[0, 1]
    assert found.main_value[0] == pytest.approx(expected)
    work = load(
        Request(str(folder), text="mine", plan=hp.plan_examples(table[["text"]]), is_folder=True),
        ServerState(),
        lambda *_: None,
    )
    assert work.scores.settings["objective"] == "logit_norm"
    assert "importance uses the norm of the model's outputs as the objective" in " ".join(work.notes)
    with pytest.raises(hp.HeadPruneError, match="must be a finite number; example 0 has"):
        load(Request(str(folder), is_folder=True), ServerState(), lambda *_: None)


def test_classes_of_other_names_are_no_labels(tmp_path_factory):
    """The built-in tweets have the classes negative, neutral and positive."""
    folder = folder_of("multi_label", tmp_path_factory)
    with pytest.raises(hp.HeadPruneError, match=r"has the label '(negative|neutral|positive)', which .* does not have"):
        load(Request(str(folder), is_folder=True), ServerState(), lambda *_: None)
