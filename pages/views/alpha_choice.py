"""Which alpha: accuracy along the exact path, a choice that doubts itself, and how far a loss of accuracy lets one go."""

import numpy as np
import streamlit as st

from headprune_core import HeadPruneError, distinct_masks, recommend_alpha
from headprune_core.alpha_choice.alpha_text import describe_halving, describe_recommendation
from headprune_core.figures.alpha import alpha_steps, describe_alpha_steps, describe_surface, surface_heatmap
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.alpha.mask_constraints import rules
from pages.parts.alpha_choice.alpha_run import (
    SURFACE,
    AlphaRequest,
    AlphaResult,
    start_budget,
    start_path,
    start_search,
    start_surface,
)
from pages.parts.common.session import ALPHA, current_workspace, publish, remember, runner, setting
from pages.parts.common.shared_ui import downloads, page_header, progress_panel, records

PLAIN = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
BY = {"accuracy": "Right answers", "agreement": "Agreement, no labels needed"}
loaded = current_workspace()
grid, obeyed = loaded.model.grid, rules(loaded.model.grid)
publish(*ALPHA)

page_header("alpha_choice")
st.markdown(
    "Along alpha the mask changes at a few places only, so **every** mask can be measured: what you see is the whole curve, "
    "not a sample. The texts are not those of the scores."
)
if loaded.evaluation is None:
    st.warning(
        "There are no texts left to test on. Load at least two different texts under Model & text.",
        icon=":material/data_alert:",
    )
    st.stop()

there = len(loaded.evaluation)
with st.container(border=True):
    left, middle, right = st.columns(3)
    st.session_state["choice_sparsity"] = round(100 * setting("sparsity"))
    percent = left.slider(
        "Heads removed",
        0,
        100,
        format="%d %%",
        key="choice_sparsity",
        on_change=lambda: remember("sparsity", st.session_state["choice_sparsity"] / 100),
    )
    size = middle.slider("Texts to test on", 1, there, min(240, there), key="choice_size") if there > 1 else there
    n_random = right.slider("Random masks beside them", 0, 50, 20, key="choice_seeds")
    request = AlphaRequest(loaded.key, setting("sparsity"), obeyed, size, n_random)
    try:
        path = exact_path(loaded, request.sparsity, obeyed)
    except HeadPruneError as error:
        st.error(f"{str(error)[0].upper()}{str(error)[1:]}.", icon=":material/error:")
        st.stop()
    masks = len(distinct_masks(path)[0])
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Measure every mask", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
            start_path(loaded, request)
            st.rerun()
        if st.button("Quick search", icon=":material/bolt:", disabled=runner().busy, key="quick_search"):
            by = "accuracy" if "label" in loaded.evaluation.column_names else None
            start_search(loaded, request, by)
            st.rerun()
        told = obeyed.describe_options(grid)
        st.caption(
            f"{len(path)} intervals of alpha with {masks} different masks; each answers {size} texts. The quick search "
            f"drops the worse half after few texts. {told[0].upper() + told[1:] + '. ' if told else ''}Rules are set under "
            "Alpha."
        )
busy = runner().busy
if busy:
    progress_panel("choice")
result: AlphaResult | None = st.session_state.get("alpha_result")
result = result if result is not None and result.request == request else None
search = st.session_state.get("alpha_search")
search = search[1] if search is not None and search[0] == request else None


def take(name: str, value: float) -> None:
    remember(name, value)
    st.toast(f"{name} is now {value:.4g}, on every page", icon=":material/check:")


@st.fragment(run_every=1.0 if busy else None)
def steps() -> None:
    """The step function, redrawn while texts come in, and what is to be made of it."""
    found = result.found
    if found is None:
        st.caption("The first texts are on their way.")
        return
    ways = [by for by in BY if not np.isnan(getattr(found, by)).any()]
    by = ways[0]
    if len(ways) > 1:
        by = st.segmented_control("Judge by", ways, default=by, required=True, key="choice_by", format_func=BY.get)
    chosen = recommend_alpha(found, by=by)
    words = describe_alpha_steps(found, chosen)
    st.plotly_chart(alpha_steps(found, chosen), alt=words, key="alpha_steps", config=PLAIN)
    st.caption(f"{words} Measured on {found.right.shape[1]} of {request.size} texts.")
    if busy:
        return
    icon = ":material/check_circle:" if chosen.verdict.startswith("Choose") else ":material/balance:"
    st.subheader(chosen.verdict)
    if obeyed.scale == "layer":
        st.caption(
            "HIS alone is here the end of the mix, importance scaled within each layer. Raw HIS over the whole model is "
            "another order: set the scale under Alpha, or look at Accuracy vs sparsity."
        )
    st.markdown("\n".join(f"- {told}" for told in describe_recommendation(chosen)[1:]))
    st.button(f"Take alpha {chosen.alpha_text}", icon=icon, key="take_alpha", on_click=take, args=("alpha", chosen.alpha))


