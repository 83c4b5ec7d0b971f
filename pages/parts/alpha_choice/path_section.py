"""Accuracy of all masks along alpha, the recommendation that follows from it, and the result of the quick search."""

import numpy as np
import streamlit as st

from headprune_core import AlphaRecommendation, HalvingResult, recommend_alpha
from headprune_core.alpha_choice.alpha_text import describe_halving, describe_recommendation
from headprune_core.figures.alpha import alpha_steps, describe_alpha_steps
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.session import remember, setting

from .alpha_run import AlphaResult

BY = {
    "accuracy": "Accuracy",
    "agreement": "Agreement with unpruned model (no labels needed)",
    "pearson": "Pearson correlation with labels",
    "correlation": "Correlation with unpruned model (no labels needed)",
}
NAMES = {"alpha": "Alpha", "sparsity": "Sparsity"}


def use(name: str, value: float) -> None:
    """Set a shared setting on all pages, and rerun the whole page, because more of it than a fragment states the setting."""
    remember(name, value)
    st.session_state["choice_notice"] = f"{NAMES[name]} set to {value:.4g} on all pages"
    st.rerun(scope="app")


def show_notice() -> None:
    """Show, once, which setting was changed before the rerun."""
    if notice := st.session_state.pop("choice_notice", None):
        st.toast(notice, icon=":material/check:")


def path_result(result: AlphaResult, *, busy: bool) -> None:
    """Draw the accuracy over alpha so far; if no job runs, the recommendation too."""
    if result.found is None:
        if busy:
            st.caption("Evaluating the first batch…")
        return
    available = [by for by in result.found.choices if not np.isnan(result.found.measured(by).value).any()]
    if not available:
        st.caption("The correlation is undefined, because these examples have equal labels or outputs.")
        return
    by = available[0]
    if len(available) > 1:
        by = st.segmented_control(
            "Choose by",
            available,
            default=by,
            required=True,
            key="choice_by",
            format_func=BY.get,
            wrap=True,
            persist_state="session",
        )
    chosen = recommend_alpha(result.found, by=by)
    text = describe_alpha_steps(result.found, chosen)
    title = f"{BY.get(by, by).partition(' (')[0]} along alpha at {result.request.sparsity:.0%} sparsity"
    figure(alpha_steps(result.found, chosen), title, "alpha_steps", alt=text)
    st.caption(f"{text} Band: {labels.CI}. {describe_request(result)}")
    if not busy and result.complete:
        _recommendation(chosen, result.request.rules.scale)


def describe_request(result: AlphaResult) -> str:
    """State how much is evaluated, and with which settings."""
    made = result.request
    masks = f"{made.n_random} random mask{'s' * (made.n_random != 1)}"
    return f"Evaluated on {result.measured} of {made.size} examples at {made.sparsity:.0%} sparsity, with {masks}."


def _recommendation(chosen: AlphaRecommendation, scale: str) -> None:
    """The verdict with its evidence, and buttons whose emphasis follows the verdict."""
    st.header("Recommendation")
    st.markdown(f"**{chosen.verdict}**")
    if scale == "layer":
        st.caption(
            "Here “HIS only” means α = 1 with importance scaled within each layer. Unscaled HIS gives a different ranking; "
            "set the scaling on the Alpha page."
        )
    st.markdown("\n".join(f"- {line}" for line in describe_recommendation(chosen)[1:]))
    with st.container(horizontal=True, vertical_alignment="center"):
        his_only = chosen.advised_alpha == 1.0
        best = f"Use α = {chosen.alpha_text}"
        label = "Use HIS only (α = 1)" if his_only else best
        if st.button(label, type="primary", icon=":material/check:", key="take_alpha"):
            use("alpha", chosen.advised_alpha)
        if his_only and chosen.alpha != 1.0 and st.button(f"{best} anyway", type="tertiary", key="take_best_alpha"):
            use("alpha", chosen.alpha)
    st.caption(f"{labels.HIES_ALPHA} is {setting('alpha'):.3g} now.")


def search_result(search: HalvingResult, result: AlphaResult | None) -> None:
    """Describe the quick search, next to the full evaluation if that is complete."""
    complete = result is not None and result.complete
    gap = search.gap(result.found) if complete and result.found.measure == search.by else None
    st.markdown(describe_halving(search, gap))
    if result is None and st.button(f"Use α = {search.alpha:.3g}", key="take_search", icon=":material/bolt:"):
        use("alpha", search.alpha)
