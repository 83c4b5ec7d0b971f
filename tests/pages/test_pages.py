"""Every page in Streamlit's AppTest: what it states, what links restore, how errors are shown, and what forms keep."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.apptest import PATIENCE, finished, opened, said
from helpers.tiny_models import tiny, tiny_tokenizer
from streamlit.testing.v1 import AppTest

import headprune_core as hp
from headprune_core.masks.reduction_agreement import reduction_agreement
from pages.parts.common import labels
from pages.parts.common.labels import PAGES
from pages.parts.common.sentences import sentence
from pages.parts.common.session import Runner


@pytest.mark.slow
@pytest.mark.parametrize("view", PAGES)
def test_every_page_has_its_heading_and_question(view):
    app = opened(view)
    assert app.title[0].value == PAGES[view].title
    assert f"**{PAGES[view].question}**" in [text.value for text in app.main.markdown]
    assert "72 heads (6 layers × 12)" in app.sidebar.markdown[0].value
    assert not app.subheader  # h2 follows h1: no level is skipped


@pytest.mark.slow
@pytest.mark.parametrize("view", ["model_and_data", "head_scores", "uncertainty"])
def test_acronyms_are_expanded_at_first_use(view):
    text = " ".join(element.value for element in opened(view).main.markdown)
    for name in (labels.HIS, labels.AE, labels.HIES, labels.GNORM):
        assert name in text
        assert text.index(name) + name.index("(") + 1 == re.search(rf"\b{name[name.index('(') + 1 : -1]}\b", text).start()


def test_the_first_page_counts_what_is_there():
    metrics = {metric.label: metric.value for metric in opened().metric}
    assert metrics["Layers"] == "6"
    assert metrics["Heads"] == "72"
    assert metrics["Parameters"] == "22.7 M"


@pytest.mark.slow
def test_low_correlation_is_not_called_a_success():
    app = opened("orthogonality")
    assert not app.success
    assert "Nearly uncorrelated" in app.info[0].value
    text = " ".join(element.value for element in app.main.markdown)
    assert "Low correlation is necessary, not sufficient" in text
    assert f"measured under **{PAGES['alpha_choice'].title}**" in text


@pytest.mark.slow
def test_every_correlation_has_an_interval():
    metrics = {metric.label: metric for metric in opened("orthogonality").metric}
    for name in ("Pearson r", "Spearman's ρ", "Kendall's τ"):
        low, high = map(float, metrics[name].delta.split(" to "))
        assert low <= float(metrics[name].value) <= high


@pytest.mark.slow
def test_stable_heads_and_the_number_of_examples_are_stated():
    app = opened("uncertainty")
    text = " ".join(element.value for element in app.main.markdown)
    assert "At this sparsity 22 of 72 heads are pruned" in text
    assert "**AE**: 8 examples give almost the same ranking as all 32" in text
    assert "**HIS**: 32 examples may be too few" in text
    app.slider(key="removed_percent").set_value(50).run()
    app.segmented_control(key="interval_metric").set_value("ae").run()
    assert not app.exception
    assert app.session_state["set_sparsity"] == 0.5
    assert any("At this sparsity 36 of 72 heads are pruned" in element.value for element in app.main.markdown)


@pytest.mark.slow
def test_the_ablation_is_compared_with_the_criteria_and_states_its_request():
    app = opened("uncertainty")
    assert "No ablation results yet. Click **Run leave-one-out**." in app.info[-1].value
    app.slider(key="ablation_size").set_value(2).run()
    app = press(app, "Run leave-one-out")
    assert app.session_state["ablation"].found.per_example.shape == (2, 6, 12)
    text = [element.value for element in app.main.markdown]
    assert any(line.startswith("Kendall's τ between each criterion and") for line in text)
    assert "The result below is for 2 evaluation examples." in text
    app.segmented_control(key="ablation_measure").set_value("accuracy_drop").run()
    assert not app.exception
    app.slider(key="ablation_size").set_value(3).run()
    assert "The result below is for 2 evaluation examples. Click **Run leave-one-out** for 3 examples." in [
        element.value for element in app.main.markdown
    ]


@pytest.mark.slow
def test_forms_keep_their_settings_when_a_page_is_left():
    app = opened("uncertainty")
    app.slider(key="ablation_size").set_value(7).run()
    app.segmented_control(key="agreement_show").set_value("overlap").run()
    app.switch_page("pages/views/head_scores.py").run()
    app.segmented_control(key="scaling").set_value("rank").run()
    app.selectbox[0].select("prediction").run()
    app.switch_page("pages/views/model_and_data.py").run()
    app.segmented_control(key="model_kind").set_value("Local folder").run()
    app.text_input(key="folder").set_value("/somewhere").run()
    app.slider(key="size").set_value(16).run()
    app.switch_page("pages/views/uncertainty.py").run()
    assert app.slider(key="ablation_size").value == 7
    assert app.segmented_control(key="agreement_show").value == "overlap"
    app.switch_page("pages/views/head_scores.py").run()
    assert app.segmented_control(key="scaling").value == "rank"
    assert app.selectbox[0].value == "prediction"
    app.switch_page("pages/views/model_and_data.py").run()
    assert app.text_input(key="folder").value == "/somewhere"
    assert app.slider(key="size").value == 16


@pytest.mark.slow
def test_moving_alpha_moves_hies_and_is_remembered():
    app = opened("head_scores")
    app.slider(key="scores_alpha").set_value(0.25).run()
    assert not app.exception
    assert app.session_state["set_alpha"] == 0.25
    app.switch_page("pages/views/alpha.py").run()
    assert app.session_state["set_alpha"] == 0.25


@pytest.mark.slow
def test_a_chosen_head_is_looked_into():
    app = opened("head_scores")
    app.session_state["set_heads"] = ((5, 9),)
    app.run()
    assert "**Layer 5, head 9**" in [text.value for text in app.main.markdown]


@pytest.mark.slow
def test_the_inspector_states_the_place_in_the_pruning_order():
    app = opened("inspector", alpha="0.8", sparsity="0.25")
    scores = app.session_state["work"].scores
    hies = scores.hies(0.8)
    order = np.argsort(hies.ravel(), kind="stable")
    for position, state in ((12, "is **pruned** as number 13 of 72"), (40, "would be pruned as number 41 of 72")):
        app.session_state["set_heads"] = (divmod(int(order[position]), 12),)
        app.run()
        assert not app.exception
        text = " ".join(element.value for element in app.main.markdown)
        assert state in text
        assert "HIES with α = 0.8, 25% sparsity" in text
        (table,) = (table.value for table in app.table if "Pruned as" in table.value)
        assert f"{position + 1} of 72" in table["Pruned as"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("alpha", "7"),
        ("alpha", "nan"),
        ("alpha", "x"),
        ("sparsity", "-1"),
        ("entropy_direction", "all"),
        ("heads", "x"),
        ("his_reduction", "sum"),
        ("dtype", "int8"),
        ("special_tokens", ""),
    ],
)
def test_a_bad_value_in_the_url_is_named_and_replaced(name, bad):
    app = opened("head_scores", **{name: bad})
    assert not app.exception
    (toast,) = app.link_toasts
    assert toast.startswith(f"Ignored in the URL: {name} (")
    assert toast.endswith("Using the default.")


def test_one_message_names_all_bad_values_in_the_url():
    (toast,) = opened("alpha", alpha="7", sparsity="0.4", min_heads="-1", heads="x").link_toasts
    assert toast == (
        "Ignored in the URL: alpha (7 is out of range; expected 0 to 1), min_heads ('\\-1' is out of range; expected 0 to "
        "1,024), heads ('x' is not a head; expected layer.head, as in 3.5 or 3.5,4.1). Using the defaults."
    )


@pytest.mark.slow
def test_settings_that_do_not_exist_are_named_like_bad_values_and_nothing_of_the_url_is_markup():
    (toast,) = opened(
        "head_scores", objective="x", gnorm="y", entropy="![i](http://evil.example)", **{"[a](b)": "1"}
    ).link_toasts
    assert toast.startswith("Ignored in the URL: ")
    assert "objective ('x' is unknown; expected loss or prediction or logit" in toast
    assert "gnorm (no such setting; did you mean gnorm_objective?)" in toast
    assert r"\[a\]\(b\) (no such setting)" in toast
    assert r"'\!\[i\]\(http" in toast
    assert "](" not in toast
    assert "://evil" not in toast
    assert toast.endswith("Using the defaults.")


@pytest.mark.slow
def test_a_head_that_the_model_does_not_have_is_told():
    app = opened("head_scores")
    app.session_state["set_heads"] = ((40, 3), (2, 1), (0, 12))
    app.run()
    assert not app.exception
    assert "because this model does not have them: heads 40.3, 0.12." in said(app.toast)
    assert app.session_state["set_heads"] == ((2, 1),)
    assert app.query_params["heads"] == "2.1"


def press(app: AppTest, label: str) -> AppTest:
    """Click the button with this label and wait until its job has ended."""
    next(button for button in app.button if button.label == label).click().run()
    return finished(app)


def loading(folder: Path, pasted: str | None = None) -> AppTest:
    """Load a folder, with the built-in dataset or pasted lines."""
    app = opened()
    app.session_state["model_kind"] = "Local folder"
    if pasted is not None:
        app.session_state["text_kind"] = "Paste"
    app.run()
    app.text_input(key="folder").set_value(str(folder)).run()
    if pasted is not None:
        app.text_area(key="pasted").set_value(pasted).run()
    return press(app, "Load and score")


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A folder with a tiny T5 and a tokenizer."""
    folder = tmp_path_factory.mktemp("translator")
    tiny("t5").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_model_trained_anew_into_the_same_folder_is_shown_anew(tmp_path):
    tiny("bert").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    app = loading(tmp_path, "\n".join(f"w{i} w{i + 1}" for i in range(6)))
    before = app.session_state["work"]
    trained = tiny("bert")
    with torch.no_grad():
        trained.bert.encoder.layer[1].attention.self.value.weight.mul_(3.0)
    trained.save_pretrained(tmp_path)
    press(app, "Load and score")
    after = app.session_state["work"]
    assert not app.exception
    loaded = after.model.model.bert.encoder.layer[1].attention.self.value.weight
    torch.testing.assert_close(loaded, trained.bert.encoder.layer[1].attention.self.value.weight)
    alone = hp.score_heads(hp.PrunableModel(trained, tiny_tokenizer()), after.calibration, objective="prediction")
    np.testing.assert_allclose(after.scores.his, alone.his, rtol=1e-5)
    assert not np.allclose(before.scores.his, alone.his, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("view", "dtype"), [("accuracy", "bfloat16"), ("alpha_choice", "float32"), ("prune", "float32")])
