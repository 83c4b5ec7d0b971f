"""The page of Greedy-Gnorm: a run by steps, how it ends, what static orders do beside it, and its ranking elsewhere."""

import json
from dataclasses import replace

from helpers.apptest import finished, opened


def ran(**settings):
    """The page after a run of big steps on a few texts, asked for in the form."""
    app = opened("model_and_data")
    for name, value in ({"greedy_heads": 8, "greedy_size": 9} | settings).items():
        app.session_state[name] = value
    app.switch_page("pages/views/greedy.py").run()
    assert "Nothing has been removed yet" in app.info[0].value
    next(button for button in app.button if button.label == "Run Greedy-Gnorm").click().run()
    return finished(app)


def run_of(app, method="greedy_gnorm"):
    return app.session_state["greedy"][method].trajectory


def said(elements) -> str:
    return " ".join(element.value for element in elements)


def test_a_run_goes_on_until_no_head_is_left():
    app = ran()
    run = run_of(app)
    assert len(set(run.order)) == 72
    assert len(run.accuracy) == run.steps + 1 == 10
    app.slider(key="greedy_step").set_value(4).run()
    assert "32 heads are gone, 40 are left" in said(app.main.caption)
    assert not app.exception


def test_a_run_of_some_steps_and_one_down_to_an_accuracy():
    assert run_of(ran(greedy_end="steps", greedy_steps=2)).steps == 2
    run = run_of(ran(greedy_end="floor", greedy_floor=60))
    assert (run.measure[:-1] >= 0.6).all()
    assert run.measure[-1] < 0.6


def test_the_control_removes_the_strongest_first():
    run = run_of(ran(greedy_inverse=True, greedy_end="steps", greedy_steps=1), "inverse_greedy_gnorm")
    scores = run.scores[0]
    assert min(scores[place] for place in run.order) >= sorted(scores.ravel())[-8]


def test_static_orders_beside_it_and_its_ranking_under_the_curves():
    app = ran()
    next(button for button in app.button if button.label == "Compare with static orders").click().run()
    app = finished(app)
    frame = app.session_state["greedy"]["greedy_gnorm"].compared.frame
    assert set(frame.method) == {"greedy_gnorm", "gnorm", "inverse_gnorm", "random"}
    assert "**Greedy-Gnorm**" in said(app.main.markdown)
    for name, value in {"methods": ["greedy_gnorm"], "step": "20", "evaluation_size_960": 9}.items():
        app.session_state[name] = value
    app.switch_page("pages/views/accuracy.py").run()
    app = finished(app)  # a first look by itself
    next(button for button in app.button if button.label == "Draw the curves").click().run()
    app = finished(app)
    assert set(app.session_state["curves"].curves.frame.method) == {"greedy_gnorm"}
    assert "greedy_gnorm(model, calibration" in app.code[0].value


def test_a_text_that_cannot_be_tested_on_is_scored_all_the_same():
    app = opened("model_and_data")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.session_state["greedy_heads"] = 8
    app.switch_page("pages/views/greedy.py").run()
    assert app.selectbox(key="greedy_end").options == ["When no head is left", "After some steps"]
    next(button for button in app.button if button.label == "Run Greedy-Gnorm").click().run()
    app = finished(app)
    assert run_of(app).steps == 9
    assert not len(run_of(app).accuracy)
    assert json.dumps(run_of(app).settings)
