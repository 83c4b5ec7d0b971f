"""The head inspector, the drawer of the selection, and the page of one text."""

import numpy as np
import pytest
from helpers.apptest import finished, forget_inspections, opened, said

import headprune_core as hp
from headprune_core.measure.ranking_agreement import resampled_rankings

pytestmark = pytest.mark.slow
TEXT = "The flight was late, but the crew was wonderful."


@pytest.fixture(scope="module")
def app():
    forget_inspections()
    return opened("inspector")


def on(app, view, *heads, text=TEXT):
    """The app on a page with a selection and a text."""
    app.session_state["set_heads"], app.session_state["set_text"] = heads, text
    return app.switch_page(f"pages/views/{view}.py").run()


def button(app, label):
    return next(button for button in app.button if button.label == label)


def press(app, label):
    return finished(button(app, label).click().run())


def test_without_a_selection_the_inspector_says_what_to_do(app):
    on(app, "inspector")
    assert "No head is selected. Choose a layer and a head above" in said(app.info)
    app.selectbox(key="row inspector").set_value(3).run()
    app.selectbox(key="head inspector").set_value(7).run()
    assert app.session_state["set_heads"] == ((3, 7),)
    assert app.query_params["heads"] == "3.7"
    assert "Layer 3, head 7" in [heading.value for heading in app.header]


def test_the_steps_run_through_all_heads_in_a_circle(app):
    on(app, "inspector", (5, 11))
    button(app, "Next head").click().run()
    assert app.session_state["set_heads"] == ((0, 0),)
    button(app, "Previous head").click().run()
    assert app.session_state["set_heads"] == ((5, 11),)


def test_traits_give_the_role_and_its_evidence(app):
    on(app, "inspector", (4, 9))
    press(app, "Compute head traits")
    work = app.session_state["work"]
    role = hp.head_traits(work.model, work.calibration).roles().set_index(["row", "head"]).loc[4, 9]
    assert role.evidence.split(";")[0] in said(app.main.markdown)
    table = next(table.value for table in app.table if "Lift (pp)" in table.value)
    first = hp.head_traits(work.model, work.calibration).mean("first")[4, 9]
    assert table.loc["Attention on the first token", "Value"] == f"{first:.1%}"
    app.switch_page("pages/views/alpha.py").run()
    assert role.evidence.split(";")[0] in said(app.main.markdown)  # in the drawer


def test_the_effect_of_masking_is_measured_for_one_head_and_for_several_together(app, monkeypatch):
    from pages.parts.heads import effect_section

    monkeypatch.setattr(effect_section, "MOST_EXAMPLES", 24)
    on(app, "inspector", (4, 9))
    press(app, "Measure effect")
    work = app.session_state["work"]
    examples = work.evaluation.select(range(24))
    for line in hp.masking_effect(work.model, examples, [(4, 9)]).describe():
        assert line in said(app.main.markdown)
    dial = hp.gate_dial(work.model, work.calibration, 4, 9).losses.mean(1)
    assert f"the mean loss changes by {dial[-1] - dial[0]:+.4f}" in said(app.main.caption)
    heads = ((4, 9), (2, 2), (1, 0), (5, 5), (3, 1))
    on(app, "inspector", *heads)
    assert "The effect is not measured yet" in said(app.info)
    press(app, "Measure effect")
    for line in hp.masking_effect(work.model, examples, heads).describe():
        assert line in said(app.main.markdown)
    assert "The first 4 are drawn side by side" in said(app.main.caption)


def test_the_nearest_heads_are_those_of_the_engine_and_one_click_compares(app):
    on(app, "inspector", (4, 9))
    press(app, "Compare heads")
    work = app.session_state["work"]
    nearest = hp.head_distances(work.model, work.calibration.select(range(8))).nearest(4, 9)
    table = next(table.value for table in app.table if "Distance" in table.value)
    assert list(table.index) == [f"{row}.{head}" for row, head in zip(nearest.row, nearest["head"], strict=True)]
    assert list(table["Distance"]) == [f"{value:.3f}" for value in nearest.distance]
    first = (int(nearest.row[0]), int(nearest["head"][0]))
    button(app, f"Compare with head {first[0]}.{first[1]}").click().run()
    assert app.session_state["set_heads"] == ((4, 9), first)