def test_the_expected_time_and_memory_of_an_evaluation_are_stated(view, dtype):
    app = opened(view)
    (caption,) = [line.value for line in app.caption if "Expected time" in line.value]
    found = re.search(
        r"Expected time: about (\d+ (?:s|min)) · memory: about ([\d,]+) MiB\. Cached results are reused\.", caption
    )
    assert found
    if view == "accuracy":
        app.segmented_control(key="curve_precision").set_value(dtype).run()
        masks, size = map(int, re.search(r"Up to (\d+) masks on (\d+) examples", caption).groups())
        loaded = app.session_state["work"]
        cost = hp.estimate_evaluation(loaded.model, loaded.evaluation.select(range(size)), masks, dtype=dtype)
        assert any(f"memory: about {cost.peak_bytes / 2**20:,.0f} MiB" in line.value for line in app.caption)


@pytest.mark.slow
def test_options_in_the_link_are_what_is_scored_by():
    app = opened("head_scores", his_reduction="token", entropy="normalized", special_tokens="out")
    settings = app.session_state["work"].scores.settings
    assert (settings["his_reduction"], settings["entropy"], settings["special_tokens"]) == ("token", "normalized", False)
    changed = "HIS reduction: Per token · Entropy: Normalized · Special tokens: Excluded"
    assert any(changed in line.value for line in app.caption)


