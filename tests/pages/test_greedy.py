"""The Greedy-Gnorm page: runs and their stopping rules, static rankings, and the ranking on other pages."""

import json
import shlex
import threading
import time
from dataclasses import replace

import pytest
from helpers.apptest import PATIENCE, finished, opened, said

from headprune_core import Cancelled
from headprune_core.cli.main import main
from pages.parts.greedy import greedy_run


def ran(**settings):
    """The page after a run of big steps on a few examples."""
    app = opened("model_and_data")
    for name, value in ({"greedy_heads": 8, "greedy_size": 9} | settings).items():
        app.session_state[name] = value
    app.switch_page("pages/views/greedy.py").run()
    assert "No run yet. Click **Run Greedy-Gnorm**." in app.info[0].value
    next(button for button in app.button if button.label == "Run Greedy-Gnorm").click().run()
    return finished(app)


def run_of(app, method="greedy_gnorm"):
    return app.session_state["greedy"][method].trajectory


@pytest.mark.slow
def test_a_run_prunes_all_heads():
    app = ran()
    run = run_of(app)
    assert len(set(run.order)) == 72
    assert len(run.accuracy) == run.steps + 1 == 10
    app.slider(key="greedy_step").set_value(4).run()
    assert "32 heads pruned, 40 remaining" in said(app.main.caption)
    assert not app.exception


@pytest.mark.slow
def test_a_run_of_a_fixed_number_of_steps_and_one_to_an_accuracy_threshold():
    assert run_of(ran(greedy_end="steps", greedy_steps=2)).steps == 2
    run = run_of(ran(greedy_end="floor", greedy_floor=60))
    assert (run.measure[:-1] >= 0.6).all()
    assert run.measure[-1] < 0.6


@pytest.mark.slow
def test_the_inverse_control_prunes_the_highest_gnorm_first():
    run = run_of(ran(greedy_inverse=True, greedy_end="steps", greedy_steps=1), "inverse_greedy_gnorm")
    scores = run.scores[0]
    assert min(scores[place] for place in run.order) >= sorted(scores.ravel())[-8]


@pytest.mark.slow
def test_the_comparison_with_static_rankings_and_the_ranking_in_the_curves():
    app = ran(greedy_end="steps", greedy_steps=2, greedy_size=3)
    next(button for button in app.button if button.label == "Compare with static rankings").click().run()
    app = finished(app)
    frame = app.session_state["greedy"]["greedy_gnorm"].compared.frame
    assert set(frame.method) == {"greedy_gnorm", "gnorm", "inverse_gnorm", "random"}
    assert "**Greedy-Gnorm**" in said(app.main.markdown)
    for name, value in {"methods": ["greedy_gnorm"], "step": "20", "evaluation_size_960": 3}.items():
        app.session_state[name] = value
    app.switch_page("pages/views/accuracy.py").run()
    next(button for button in app.button if button.label == "Evaluate curves").click().run()
    app = finished(app)
    assert set(app.session_state["curves"].curves.frame.method) == {"greedy_gnorm"}
    assert "greedy_gnorm(model, calibration" in app.code[0].value


@pytest.mark.slow
def test_the_page_does_not_rerun_by_itself_while_a_comparison_runs(monkeypatch):
    app, release = ran(greedy_end="steps", greedy_steps=1), threading.Event()

    def hold(*args, **options):
        release.wait(PATIENCE)
        raise Cancelled("released")

    monkeypatch.setattr(greedy_run, "measure_curves", hold)
    try:
        app.button(key="greedy_compare").click().run(timeout=30)  # raises an error if the page is drawn without end
        assert not app.exception
        assert app.button(key="cancel_greedy").label == "Cancel"
    finally:
        release.set()
    assert finished(app).session_state["greedy"]["greedy_gnorm"].compared is None


@pytest.mark.slow
def test_a_dataset_without_evaluation_examples_can_be_run():
    app = opened("model_and_data")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.session_state["greedy_heads"] = 8
    app.switch_page("pages/views/greedy.py").run()
    assert app.selectbox(key="greedy_end").options == ["All heads pruned", "Fixed number of steps"]
    next(button for button in app.button if button.label == "Run Greedy-Gnorm").click().run()
    app = finished(app)
    assert run_of(app).steps == 9
    assert not len(run_of(app).accuracy)
    assert json.dumps(run_of(app).settings)


@pytest.mark.slow
def test_the_caption_after_the_run_names_no_next_head_and_the_axis_ends_with_the_run():
    app = ran(greedy_end="steps", greedy_steps=2)
    assert app.slider(key="greedy_step").value == 2  # it has followed the run
    assert "16 heads pruned, 56 remaining. The run ends here." in said(app.main.caption)
    assert "Pruned next" not in said(app.main.caption)
    figure = json.loads(next(chart.proto.spec for chart in app.get("plotly_chart") if "Heads pruned" in chart.proto.spec))
    assert 16 <= figure["layout"]["xaxis"]["range"][1] < 18
    app.slider(key="greedy_step").set_value(1).run()
    assert "8 heads pruned, 64 remaining. Pruned next: layer " in said(app.main.caption)


def test_the_form_states_the_expected_time_keeps_its_settings_and_the_result_states_its_request():
    app = ran(greedy_end="steps", greedy_steps=2)
    assert "2 steps; each rescores on 32 calibration examples and evaluates on 9. Expected time: about" in said(
        app.main.caption
    )
    assert "This run: lowest Gnorm first, 8 heads per step, 2 steps, 9 evaluation examples." in said(app.main.caption)
    app.switch_page("pages/views/alpha.py").run()
    app.switch_page("pages/views/greedy.py").run()
    assert (app.selectbox(key="greedy_end").value, app.slider(key="greedy_steps").value) == ("steps", 2)
    assert app.slider(key="greedy_size").value == 9
    app.slider(key="greedy_steps").set_value(3).run()
    assert "2 steps, 9 evaluation examples. The settings above have changed; click **Run Greedy-Gnorm**" in said(
        app.main.caption
    )


@pytest.mark.slow
def test_after_cancel_one_statement_says_how_much_is_done_and_resumes():
    app = opened("model_and_data")
    app.session_state["greedy_size"] = 24
    app.switch_page("pages/views/greedy.py").run()
    next(button for button in app.button if button.label == "Run Greedy-Gnorm").click().run()
    deadline = time.monotonic() + PATIENCE
    while run_of(app) is None or not run_of(app).steps:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
    app.button(key="cancel_greedy").click().run()
    app = finished(app)
    done = run_of(app).steps
    statement = f"The run was cancelled after {done} of 72 steps."
    assert [text.value for text in app.main.markdown if "cancelled" in text.value] == [statement]
    assert not app.info
    assert app.button(key="resume_greedy").label == f"Resume ({done} of 72 steps)"
    app.slider(key="greedy_size").set_value(6).run()  # the run resumes as it was started
    app.button(key="resume_greedy").click().run()
    assert app.session_state["greedy"]["greedy_gnorm"].request.size == 24
    app.button(key="cancel_greedy").click().run()
    finished(app)


@pytest.mark.slow
def test_the_code_of_a_run_prunes_the_same_heads(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path))
    app = ran(greedy_end="steps", greedy_steps=2, greedy_inverse=True)
    order = run_of(app, "inverse_greedy_gnorm").order
    names: dict[str, object] = {}
    exec(app.code[0].value, names)
    assert names["run"].order == order
    words = shlex.split(app.code[1].value)
    assert main([*words[1:], "--out", str(tmp_path / "out.json")]) == 0
    assert [tuple(head) for head in json.loads((tmp_path / "out.json").read_text())["order"]] == order