if result is None and search is None and not busy:
    st.info(
        "Nothing has been measured at this sparsity under these rules. Click **Measure every mask**.",
        icon=":material/ads_click:",
    )
if result is not None:
    with st.container():
        steps()
    if not busy and not result.complete:
        st.caption("This run was cut short: measured again, it goes on where it stopped.")
if search is not None and not busy:
    whole = result is not None and result.complete
    gap = search.gap(result.found) if whole and result.found.measure == search.by else None
    st.markdown(describe_halving(search, gap))
    if result is None:
        st.button(
            f"Take alpha {search.alpha:.3g}",
            key="take_search",
            icon=":material/bolt:",
            on_click=take,
            args=("alpha", search.alpha),
        )

st.subheader("Alpha and sparsity together")
surface = st.session_state.get("alpha_surface")
if surface is None or (surface[0].key, surface[0].rules, surface[0].size) != (request.key, obeyed, size):
    count = sum(len(distinct_masks(exact_path(loaded, share, obeyed))[0]) for share in SURFACE) if not obeyed.least else None
    if st.button("Draw the surface", icon=":material/grid_on:", key="draw_surface", disabled=busy):
        start_surface(loaded, request)
        st.rerun()
    st.caption(
        f"Every mask along alpha at {SURFACE[0]:.0%} to {SURFACE[-1]:.0%} of the heads removed"
        + ("." if count is None else f": {count} masks on {size} texts.")
    )
else:
    words = describe_surface(surface[1])
    st.plotly_chart(surface_heatmap(surface[1]), alt=words, key="surface", config=PLAIN)
    st.caption(f"{words} The best of many masks on the texts that chose it: on other texts it is worth a little less.")

st.subheader("How far, until accuracy is lost?")
points = st.slider("Points that may be lost", 0.0, 10.0, 1.0, 0.5, format="%.1f", key="budget_points")
if st.button("Find how far", icon=":material/straighten:", key="find_budget", disabled=busy):
    start_budget(loaded, request, setting("alpha"), points)
    st.rerun()
budget = st.session_state.get("accuracy_budget")
if budget is not None and (budget[0].key, budget[0].rules, budget[0].size) == (request.key, obeyed, size):
    _, alpha, end = budget
    more = "the next head would cost more" if end.limited_by_accuracy else "the rules allow no more"
    st.markdown(
        f"In the order of HIES at alpha {alpha:.3g}, **{end.heads_removed} of {end.mask.size} heads** can go for at most "
        f"{end.max_drop_pp:g} points of {end.measure}: {end.accuracy:.1%} (95 % interval {end.accuracy_low:.1%} to "
        f"{end.accuracy_high:.1%}) in place of {end.unpruned:.1%}; {more}."
    )
    st.button(
        f"Take sparsity {end.sparsity:.1%}",
        key="take_sparsity",
        icon=":material/check:",
        on_click=take,
        args=("sparsity", end.sparsity),
    )
else:
    st.caption(
        f"Heads go in the order of HIES at alpha {setting('alpha'):.3g}, and each mask on the way answers {size} texts."
    )

if result is not None and result.found is not None and not busy:
    st.subheader("Take it with you")
    document = {
        "model": loaded.model.name,
        "text": loaded.text_name,
        "sparsity": request.sparsity,
        "texts": size,
        "rules": obeyed.describe_options(grid),
        "scores": loaded.scores.settings,
        "intervals": records(result.found.frame),
        "masks": result.found.masks.tolist(),
    }
    downloads("alpha_path", result.found.frame, document)