@pytest.mark.slow
def test_another_reduction_is_shown_at_once_and_the_three_are_compared():
    app = opened("head_scores")
    metrics = {metric.label: metric.value for metric in app.metric}
    agreement = reduction_agreement(app.session_state["work"].scores)
    assert metrics["Per example and per token"] == f"{agreement['example', 'token']:.2f}"
    assert metrics["Per token and per batch"] == f"{agreement['token', 'batch']:.2f}"
    before = app.session_state["work"]
    app.session_state[f"option_reduction_{before.key}"] = "token"
    app.run()
    now = app.session_state["work"]
    assert not app.exception
    np.testing.assert_array_equal(now.scores.his, before.scores.his_by_reduction["token"].mean(0))
    assert app.query_params["his_reduction"] == "token"


@pytest.mark.slow
def test_rescoring_with_other_options_is_used_on_every_page():
    app = opened("head_scores")
    assert next(button for button in app.button if button.label == "Rescore heads").disabled
    app.selectbox[0].select("prediction").run()
    press(app, "Rescore heads")
    assert app.session_state["work"].scores.settings["objective"] == "prediction"
    app.switch_page("pages/views/alpha.py").run()
    assert not app.exception
    assert app.query_params["objective"] == "prediction"


@pytest.mark.slow
def test_after_rescoring_back_to_earlier_options_the_form_shows_the_current_ones():
    app = opened("head_scores")
    for objective in ("prediction", "loss"):
        app.selectbox[0].select(objective).run()
        press(app, "Rescore heads")
        app.switch_page("pages/views/alpha.py").run()
        app.switch_page("pages/views/head_scores.py").run()
        assert app.session_state["work"].scores.settings["objective"] == app.selectbox[0].value == objective
        assert "Current options." in said(app.caption)


