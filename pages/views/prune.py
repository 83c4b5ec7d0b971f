"""Prune & export: heads cut out for good, the proof that nothing else changed, sizes, speed, and what to take home."""

import numpy as np
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.figures.pruned import describe_head_map, head_map_figure
from headprune_core.prune.structural_pruning import plan_pruning
from pages.parts.alpha.mask_constraints import grouped
from pages.parts.common.session import ALPHA, current_workspace, publish, runner
from pages.parts.common.shared_ui import page_header, plain, progress
from pages.parts.prune.export_ui import take
from pages.parts.prune.mask_source import Choice, choose
from pages.parts.prune.prune_run import (
    COMPARING,
    EXPORTING,
    N_RANDOM,
    PACKING,
    RECOVERING,
    TIMING,
    PruneRequest,
    pruned_result,
    start_pruning,
)
from pages.parts.prune.recovery_section import recovery
from pages.parts.prune.result_sections import result_section, size, try_input_section
from pages.parts.prune.speed_section import speed

INSIDE = {
    "zero": "Without effect, weights stay",
    "keep": "Kept with its group",
    "remove": "Removed with its group",
}


def nothing_yet(choice: Choice | None, going: int) -> str:
    """Why there is no smaller model, and what to click."""
    gone = "pruned" in st.session_state  # of another model, text or way of scoring, else it would be shown
    told = "What was pruned before was of another model, text or scores." if gone else "Nothing has been removed yet."
    if choice is None:
        return f"{told} Choose above which heads go, then click **Prune for good**."
    if not going:
        return f"{told} All heads stay so far: choose above which go, then click **Prune for good**."
    return f"{told} Click **Prune for good**."


def is_other(request: PruneRequest, choice: Choice, inside: str, size: int) -> bool:
    """Whether what is set now is not what was asked for."""
    same_mask = np.array_equal(choice.mask, request.choice.mask)
    return not same_mask or (request.partial_groups, request.size) != (inside, size)


loaded = current_workspace()
grid = loaded.model.grid
there = int(grid.kept.sum())
publish(*ALPHA)

page_header("prune")
st.markdown(
    "Until now heads were only switched off. Here they are cut out of the weights **for good**: the file gets smaller, the "
    "answers stay those of the model with its heads switched off, and that is shown."
)
with st.container(border=True):
    choice = choose(loaded)
    inside = "zero"
    if grouped(grid):
        inside = st.segmented_control(
            "A head whose key-value group stays",
            list(INSIDE),
            default="zero",
            required=True,
            format_func=INSIDE.get,
            key="prune_inside",
            wrap=True,
            help="Query heads that share keys and values can go for good only together.",
        )
    size_ = 0
    if loaded.evaluation is not None:
        most = len(loaded.evaluation)
        told = "Test texts, which had no part in the scores. The more there are, the surer is what is found."
        size_ = st.slider("Texts to compare on", 1, most, min(240, most), key="prune_size", help=told) if most > 1 else most
    if choice is not None:
        with st.expander("The heads that stay and go", icon=":material/grid_on:"):
            told = describe_head_map(choice.mask, labels=grid.row_labels)
            figure = head_map_figure(choice.mask, labels=grid.row_labels)
            st.plotly_chart(figure, alt=told, key="chosen_map", config={"displaylogo": False})
            st.caption(told)
    going = 0 if choice is None else int((grid.kept & ~choice.mask).sum())
    with st.container(horizontal=True, vertical_alignment="center"):
        off = runner().busy or not going
        if st.button("Prune for good", type="primary", icon=":material/content_cut:", disabled=off):
            try:
                plan_pruning(grid, choice.mask, partial_groups=inside)
            except HeadPruneError as error:
                st.session_state["failure"] = f"The heads could not be removed: {error}."
                st.rerun()
            start_pruning(loaded, PruneRequest(loaded.key, choice, inside, size_))
            st.rerun()
        if choice is not None:
            told = f"{plain(choice.words[0].upper() + choice.words[1:])}: {there - going} of {there} heads stay"
            told += f", measured beside {N_RANDOM} random choices of as many" if size_ and going else ""
            st.caption(f"{told}. The loaded model is untouched.")
result = pruned_result(loaded)
if result is None:
    progress()
else:
    progress(instead_of=(COMPARING, TIMING, RECOVERING, EXPORTING, PACKING))
if result is None:
    if not runner().busy:
        st.info(nothing_yet(choice, going), icon=":material/ads_click:")
    st.stop()
if choice is not None and is_other(result.request, choice, inside, size_):
    st.caption(
        f"Shown below: {plain(result.request.choice.words)}, as it was set then. Click **Prune for good** to cut what is "
        "set above instead."
    )
result_section(loaded, result)
try_input_section(loaded, result)
progress(COMPARING)
size(result)
speed(loaded, result)
progress(TIMING)
recovery(loaded, result)
progress(RECOVERING)
take(loaded, result)
