"""The head finder and the free axes: the table of heads, what the finder finds, roles, and the selection."""

import numpy as np
import pandas as pd
import pytest
from helpers.apptest import finished, forget_inspections, opened, said

import headprune_core as hp
from headprune_core.figures.traits.head_scatter import Axes
from headprune_core.figures.traits.role_style import ROLE_TITLES
from pages.parts.common.server_cache import shared
from pages.parts.finder.axes_section import relation
from pages.parts.finder.find_section import find
from pages.parts.uncertainty.ablation_run import AblationResult

FRAME = pd.DataFrame(
    {
        "row": [0, 0, 1, 1],
        "head": [0, 1, 0, 1],
        "his": [3.0, 1.0, np.nan, 2.0],
        "role": ["Mixed", "Broad", "Mixed", "Mixed"],
    }
)


def places(found):
    return list(zip(found["row"], found["head"], strict=True))


def test_the_finder_sorts_and_filters_and_leaves_out_unknown_values():
    assert places(find(FRAME, "his", False, 2)) == [(0, 0), (1, 1)]
    assert places(find(FRAME, "his", True, 9)) == [(0, 1), (1, 1), (0, 0)]
    assert places(find(FRAME, "his", True, 9, [1])) == [(1, 1)]
    assert places(find(FRAME, "his", True, 9, [], ["Mixed"])) == [(1, 1), (0, 0)]
    assert places(find(FRAME, "his", True, 9, [0], ["Mixed"])) == [(0, 0)]
    assert places(find(FRAME, "his", True, 9, [1], ["Broad"])) == []


def test_the_relation_of_two_columns_is_in_words():
    labels = {"his": "HIS", "ae": "AE", "role": "Role"}
    frame = FRAME.assign(ae=[1.0, 0.5, 0.0, 0.8])
    assert relation(frame, Axes("his", "ae"), labels).startswith("AE against HIS: Pearson r = 0.99 (95% CI ")
    assert relation(frame, Axes("his", "role"), labels) == "Mean of HIS by Role: Mixed 2.5 (n = 2), Broad 1 (n = 1)."
    assert relation(frame, Axes("role", "his"), labels) == relation(frame, Axes("his", "role"), labels)
    assert relation(frame, Axes("ae", "ae"), labels) == "Both axes show the same column."
    text = relation(frame.assign(kind=FRAME.role), Axes("role", "kind"), labels | {"kind": "Kind"})
    assert text == "Kind against Role: both are categories, so there is no correlation."


def key_of(elements, key):
    return next(element for element in elements if element.key == key)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["orthogonality", "finder"])
def test_traits_appear_after_a_click(view):
    forget_inspections()
    app = opened(view)
    assert "need the traits of the heads. Click **Compute head traits**." in said(app.info)
    names = key_of(app.selectbox, "axis_x" if view == "orthogonality" else "finder_column").options
    assert {"HIS (nats)", "AE (nats)", "Gnorm", "Kept over alpha (% of α range)"} <= set(names)
    assert "Attention on the previous token" not in names
    key_of(app.button, "compute_traits").click().run()
    app = finished(app)
    assert "need the traits" not in said(app.info)
    names = key_of(app.selectbox, "axis_x" if view == "orthogonality" else "finder_column").options
    assert {"Attention on the previous token", "Output norm (× layer mean)"} <= set(names)
    assert ("Roles" in [header.value for header in app.header]) == (view == "finder")


def with_traits(view, **link):
    app = opened(view, **link)
    loaded = app.session_state["work"]
    found = shared().traits.get(
        loaded.run_key, lambda: hp.head_traits(loaded.model, loaded.calibration, dtype="float32"), lambda *_: None
    )
    app.run()
    return app, loaded, found