@pytest.mark.slow
def test_a_vision_model_with_text_is_told_what_it_needs(tmp_path):
    tiny("vit").save_pretrained(tmp_path)
    app = loading(tmp_path)
    assert "is a vision model, but the app supports text models only" in app.error[0].value
    assert "The previous model and data are still loaded." in app.error[0].value
    assert "72 heads" in app.sidebar.markdown[0].value


@pytest.mark.slow
def test_an_error_belongs_to_the_form_that_failed_and_can_be_closed():
    app = loading(Path("/nowhere/at/all"))
    assert "/nowhere/at/all" in app.error[0].value
    app.switch_page("pages/views/alpha.py").run()
    assert not app.error
    app.switch_page("pages/views/model_and_data.py").run()
    app.button(key="close_failure_model_and_data").click().run()
    assert not app.error
    press(app, "Load and score")
    assert app.error
    app.text_input(key="folder").set_value("/elsewhere").run()  # the form has changed
    assert not app.error


@pytest.mark.slow
def test_an_error_is_announced_once_on_another_page():
    app = loading(Path("/nowhere/at/all"))
    app.session_state["announced_failures"] = set()  # as if the job had ended on another page
    app.switch_page("pages/views/alpha.py").run()
    (toast,) = app.toast
    assert "/nowhere/at/all" in toast.value
    assert toast.value.endswith("See **Model & data**.")
    app.switch_page("pages/views/head_scores.py").run()
    assert not app.toast
    assert not app.error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("umlaut.csv cannot be read as csv", "umlaut.csv cannot be read as csv."),
        ("folder not found: 'x'", "Folder not found: 'x'."),
        ("the dataset's labels differ.", "The dataset's labels differ."),
        ("sst2: choose a subset", "sst2: choose a subset."),
        ("'a' is unknown", "'a' is unknown."),
    ],
)
def test_errors_are_sentences_and_file_names_keep_their_case(text, expected):
    assert sentence(text) == expected