def test_selected_heads_are_kept_or_pruned_on_every_page(app):
    on(app, "head_scores", (4, 9), (1, 2))
    button(app, "Prune these").click().run()
    assert app.session_state["set_overrides"] == "r4.9,r1.2"
    on(app, "head_scores", (1, 2))
    button(app, "Keep these").click().run()
    assert app.session_state["set_overrides"] == "k1.2,r4.9"
    assert "Set to Always keep: 1.2." in said(app.toast)
    on(app, "inspector", (4, 9))
    assert "it is set to Always prune." in said(app.main.markdown)
    button(app, "Clear selection").click().run()
    assert app.session_state["set_heads"] == ()
    assert "heads" not in app.query_params
    app.session_state["set_overrides"] = ""


def test_one_text_shows_the_prediction_under_the_mask_and_without_the_selection(app):
    on(app, "one_text", (1, 2), (0, 5))
    finished(app)
    model, scores = app.session_state["work"].model, app.session_state["work"].scores
    masks = np.ones((3, 6, 12), bool)
    masks[1] = hp.prune_mask(scores.hies(0.5), 0.3)
    masks[2][[1, 0], [2, 5]] = False
    found = hp.predict_text(model, TEXT, masks)
    for metric, label, decision, values in zip(
        app.metric, ("All heads", "Current mask", "Without 2 heads"), found.decisions, found.values[:, 0], strict=True
    ):
        assert metric.label == label
        assert (metric.value, metric.delta) == (decision[0], f"{values.max():.1%}")
    shares = hp.head_shares(model, TEXT)
    assert bool(shares.flips.any()) != ("No single head changes the prediction." in said(app.main.markdown))


@pytest.mark.filterwarnings("ignore::headprune_core.HeadPruneWarning")  # the page says that the text is truncated
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("   ", "Enter a text, or choose an example."),
        ("word " * 700, "was cut off"),
        ("[SEP]", "special tokens only"),
        ("שלום עולם 😀 مرحبا", "positive"),
    ],
)
def test_texts_of_all_kinds_are_answered_in_a_sentence(app, text, sentence):
    on(app, "one_text", text=text)
    finished(app)
    assert not app.exception
    shown = said(app.main.markdown) + said(app.main.caption) + said(app.info) + " ".join(m.value for m in app.metric)
    assert sentence in shown or sentence == "positive"
    on(app, "inspector", (0, 0), text=text)
    assert not app.exception


def test_a_text_too_long_for_a_url_is_kept_in_the_session_only(app):
    on(app, "one_text")
    app.text_area(key="text_box").set_value("word " * 600).run()
    assert "The URL does not contain this text" in said(app.main.caption)
    assert "text" not in app.query_params
    app.text_area(key="text_box").set_value("short").run()
    assert app.query_params["text"] == "short"


def test_an_example_is_chosen_by_the_importance_of_the_head(app):
    on(app, "inspector", (4, 9))
    app.select_slider(key="decile").set_value(10).run()
    work = app.session_state["work"]
    his = work.scores.per_example["his"][:, 4, 9]
    offered = app.selectbox(key="example_number 10").options
    top = np.array_split(np.argsort(his, kind="stable"), 10)[9]
    assert [int(option.split(":")[0]) for option in offered] == top.tolist()
    button(app, "Use example").click().run()
    assert app.session_state["set_text"] == work.calibration[int(top[0])]["text"]


def test_every_place_in_the_pruning_order_has_an_interval(app):
    on(app, "inspector", (4, 9))
    scores = app.session_state["work"].scores
    table = next(table.value for table in app.table if "95% CI of the place" in table.value)
    drawn = resampled_rankings(scores, alpha=0.5)["his"].reshape(-1, 72)
    own = drawn[:, [4 * 12 + 9]]
    before = (drawn < own).sum(1) + 1  # no ties
    low, high = np.quantile(before, [0.025, 0.975])
    assert table.loc["HIS", "95% CI of the place"] == f"{low:.0f} to {high:.0f}"
