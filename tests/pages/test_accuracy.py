"""The page of the curves: from its form to the verdicts, and what it says where something cannot be had."""

from dataclasses import replace

import numpy as np
import pandas as pd
from helpers.apptest import finished, opened

from headprune_core import leave_one_out
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, load
from pages.parts.uncertainty.ablation_run import AblationResult

SMALL = {"methods": ["his", "random"], "step": "20", "most": 40, "n_random": 2, "evaluation_size_960": 9}
LONG = [f"the flight number {i} was {'lovely' if i % 2 else 'late'}" for i in range(12)]


def page(work=None, **settings):
    """The page with a small form, and curves of it drawn; `work` takes the place of what is loaded."""
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
    """The page after its curves were asked for and have come."""
    app = finished(app)
    button = next(button for button in app.button if button.label == "Draw the curves")
    button.click().run()
    return finished(app)


def said(elements) -> str:
    return " ".join(element.value for element in elements)


def uploaded(texts, labels=None):
    table = pd.DataFrame({"text": texts} | ({} if labels is None else {"label": labels}))
    return lambda _: load(Request(text="mine", table=table, size=4), ServerState(), lambda *_: None)


def test_from_the_form_to_the_verdicts():
    app = drawn(page())
    assert "Better than random?" in [heading.value for heading in app.subheader]
    assert "9 texts to test, none of them used for the scores" in said(app.main.caption)
    frame = app.session_state["curves"].curves.frame
    assert sorted(set(frame.sparsity)) == [0.0, 0.2, 0.4]
    assert len(frame) == 3 * (1 + 2)
    assert "measure_curves(" in app.code[0].value
    assert "headprune_core curves" in app.code[1].value


def test_no_criterion_is_told():
    app = page(methods=[])
    assert "Choose at least one criterion" in said(app.warning)
    assert next(button for button in app.button if button.label == "Draw the curves").disabled


def test_without_hies_other_alphas_can_be_had_and_what_is_none_is_told():
    app = page(methods=["his"])
    assert not app.exception
    app.multiselect(key="more_alphas").set_value(["0.25", "1"]).run()
    app = drawn(app)
    assert list(dict.fromkeys(app.session_state["curves"].curves.frame.method)) == ["hies@0.25", "hies@1", "his"]
    app = page(methods=["his"], more_alphas=["much"])
    assert "'hies@much' has alpha 'much'; expected a number from 0 to 1" in said(app.error)


def test_a_ranking_of_ones_own_is_taken_and_one_of_other_heads_is_refused():
    app = finished(page())
    order = np.arange(72.0)[::-1].reshape(6, 12)
    short = pd.DataFrame(order[:, :10]).to_csv(header=False, index=False)
    app.file_uploader(key="own_file").set_value(("short.csv", short.encode(), "text/csv")).run()
    assert "short.csv: the ranking is a matrix of 6 x 10; expected 6 rows x 12 heads" in said(app.error)
    assert "custom" not in app.session_state
    whole = pd.DataFrame(order).to_csv(header=False, index=False)
    app.file_uploader(key="own_file").set_value(("order.csv", whole.encode(), "text/csv")).run()
    assert not app.error
    app = drawn(app)
    line = app.session_state["curves"].curves.frame.query("method == 'own'")
    assert line.heads_pruned.tolist() == [0, 14, 29]
    assert "read_ranking('order.csv', model.grid)" in app.code[0].value


def test_texts_that_gave_the_scores_are_told():
    app = drawn(page(lambda work: replace(work, evaluation=work.calibration)))
    assert "9 of the 9 texts gave the scores too" in said(app.warning)
    assert "none of them used for the scores" not in said(app.main.caption)


def test_one_label_alone_is_told():
    app = drawn(page(uploaded(LONG, ["positive"] * 12)))
    assert "All of these texts have one label (positive)" in said(app.warning)


def test_without_labels_agreement_is_judged():
    app = drawn(page(uploaded(LONG)))
    assert "The text has no labels: agreement is shown" in said(app.info)
    frame = app.session_state["curves"].curves.frame
    assert frame.accuracy.isna().all()
    assert frame.agreement[frame.sparsity == 0].eq(1).all()


def test_one_text_leaves_nothing_to_test_on():
    app = opened("model_and_data")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.switch_page("pages/views/accuracy.py").run()
    assert not app.exception
    assert "There are no texts left to test on" in said(app.warning)


def test_another_precision_says_how_often_it_decides_alike():
    app = drawn(page(curve_precision="bfloat16"))
    assert "In bfloat16, in which it decides as in float32 on" in said(app.main.caption)


def test_texts_that_heads_were_left_out_on_are_not_tested_on():
    app = opened("model_and_data")
    work = app.session_state["work"]
    few = work.evaluation.select(range(2))
    app.session_state["ablation"] = AblationResult(work.key, 2, True, leave_one_out(work.model, few))
    for name, value in (SMALL | {"methods": ["leave_one_out"], "evaluation_size_958": 5}).items():
        app.session_state[name] = value
    app.switch_page("pages/views/accuracy.py").run()
    app = drawn(app)
    assert app.session_state["curves"].request.start == 2
    assert "The 2 texts that Leave one out was ranked on are not among them" in said(app.main.caption)
