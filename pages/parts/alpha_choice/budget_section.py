"""The maximum sparsity that an accuracy budget allows."""

import streamlit as st

from pages.parts.common.labels import CI
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .alpha_run import AlphaRequest, start_budget
from .path_section import use
from .surface_section import same_request


def budget_section(loaded: Workspace, request: AlphaRequest, *, busy: bool) -> None:
    """Draw the form of the budget, and its result if there is one for this request."""
    st.header("Maximum sparsity for an accuracy budget")
    points = st.slider(
        "Maximum accuracy drop (percentage points)",
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
    st.markdown(
        f"Ranked by HIES (α = {alpha:.3g}), **{end.heads_removed} of {end.mask.size} heads** can be pruned with a drop of "
        f"at most {end.max_drop_pp:g} pp: {end.measure} {end.accuracy:.1%} ({CI} {end.accuracy_low:.1%} to "
        f"{end.accuracy_high:.1%}, n = {made.size}) vs. {end.unpruned:.1%} unpruned; {limit}."
    )
    if st.button(f"Use sparsity {end.sparsity:.1%}", key="take_sparsity", icon=":material/check:"):
        use("sparsity", end.sparsity)
