"""Every page through Streamlit's own test runner: what it says, what links restore, and what bad links do."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.apptest import PATIENCE, ROOT, finished, opened
from helpers.tiny_models import tiny, tiny_tokenizer
from streamlit.testing.v1 import AppTest

from headprune_core.masks.reduction_agreement import reduction_agreement

TITLES = {
    "model_and_data": "Which heads matter?",
    "head_scores": "What is every head worth?",
    "orthogonality": "Do importance and entropy say different things?",
    "uncertainty": "How sure are we?",
    "alpha": "Which heads go, as alpha moves?",
    "alpha_choice": "Which alpha is best?",
    "greedy": "Remove the weakest head, score again",
    "prune": "Take the smaller model home",
}


@pytest.mark.parametrize("view", TITLES)
def test_every_page_has_something_true_to_show(view):
    app = opened(view)
    assert app.title[0].value == TITLES[view]
    assert "72 heads" in app.sidebar.markdown[0].value


def test_the_first_page_counts_what_is_there():
    metrics = {metric.label: metric.value for metric in opened().metric}
    assert metrics["Layers"] == "6"
    assert metrics["Heads"] == "72"
    assert metrics["Parameters"] == "22.7 M"


def test_the_verdict_is_in_words():
    app = opened("orthogonality")
    assert "Nearly uncorrelated" in app.success[0].value


def test_every_correlation_has_an_interval():
    metrics = {metric.label: metric for metric in opened("orthogonality").metric}
    for name in ("Pearson r", "Spearman", "Kendall"):
        low, high = map(float, metrics[name].delta.split(" to "))
        assert low <= float(metrics[name].value) <= high


def test_how_sure_says_which_heads_are_sure_and_how_many_texts_are_enough():
    app = opened("uncertainty")
    said = " ".join(text.value for text in app.main.markdown)
    assert "22 of 72 heads are pruned" in said
    assert "**AE**: 8 examples give almost the same ranking as all 32" in said
    assert "**HIS**: 32 texts may be too few" in said
    app.slider(key="removed_percent").set_value(50).run()
    app.segmented_control(key="interval_metric").set_value("ae").run()
    assert not app.exception
    assert app.session_state["set_sparsity"] == 0.5
    assert any("36 of 72 heads are pruned" in text.value for text in app.main.markdown)


def test_what_leaving_out_a_head_does_is_shown_beside_the_criteria():
    app = opened("uncertainty")
    assert "Nothing has been left out yet" in app.info[-1].value
    app.slider(key="ablation_size").set_value(2).run()
    next(button for button in app.button if button.label == "Leave out each head").click().run()
    app = finished(app)
    assert app.session_state["ablation"].found.per_example.shape == (2, 6, 12)
    assert any(text.value.startswith("Kendall with how much the loss moves") for text in app.main.markdown)
    app.segmented_control(key="ablation_measure").set_value("accuracy_drop").run()
    assert not app.exception


def test_moving_alpha_moves_hies_and_is_remembered():
    app = opened("head_scores")
    app.slider(key="scores_alpha").set_value(0.25).run()
    assert not app.exception
    assert app.session_state["set_alpha"] == 0.25
    app.switch_page("pages/views/alpha.py").run()
    assert app.session_state["set_alpha"] == 0.25


def test_a_chosen_head_is_looked_into():
    app = opened("head_scores")
    app.session_state["set_head"] = (5, 9)
    app.run()
    assert "Layer 5, head 9" in [heading.value for heading in app.subheader]


@pytest.mark.parametrize(
    ("name", "bad"), [("alpha", "7"), ("alpha", "nan"), ("sparsity", "-1"), ("entropy_direction", "all"), ("head", "x")]
)
def test_a_links_bad_value_is_told_and_replaced(name, bad):
    app = opened("alpha" if name != "head" else "head_scores", **{name: bad})
    assert not app.exception
    assert any(f"The link's {name} could not be used" in toast.value for toast in app.toast)


@pytest.mark.parametrize(("name", "bad"), [("his_reduction", "sum"), ("dtype", "int8"), ("special_tokens", "")])
def test_an_option_that_there_is_not_is_told_before_anything_is_scored(name, bad):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    app.query_params[name] = bad
    app.run()
    assert any(f"The link's {name} could not be used" in toast.value for toast in app.toast)
    assert app.session_state[f"set_{name}"] in ("example", "float32", "in")


def test_a_head_that_the_model_does_not_have_is_told():
    app = opened("head_scores")
    app.session_state["set_head"] = (40, 3)
    app.run()
    assert not app.exception
    assert any("is not one of the 6 x 12" in toast.value for toast in app.toast)


def loading(folder: Path, pasted: str | None = None) -> AppTest:
    """The app after it was asked to load a folder, with the embedded text or pasted lines."""
    app = opened()
    app.session_state["model_kind"] = "Local folder"
    if pasted is not None:
        app.session_state["text_kind"] = "Paste"
    app.run()
    app.text_input(key="folder").set_value(str(folder)).run()
    if pasted is not None:
        app.text_area(key="pasted").set_value(pasted).run()
    next(button for button in app.button if button.label == "Load and score").click().run()
    return finished(app)


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A folder with a tiny T5 and a tokenizer."""
    folder = tmp_path_factory.mktemp("translator")
    tiny("t5").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_options_in_the_link_are_what_is_scored_by():
    app = opened("head_scores", his_reduction="token", entropy="normalized", special_tokens="out")
    settings = app.session_state["work"].scores.settings
    assert (settings["his_reduction"], settings["entropy"], settings["special_tokens"]) == ("token", "normalized", False)
    assert any("HIS: By token · Entropy: Normalized · Special tokens: Left out" in line.value for line in app.caption)


