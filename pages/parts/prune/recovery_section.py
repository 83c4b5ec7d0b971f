"""A short fine-tune of the pruned model, on request, and what it gave."""

import streamlit as st

from headprune_core import estimate_recovery
from headprune_core.figures.pruned import describe_recovery, recovery_figure
from headprune_core.measure.paired_tests import mcnemar
from headprune_core.report.pruning_record import share
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import duration
from pages.parts.common.workspace import Workspace

from .prune_run import PruneResult, RecoverRequest, start_recovering

OBJECTIVES = {"labels": "The right answers", "teacher": "The whole model's answers"}


def recovery(loaded: Workspace, result: PruneResult) -> None:
    """A short fine-tune, and what it gave."""
    st.subheader("Can it recover?")
    labelled = loaded.labelled or loaded.model.task != "classification"
    there = [name for name in OBJECTIVES if name != "labels" or labelled]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = st.slider("Steps", 10, 400, 200, 10, key="recover_steps", help="Each learns from 32 texts")
        objective = st.segmented_control(
            "Learn from", there, default=there[0], required=True, format_func=OBJECTIVES.get, key="recover_from", wrap=True
        )
        if st.button("Recover", icon=":material/healing:", key="recover", disabled=runner().busy):
            start_recovering(loaded, result, RecoverRequest(steps, objective))
            st.rerun()
    if result.recovery is None:
        options = {"steps": steps, "objective": objective, "dtype": loaded.options.dtype}
        cost = estimate_recovery(result.pruned, loaded.calibration, **options)
        st.caption(
            "A short fine-tune lets the heads that are left take over what the others did. It learns from texts that "
            "accuracy is not measured on. This step is optional. "
            f"{steps} steps will take about {duration(cost.seconds)} and {cost.peak_bytes / 2**20:,.0f} MB."
        )
        return
    found = result.recovery
    told = describe_recovery(found)
    left, right = st.columns([2, 1], gap="large")
    left.plotly_chart(recovery_figure(found), alt=told, key="recovery_figure", config={"displaylogo": False})
    left.caption(f"{told} {found.steps} of {found.planned} steps, {found.seconds:.0f} s.")
    if found.before is None or found.after is None:
        return
    before, after = share(found.before), share(found.after)
    right.metric(
        f"{after.name.capitalize()} after recovery",
        f"{after.value:.1%}",
        f"{100 * (after.value - before.value):+.1f} points",
    )
    right.caption(f"Before recovery {before}, after it {after}.")
    if found.after.logits is not None:
        test = mcnemar(found.after.right[0].astype(bool), found.before.right[0].astype(bool))
        sure = "more" if test.p_value < 0.05 else "no more"
        right.caption(
            f"Difference {100 * test.difference:+.1f} points (95 % interval {100 * test.low:+.1f} to "
            f"{100 * test.high:+.1f}): {sure} than chance (exact McNemar, p {test.p_value:.2g})."
        )