@pytest.mark.slow
def test_the_finder_lists_and_selects_the_heads_of_a_role():
    app, _, found = with_traits("finder", role_threshold="0.3")
    table = found.roles(0.3)
    key_of(app.multiselect, "finder_roles").set_value(["Within 3 positions"]).run()
    key_of(app.selectbox, "finder_column").set_value("local").run()
    key_of(app.segmented_control, "finder_direction").set_value("lowest").run()
    key_of(app.number_input, "finder_count").set_value(3).run()
    local = table[table.primary == "local"]
    expected = local.assign(share=found.mean("local")[local["row"], local["head"]]).sort_values("share").head(3)
    assert places(app.main.dataframe[0].value) == places(expected)
    key_of(app.button, "finder_select").click().run()
    assert app.session_state["set_heads"] == tuple(places(expected))
    assert app.query_params["heads"] == ",".join(f"{row}.{head}" for row, head in places(expected))
    key_of(app.multiselect, "finder_roles").set_value(["Previous token"]).run()
    key_of(app.button, "finder_add").click().run()
    assert app.session_state["set_heads"][3:] == ((0, 2),)
    key_of(app.multiselect, "finder_layers").set_value([5]).run()
    assert "No head matches. Remove a filter." in said(app.info)
    assert not app.exception


@pytest.mark.slow
def test_the_threshold_changes_the_roles_and_is_kept_in_the_url():
    app, _, found = with_traits("finder")
    assert "role_threshold" not in app.query_params
    for percent in (25, 60):
        key_of(app.slider, "role_threshold_percent").set_value(percent).run()
        roles = found.roles(percent / 100).primary
        named = (~roles.isin(["mixed", "broad"])).sum()
        assert f"{named} of 72 heads have a role: " in said(app.main.markdown)
        assert f"Single token (sink) {(roles == 'sink').sum()}" in said(app.main.markdown)
        share = found.label_stability(percent / 100)
        assert f"**{share:.0%} of the heads keep their role**" in said(app.main.markdown)
    assert app.query_params["role_threshold"] == "0.6"


@pytest.mark.slow
def test_leave_one_out_is_compared_by_role_and_joins_the_table():
    app, loaded, found = with_traits("finder")
    assert "No ablation results yet. Open **Uncertainty** and click **Run leave-one-out**." in said(app.info)
    changes = np.random.default_rng(0).normal(size=(2, 6, 12))
    run = hp.LeaveOneOut(loaded.model.grid, changes, changes[0], 1.0, "loss")
    app.session_state["ablation"] = AblationResult(loaded.key, 2, True, run)
    app.run()
    assert hp.role_ablation(run, found.roles()).verdict in said(app.info)
    assert "no better than random pruning (Budhraja et al. 2020)" in said(app.main.markdown)
    key_of(app.segmented_control, "role_measure").set_value("loss_change").run()
    assert hp.role_ablation(run, found.roles(), measure="loss_change").verdict in said(app.info)
    key_of(app.selectbox, "finder_column").set_value("loss_change").run()
    shown = app.main.dataframe[0].value
    assert places(shown.head(1)) == [np.unravel_index(run.loss_change.argmax(), (6, 12))]
    np.testing.assert_allclose(shown.abs_loss_change[0], run.abs_loss_change[places(shown)[0]])


@pytest.mark.slow
def test_axes_show_any_columns_and_the_verdict_stays():
    app, loaded, found = with_traits("orthogonality")
    assert "Nearly uncorrelated" in said(app.info)
    assert "Scaled AE (entropy, 0–1) against Scaled HIS (importance, 0–1): Pearson r = 0.11" in said(app.main.markdown)
    for axis, column in (("x", "entropy"), ("y", "gnorm"), ("color", "role"), ("size", "keep_fraction")):
        key_of(app.selectbox, f"axis_{axis}").set_value(column).run()
        assert not app.exception
    r = np.corrcoef(found.mean("entropy").ravel(), loaded.scores.gnorm.ravel())[0, 1]
    text = said(app.main.markdown)
    assert f"Gnorm against Normalized entropy (share of the maximum): Pearson r = {r:.2f} (95% CI " in text
    assert "Nearly uncorrelated" in said(app.info)
    key_of(app.selectbox, "axis_x").set_value("role").run()
    means = pd.Series(loaded.scores.gnorm.ravel()).groupby(found.roles().primary.map(ROLE_TITLES)).mean()
    assert f"Previous token {means['Previous token']:.3g} (n = 1)" in said(app.main.markdown)