@pytest.mark.slow
def test_a_model_that_writes_targets_asks_for_them(translator):
    app = loading(translator, "w5 w6 w7\nw8 w9\nw10 w11 w12 w13")
    assert "the dataset has no targets; add a target column" in app.error[0].value


@pytest.mark.slow
def test_an_encoder_decoders_rows_are_called_by_what_they_are(translator):
    lines = "\n".join(f"w{i} w{i + 1} w{i + 2}\tw{i + 3} w{i}" for i in range(5, 20))
    app = loading(translator, lines)
    assert not app.error
    labels = ["encoder 0", "encoder 1", "decoder 0", "cross 0", "decoder 1", "cross 1"]
    anatomy = app.dataframe[-1].value
    assert sorted(anatomy["layer"]) == sorted(labels)
    assert set(anatomy["attends"]) == {"encoder self-attention", "decoder self-attention", "cross-attention"}
    app.switch_page("pages/views/head_scores.py").run()
    app.session_state["set_heads"] = ((3, 1),)
    app.run()
    assert not app.exception
    rows = app.session_state["work"].scores.grid.row_labels
    assert f"**{rows[3].capitalize()}, head 1**" in [text.value for text in app.main.markdown]
    assert set(app.dataframe[-1].value["layer"]) == set(labels)
    for view in ("alpha", "orthogonality", "uncertainty", "inspector", "one_text"):
        app.switch_page(f"pages/views/{view}.py").run()
        assert not app.exception
        assert not said(app.error)
    assert "First token of the output" in app.dataframe[0].value.columns
    example = app.session_state["work"].calibration[0]
    assert (app.session_state["set_text"], app.session_state["set_text_pair"]) == (example["text"], example["label"])


@pytest.mark.slow
def test_a_cancelled_scoring_keeps_what_was_there(monkeypatch):
    def endless(work, options, server, progress):
        while True:
            progress(1, 2, "Scoring heads")
            time.sleep(0.01)

    monkeypatch.setattr("pages.parts.common.session.rescore", endless)
    app = opened("head_scores")
    before = app.session_state["work"]
    app.selectbox[0].select("logit_norm").run()
    next(button for button in app.button if button.label == "Rescore heads").click().run()
    assert not app.exception
    app.button(key="cancel_scores").click().run()
    finished(app)
    assert app.session_state["work"] is before
    assert "objective" not in app.query_params
    assert "Rescoring was cancelled. The previous model and data are still loaded." in app.error[0].value


@pytest.mark.slow
def test_a_job_that_ends_while_the_page_is_drawn_is_collected(monkeypatch):
    collect, missed = Runner.collect, []

    def just_before_the_end(self):
        if self.job is None or missed:
            return collect(self)
        missed.append(self.job.wait(PATIENCE))
        return None

    app = opened("head_scores")
    app.selectbox[0].select("prediction").run()
    monkeypatch.setattr(Runner, "collect", just_before_the_end)
    next(button for button in app.button if button.label == "Rescore heads").click().run()
    assert missed == [True]
    assert app.session_state["work"].scores.settings["objective"] == "prediction"


@pytest.mark.slow
def test_a_single_text_is_not_called_sure():
    app = opened("uncertainty")
    whole = app.session_state["work"]
    first = {metric: values[:1] for metric, values in whole.scores.per_example.items()}
    app.session_state["work"] = replace(
        whole, calibration=whole.calibration.select([0]), scores=replace(whole.scores, per_example=first)
    )
    app.run()
    assert not app.exception
    assert "Bootstrap intervals from 1 calibration example are not reliable" in app.warning[0].value
    assert any("1 example is too few" in text.value for text in app.main.markdown)
