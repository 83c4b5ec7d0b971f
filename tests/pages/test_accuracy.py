"""The page of the curves: from its form to the verdicts, and its messages if something is missing."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.apptest import PATIENCE, finished, opened, said

from headprune_core import leave_one_out, plan_examples
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, load
from pages.parts.curves.curve_verdict_list import verdict_lines
from pages.parts.uncertainty.ablation_run import AblationResult

SMALL = {"methods": ["his", "random"], "step": "20", "most": 40, "n_random": 2, "evaluation_size_960": 9}
LONG = [f"the flight number {i} was {'lovely' if i % 2 else 'late'}" for i in range(12)]


def page(work=None, **settings):
    """The page with a small form; `work` replaces the loaded workspace."""
    app = opened("model_and_data")
    if work is not None:
        app.session_state["work"] = work(app.session_state["work"])
        count = len(app.session_state["work"].evaluation)
        settings = {f"evaluation_size_{count}": min(count, 9)} | settings
    for name, value in (SMALL | settings).items():
        app.session_state[name] = value
    app.switch_page("pages/views/accuracy.py").run()
    return app


def drawn(app):
    """The page after its curves have been evaluated."""
    app = finished(app)
    button = next(button for button in app.button if button.label == "Evaluate curves")
    button.click().run()
    return finished(app)


def uploaded(texts, labels=None):
    table = pd.DataFrame({"text": texts} | ({} if labels is None else {"label": labels}))
    return lambda _: load(Request(text="mine", plan=plan_examples(table), size=4), ServerState(), lambda *_: None)


@pytest.mark.slow
def test_from_the_form_to_the_verdicts():
    app = drawn(page())
    assert "Comparison with random pruning" in [heading.value for heading in app.header]
    assert "9 evaluation examples, none of them in the calibration set; HIES α = 0.5, 2 random rankings." in said(
        app.main.caption
    )
    frame = app.session_state["curves"].curves.frame
    assert sorted(set(frame.sparsity)) == [0.0, 0.2, 0.4]
    assert len(frame) == 3 * (1 + 2)
    assert "measure_curves(" in app.code[0].value
    assert "headprune curves" in app.code[1].value


@pytest.mark.slow
def test_a_missing_criterion_is_reported():
    app = page(methods=[])
    assert "Select at least one criterion" in said(app.warning)
    assert next(button for button in app.button if button.label == "Evaluate curves").disabled


@pytest.mark.slow
def test_other_alphas_work_without_hies_and_a_wrong_one_is_reported():
    app = page(methods=["his"])
    assert not app.exception
    app.multiselect(key="more_alphas").set_value(["0.25", "1"]).run()
    app = drawn(app)
    assert list(dict.fromkeys(app.session_state["curves"].curves.frame.method)) == ["hies@0.25", "hies@1", "his"]
    app = page(methods=["his"], more_alphas=["much"])
    assert "Alpha in 'hies@much' must be between 0 and 1, as in hies@0.25, got 'much'" in said(app.error)


@pytest.mark.slow
def test_a_custom_ranking_is_used_and_one_of_other_heads_is_refused():
    app = finished(page())
    order = np.arange(72.0)[::-1].reshape(6, 12)
    short = pd.DataFrame(order[:, :10]).to_csv(header=False, index=False)
    app.file_uploader(key="own_file").set_value(("short.csv", short.encode(), "text/csv")).run()
    assert "short.csv: the ranking must have 6 rows x 12 heads, got a matrix of 6 x 10" in said(app.error)
    assert "custom" not in app.session_state
    whole = pd.DataFrame(order).to_csv(header=False, index=False)
    app.file_uploader(key="own_file").set_value(("order.csv", whole.encode(), "text/csv")).run()
    assert not app.error
    app = drawn(app)
    line = app.session_state["curves"].curves.frame.query("method == 'custom'")
    assert line.heads_pruned.tolist() == [0, 14, 29]
    assert "read_ranking('order.csv', model.grid)" in app.code[0].value


@pytest.mark.slow
def test_calibration_examples_in_the_evaluation_set_are_reported():
    app = drawn(page(lambda work: replace(work, evaluation=work.calibration)))
    assert "9 of 9 evaluation examples are also in the calibration set" in said(app.warning)
    assert "none of them in the calibration set" not in said(app.main.caption)


@pytest.mark.slow
def test_a_single_label_is_reported():
    app = drawn(page(uploaded(LONG, ["positive"] * 12)))
    assert "All evaluation examples have the same label (positive)" in said(app.warning)


@pytest.mark.slow
def test_without_labels_the_curves_show_agreement():
    app = drawn(page(uploaded(LONG)))
    assert "The dataset has no labels, so the plot shows agreement" in said(app.info)
    frame = app.session_state["curves"].curves.frame
    assert frame.accuracy.isna().all()
    assert frame.agreement[frame.sparsity == 0].eq(1).all()


def test_a_missing_evaluation_set_is_reported():
    app = opened("model_and_data")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.switch_page("pages/views/accuracy.py").run()
    assert not app.exception
    assert "No evaluation set" in said(app.warning)


@pytest.mark.slow
def test_another_precision_reports_its_agreement_with_float32():
    app = drawn(page(curve_precision="bfloat16"))
    assert "Precision bfloat16; predictions match float32 on" in said(app.main.caption)


@pytest.mark.slow
def test_examples_of_the_leave_one_out_ranking_are_excluded():
    app = opened("model_and_data")
    work = app.session_state["work"]
    few = work.evaluation.select(range(2))
    app.session_state["ablation"] = AblationResult(work.key, 2, True, leave_one_out(work.model, few))
    for name, value in (SMALL | {"methods": ["leave_one_out"], "evaluation_size_958": 5}).items():
        app.session_state[name] = value
    app.switch_page("pages/views/accuracy.py").run()
    app = drawn(app)
    assert app.session_state["curves"].request.start == 2
    assert "Excludes the 2 examples used for the leave-one-out ranking" in said(app.main.caption)


@pytest.mark.slow
def test_no_run_starts_by_itself_and_the_published_curves_are_shown():
    app = opened("accuracy")
    assert not app.get("progress")
    assert "curves" not in app.session_state
    captions = said(app.main.caption)
    assert "Published run of the built-in model: 960 evaluation examples, 20 random rankings" in captions
    assert "Comparison with random pruning" in [heading.value for heading in app.header]
    assert not app.info


@pytest.mark.slow
def test_published_curves_belong_to_the_built_in_model_and_default_scoring_only():
    app = opened("model_and_data")
    app.session_state["work"] = app.session_state["work"].reduced_by("token")
    app.switch_page("pages/views/accuracy.py").run()
    assert "Published run" not in said(app.main.caption)
    assert "No results yet. Choose criteria and click **Evaluate curves**." in said(app.info)


@pytest.mark.slow
def test_few_random_rankings_decide_nothing_and_the_default_is_twenty():
    app = drawn(page())
    assert app.slider(key="n_random").value == 2
    assert ":material/check_circle:" not in said(app.main.markdown)
    frame = app.session_state["curves"].curves.frame
    random = frame[frame.method == "random"].assign(accuracy=0.5)
    best = frame[frame.method == "his"].assign(accuracy=0.9)
    (line,) = verdict_lines(pd.concat([best, random]))
    assert line.startswith(":material/help: **HIS**: Above all 2 random rankings: too few to tell")
    many = [random[random.seed == 0].assign(seed=seed) for seed in range(19)]
    (line,) = verdict_lines(pd.concat([best, *many]))
    assert line.startswith(":material/check_circle: **HIS**: Better than random")
    assert opened("accuracy").slider(key="n_random").value == 20


@pytest.mark.slow
def test_the_form_keeps_its_settings_and_the_result_states_its_request():
    app = drawn(page())
    app.slider(key="n_random").set_value(3).run()
    assert "2 random rankings. The settings above have changed; click **Evaluate curves**" in said(app.main.caption)
    app.switch_page("pages/views/alpha.py").run()
    app.switch_page("pages/views/accuracy.py").run()
    assert (app.slider(key="n_random").value, app.slider(key="most").value) == (3, 40)


@pytest.mark.slow
def test_after_cancel_one_statement_says_how_much_is_done_and_resumes():
    app = page(evaluation_size_960=960)
    button = next(button for button in app.button if button.label == "Evaluate curves")
    button.click().run()
    deadline = time.monotonic() + PATIENCE
    while app.session_state["curves"].measured == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
    app.button(key="cancel_curves").click().run()
    app = finished(app)
    done = app.session_state["curves"].measured
    statement = f"The run was cancelled after {done} of 960 examples."
    assert [text.value for text in app.main.markdown if "cancelled" in text.value] == [statement]
    assert "cancelled" not in said(app.main.caption)
    assert not app.info
    resume = app.button(key="resume_curves")
    assert resume.label == f"Resume ({done} of 960 examples)"
    resume.click().run()
    assert app.session_state["curves"].request.size == 960
    app.button(key="cancel_curves").click().run()
    finished(app)


@pytest.mark.slow
def test_a_run_cancelled_before_its_first_batch_is_not_called_no_results_yet():
    from pages.parts.common.server_cache import shared

    app = page(lambda work: work.reduced_by("token"))
    with shared().turns.hold(lambda *report: None):  # the job waits
        next(button for button in app.button if button.label == "Evaluate curves").click().run()
        app.button(key="cancel_curves").click().run()
        app = finished(app)
    assert "The run was cancelled after 0 of 9 examples." in said(app.main.markdown)
    assert app.button(key="resume_curves").label == "Resume (0 of 9 examples)"
    assert not app.info
