"""The maximum sparsity that an accuracy budget allows."""

import streamlit as st

from headprune_core.data.measures import SHARES, format_value, sentence_name
from headprune_core.data.tasks import task_of
from headprune_core.measure.paired_tests import method_text, significance_text
from headprune_core.report.data import difference_text
from pages.parts.common.labels import CI
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .alpha_run import AlphaRequest, start_budget
from .path_section import use
from .surface_section import same_request


def budget_section(loaded: Workspace, request: AlphaRequest, *, busy: bool) -> None:
    """Draw the form of the budget, and its result if there is one for this request."""
    task = task_of(loaded.model)
    st.header(
        "Maximum sparsity for an accuracy budget" if task.has_decisions else "Maximum sparsity for a correlation budget"
    )
    points = st.slider(
        "Maximum accuracy drop (percentage points)"
        if task.has_decisions
        else "Maximum drop of the correlation (hundredths)",
        0.0,
        10.0,
        1.0,
        0.5,
        format="%.1f",
        key="budget_points",
        persist_state="session",
    )
    if st.button("Find maximum sparsity", icon=":material/straighten:", key="find_budget", disabled=busy):
        start_budget(loaded, request, setting("alpha"), points)
        st.rerun()
    budget = st.session_state.get("accuracy_budget")
    if budget is None or not same_request(budget[0], request):
        st.caption(
            f"Prunes heads ranked by HIES (α = {setting('alpha'):.3g}) and evaluates each mask on {request.size} examples."
        )
        return
    made, alpha, end = budget
    limit = "pruning one more head exceeds the budget" if end.limited_by_accuracy else "the constraints allow no more"
    drop = f"{end.max_drop_pp:g} pp" if end.measure in SHARES else f"{end.max_drop_pp / 100:g}"
    ends = (end.accuracy, end.accuracy_low, end.accuracy_high, end.unpruned)
    value, low, high, unpruned = (format_value(end.measure, number) for number in ends)
    st.markdown(
        f"Ranked by HIES (α = {alpha:.3g}), **{end.heads_removed} of {end.mask.size} heads** can be pruned with a drop of "
        f"at most {drop}: {sentence_name(end.measure)} {value} ({CI} {low} to {high}, n = {made.size}) vs. {unpruned} "
        f"unpruned; {limit}. The paired difference is {difference_text(end.change, end.measure)}, "
        f"{significance_text(end.change)} ({method_text(end.change)})."
    )
    if st.button(f"Use sparsity {end.sparsity:.1%}", key="take_sparsity", icon=":material/check:"):
        use("sparsity", end.sparsity)
