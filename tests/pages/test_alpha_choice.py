"""The Choice of alpha page: its advice follows the verdict, taking it updates the page, and cancelled runs resume."""

import json
import shlex
import time
from dataclasses import replace

import numpy as np
import pytest
from helpers.apptest import PATIENCE, finished, opened

from headprune_core import recommend_alpha
from headprune_core.cli.main import main


def page(**settings):
    app = opened("model_and_data")
    for name, value in ({"choice_size": 4, "choice_seeds": 1} | settings).items():
        app.session_state[name] = value
    return app.switch_page("pages/views/alpha_choice.py").run()


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    return finished(app)


def shown(elements) -> str:
    return " ".join(element.value for element in elements)


@pytest.mark.slow
@pytest.mark.parametrize(("available", "words"), [(1, "1 example; choosing alpha needs at least 2"), (2, "on 2 examples")])
def test_an_evaluation_set_of_one_example_is_refused_in_a_sentence(available, words):
    app = opened("model_and_data")
    work = app.session_state["work"]
    app.session_state["work"] = replace(work, evaluation=work.evaluation.select(range(available)))
    app.switch_page("pages/views/alpha_choice.py").run()
    assert not app.exception
    assert words in shown(app.warning) + shown(app.main.caption)


@pytest.fixture(scope="module")
def evaluated():
    app = page()
    assert "No results for this sparsity and these constraints. Click **Evaluate all masks**." in shown(app.info)
    return press(app, "Evaluate all masks")


@pytest.mark.slow
def test_star_button_and_caption_follow_the_verdict(evaluated):
    chosen = recommend_alpha(evaluated.session_state["alpha_result"].found)
    assert chosen.advised_alpha == 1.0  # four examples show no significant effect
    labels = [button.label for button in evaluated.button]
    assert "Use HIS only (α = 1)" in labels
    assert f"Use α = {chosen.alpha_text} anyway" in labels
    assert evaluated.button(key="take_alpha").proto.type == "primary"
    assert chosen.verdict in shown(evaluated.main.markdown)
    figure = next(chart.proto.spec for chart in evaluated.get("plotly_chart") if "Recommended" in chart.proto.spec)
    star = next(trace for trace in json.loads(figure)["data"] if "Recommended" in trace.get("name", ""))
    assert star["x"] == [1.0]
    assert "HIS only" in star["name"]


@pytest.mark.slow
def test_using_the_advice_updates_every_statement_of_alpha(evaluated):
    assert "ranked by HIES (α = 0.5)" in shown(evaluated.main.caption)
    evaluated.button(key="take_alpha").click().run()
    assert evaluated.session_state["set_alpha"] == 1.0
    assert "ranked by HIES (α = 1)" in shown(evaluated.main.caption)
    assert "α = 0.5" not in shown(evaluated.main.caption)
    assert "Alpha set to 1 on all pages" in shown(evaluated.toast)


@pytest.mark.slow
def test_the_code_evaluates_the_same_masks(evaluated, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path))
    result = evaluated.session_state["alpha_result"].found
    names: dict[str, object] = {}
    exec(evaluated.code[0].value, names)
    np.testing.assert_array_equal(names["found"].accuracy, result.accuracy)
    words = shlex.split(evaluated.code[1].value.splitlines()[-1])
    assert main([*words[1:], "--out", str(tmp_path / "out.json")]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert [row["accuracy"] for row in document["measured"]] == pytest.approx(result.accuracy.tolist(), abs=1e-9)


def test_the_form_keeps_its_settings_and_the_result_its_request(evaluated):
    evaluated.switch_page("pages/views/alpha.py").run()
    evaluated.switch_page("pages/views/alpha_choice.py").run()
    assert (evaluated.slider(key="choice_size").value, evaluated.slider(key="choice_seeds").value) == (4, 1)
    statement = "Evaluated on 4 of 4 examples at 30% sparsity, with 1 random mask."
    assert statement in shown(evaluated.main.caption)


@pytest.mark.slow
def test_after_cancel_one_statement_says_how_much_is_done_and_resumes():
    app = page(choice_size=960, set_sparsity=0.97)  # few masks, so the first batch soon ends
    next(button for button in app.button if button.label == "Evaluate all masks").click().run()
    deadline = time.monotonic() + PATIENCE
    while app.session_state["alpha_result"].measured == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
    app.button(key="cancel_choice").click().run()
    app = finished(app)
    done = app.session_state["alpha_result"].measured
    statement = f"The run was cancelled after {done} of 960 examples."
    assert [text.value for text in app.main.markdown if "cancelled" in text.value] == [statement]
    assert not app.info
    assert app.button(key="resume_choice").label == f"Resume ({done} of 960 examples)"