def test_another_reduction_is_shown_at_once_and_the_three_are_compared():
    app = opened("head_scores")
    metrics = {metric.label: metric.value for metric in app.metric}
    agreement = reduction_agreement(app.session_state["work"].scores)
    assert metrics["By text and by token"] == f"{agreement['example', 'token']:.2f}"
    assert metrics["By token and by batch"] == f"{agreement['token', 'batch']:.2f}"
    before = app.session_state["work"]
    app.session_state[f"option_reduction_{before.key}"] = "token"
    app.run()
    now = app.session_state["work"]
    assert not app.exception
    np.testing.assert_array_equal(now.scores.his, before.scores.his_by_reduction["token"].mean(0))
    assert app.query_params["his_reduction"] == "token"


def test_scoring_again_by_other_options_is_used_on_every_page():
    app = opened("head_scores")
    again = next(button for button in app.button if button.label == "Score again")
    assert again.disabled
    app.selectbox[0].select("prediction").run()
    next(button for button in app.button if button.label == "Score again").click().run()
    finished(app)
    assert app.session_state["work"].scores.settings["objective"] == "prediction"
    app.switch_page("pages/views/alpha.py").run()
    assert not app.exception
    assert app.query_params["objective"] == "prediction"


def test_a_vision_model_with_text_is_told_what_it_needs(tmp_path):
    tiny("vit").save_pretrained(tmp_path)
    app = loading(tmp_path)
    assert "reads images, and what was chosen to score on is text" in app.error[0].value
    assert "What was loaded before is still there." in app.error[0].value
    assert "72 heads" in app.sidebar.markdown[0].value


def test_a_model_that_writes_targets_asks_for_them(translator):
    app = loading(translator, "w5 w6 w7\nw8 w9\nw10 w11 w12 w13")
    assert "give a column named target" in app.error[0].value


def test_an_encoder_decoders_rows_are_called_by_what_they_are(translator):
    lines = "\n".join(f"w{i} w{i + 1} w{i + 2}\tw{i + 3} w{i}" for i in range(5, 20))
    app = loading(translator, lines)
    assert not app.error
    labels = ["encoder 0", "encoder 1", "decoder 0", "cross 0", "decoder 1", "cross 1"]
    anatomy = app.dataframe[-1].value
    assert sorted(anatomy["layer"]) == sorted(labels)
    assert set(anatomy["attends"]) == {"within the text", "within the target", "target to text"}
    app.switch_page("pages/views/head_scores.py").run()
    app.session_state["set_head"] = (3, 1)
    app.run()
    assert not app.exception
    rows = app.session_state["work"].scores.grid.row_labels
    assert f"{rows[3].capitalize()}, head 1" in [heading.value for heading in app.subheader]
    assert set(app.dataframe[-1].value["layer"]) == set(labels)
    for view in ("alpha", "orthogonality", "uncertainty"):
        app.switch_page(f"pages/views/{view}.py").run()
        assert not app.exception


def test_a_cancelled_scoring_keeps_what_was_there(monkeypatch):
    def endless(work, options, server, progress):
        while True:
            progress(1, 2, "Scoring heads")
            time.sleep(0.01)

    monkeypatch.setattr("pages.parts.common.session.rescore", endless)
    app = opened("head_scores")
    before = app.session_state["work"]
    app.selectbox[0].select("logit_norm").run()
    next(button for button in app.button if button.label == "Score again").click().run()
    assert not app.exception
    app.button(key="cancel_scores").click().run()
    finished(app)
    assert app.session_state["work"] is before
    assert "objective" not in app.query_params
    assert "Scoring was cancelled. What was loaded before is still there." in app.error[0].value


def test_a_single_text_is_not_called_sure():
    app = opened("uncertainty")
    whole = app.session_state["work"]
    first = {metric: values[:1] for metric, values in whole.scores.per_example.items()}
    app.session_state["work"] = replace(
        whole, calibration=whole.calibration.select([0]), scores=replace(whole.scores, per_example=first)
    )
    app.run()
    assert not app.exception
    assert "1 text drawn anew: that says next to nothing" in app.warning[0].value
    assert any("1 example is too few" in text.value for text in app.main.markdown)
