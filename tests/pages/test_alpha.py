"""The pages Alpha and Choice of alpha: effect, constraints, pinned masks, evaluation of all masks, and recommendation."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.apptest import finished, opened, said

import headprune_core as hp
from pages.parts.alpha_grid import ManualOverrides


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    return finished(app)


def scores_of(app):
    return app.session_state["work"].scores


@pytest.fixture(scope="module")
def choice():
    """Choice of alpha with all masks evaluated on a few examples."""
    app = opened("model_and_data", sparsity="0.5")
    for name, value in {"choice_size": 9, "choice_seeds": 2}.items():
        app.session_state[name] = value
    app.switch_page("pages/views/alpha_choice.py").run()
    assert "Click **Evaluate all masks**" in said(app.info)
    return press(app, "Evaluate all masks")


def test_the_mask_is_compared_with_both_ends_of_alpha():
    app = opened("alpha", alpha="0.5", sparsity="0.3")
    scores = scores_of(app)
    mask, his, ae = (hp.prune_mask(scores.hies(alpha), 0.3) for alpha in (0.5, 1.0, 0.0))
    for end in (his, ae):
        kept = ", ".join(f"{row}.{head}" for row, head in np.argwhere(mask & ~end))
        assert f"only (layer.head): {kept}" in said(app.main.markdown)
    path = hp.alpha_path(scores.his, scores.ae, 0.3)
    masks = len(hp.distinct_masks(path)[0])
    assert f"{len(path)} intervals with {masks} distinct masks" in said(app.main.caption)
    assert f"{int((hp.keep_fraction(path) == 1).sum())} of 72 heads are kept at every alpha" in said(app.main.caption)


@pytest.mark.slow
def test_constraints_are_restored_by_a_link_and_applied():
    app = opened("alpha", sparsity="0.4", min_heads="8", normalize="global", overrides="k0.0,r5.11")
    scores = scores_of(app)
    protect, remove = ManualOverrides.parse("k0.0,r5.11").arrays(scores.grid.shape)
    hies = scores.hies(0.5, normalize="global")
    assert "Cannot prune 29 heads: the constraints allow only" in said(app.error)
    app = opened("alpha", sparsity="0.3", min_heads="8", normalize="global", overrides="k0.0,r5.11")
    mask = hp.prune_mask(hies, 0.3, min_heads_per_layer=8, protect=protect, remove=remove)
    removed = ~mask
    assert removed.sum(1).max() == 4
    assert f"It prunes {removed.sum()} heads" in said(app.main.caption)
    assert "scaled globally, at least 8 heads per layer, 1 head set to Always keep" in said(app.main.caption)


@pytest.mark.slow
def test_rules_are_set_by_widgets_and_kept_in_the_link():
    app = opened("alpha")
    app.slider(key="rule_least").set_value(3).run()
    app.toggle(key="rule_even").set_value(True).run()
    assert not app.exception
    assert app.query_params["min_heads"] == "3"
    assert app.query_params["uniform"] == "yes"
    assert "uniform sparsity per layer" in said(app.main.caption)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bad"), [("min_heads", "-1"), ("uniform", "maybe"), ("overrides", "k0.x"), ("overrides", "k0.1,r0.1")]
)
def test_a_bad_constraint_in_the_url_is_named_and_replaced(name, bad):
    app = opened("alpha", **{name: bad})
    assert not app.exception
    assert app.link_toasts[0].startswith(f"Ignored in the URL: {name} (")


def test_heads_that_are_not_there_are_left_out_of_the_edits():
    app = opened("alpha", overrides="k40.3,r0.0")
    assert not app.exception
    assert "1 head set to Always prune" in said(app.main.caption)
    assert "Always keep" not in said(app.main.caption)


@pytest.mark.slow
def test_two_pins_side_by_side():
    app = opened("model_and_data", alpha="0.9", sparsity="0.5")
    work = app.session_state["work"]
    few = work.evaluation.select(range(48))
    app.session_state["work"] = replace(work, evaluation=few)
    app.switch_page("pages/views/alpha.py").run()
    app.button(key="pin_A").click().run()
    assert "pin the mask as B to compare" in said(app.main.caption)
    app.session_state["set_alpha"] = 0.1
    app.run()
    app.button(key="pin_B").click().run()
    scores = scores_of(app)
    a, b = (hp.prune_mask(scores.hies(alpha), 0.5) for alpha in (0.9, 0.1))
    jaccard = (~a & ~b).sum() / (~a | ~b).sum()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Overlap of pruned heads"] == f"{jaccard:.2f}"
    assert metrics["Mask A"] == "not evaluated"
    app = press(app, "Evaluate both masks")
    found = hp.evaluate_masks(work.model, few, [a, b])
    metrics = {metric.label: metric.value for metric in app.metric}
    assert [metrics["Mask A"], metrics["Mask B"]] == [f"{value:.1%}" for value in found.accuracy]
    only_a, only_b = (int((found.right[i] > found.right[1 - i]).sum()) for i in (0, 1))
    assert f"A is correct and B wrong on {only_a} of 48 examples; the reverse on {only_b}." in said(app.main.markdown)


@pytest.mark.slow
def test_every_mask_is_measured_and_a_verdict_given(choice):
    found = choice.session_state["alpha_result"].found
    scores = scores_of(choice)
    assert len(found.path) == len(hp.alpha_path(scores.his, scores.ae, 0.5))
    chosen = hp.recommend_alpha(found)
    assert f"**{chosen.verdict}**" in [text.value for text in choice.main.markdown]
    assert "Evaluated on 9 of 9 examples" in said(choice.main.caption)
    choice.button(key="take_alpha").click().run()
    assert choice.session_state["set_alpha"] == chosen.advised_alpha
    choice.segmented_control(key="choice_by").set_value("agreement").run()
    verdict = hp.recommend_alpha(found, by="agreement").verdict
    assert f"**{verdict}**" in [text.value for text in choice.main.markdown]


@pytest.mark.slow
def test_the_quick_search_states_its_cost(choice):
    app = press(choice, "Run quick search")
    found = app.session_state["alpha_search"][1]
    assert f"at {found.share:.0%} of the cost of the full search" in said(app.main.markdown)


@pytest.mark.slow
def test_a_budget_of_accuracy_is_followed_and_its_sparsity_taken(choice):
    choice.slider(key="budget_points").set_value(10.0).run()
    app = press(choice, "Find maximum sparsity")
    found = app.session_state["accuracy_budget"][2]
    assert f"**{found.heads_removed} of 72 heads** can be pruned with a drop of at most 10 pp" in said(app.main.markdown)
    app.button(key="take_sparsity").click().run()
    assert app.session_state["set_sparsity"] == found.sparsity
    assert "No results for this sparsity" in said(app.info)


@pytest.mark.slow
def test_without_an_evaluation_set_nothing_is_evaluated():
    app = opened("model_and_data")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.switch_page("pages/views/alpha_choice.py").run()
    assert not app.exception
    assert "No evaluation set" in said(app.warning)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", ["0", "1"])
def test_alpha_has_no_effect_at_sparsity_0_and_1(sparsity):
    app = opened("alpha", sparsity=sparsity)
    assert "At this sparsity, the mask is the same for every alpha." in said(app.main.caption)
    for name, value in {"choice_size": 6, "choice_seeds": 0}.items():
        app.session_state[name] = value
    app.switch_page("pages/views/alpha_choice.py").run()
    app = press(app, "Evaluate all masks")
    assert "**Alpha has no effect: every alpha gives the same mask.**" in [text.value for text in app.main.markdown]


@pytest.mark.slow
def test_more_heads_to_keep_than_there_are_is_all_of_them():
    app = opened("alpha", min_heads="500")
    assert not app.exception
    assert "at least 12 kept in every row" in said(app.error)


def test_conflicting_constraints_are_an_error():
    app = opened("alpha_choice", sparsity="0.9", min_heads="10")
    assert not app.exception
    assert "the constraints allow only 12 of 72" in said(app.error)


@pytest.mark.parametrize("edits", [ManualOverrides(), ManualOverrides(((0, 1), (5, 11)), ((3, 3),))])
def test_edits_survive_a_link(edits):
    assert ManualOverrides.parse(str(edits)) == edits
