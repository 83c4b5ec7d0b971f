"""Prune & export: remove the pruned heads from the weights, verify the smaller model, and export it."""

import numpy as np
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.figures.pruned import describe_head_map
from headprune_core.prune.structural_pruning import plan_pruning
from pages.parts.alpha.mask_constraints import grouped
from pages.parts.common import labels
from pages.parts.common.failures import report_failure
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.session import ALPHA, current_workspace, publish, runner
from pages.parts.common.shared_ui import expected_cost, page_header, progress
from pages.parts.head_grid import head_grid, kept_map
from pages.parts.prune.export_ui import export_section
from pages.parts.prune.mask_source import Choice, choose
from pages.parts.prune.prune_run import (
    COMPARING,
    EXPORTING,
    N_MASKS,
    N_RANDOM,
    PACKING,
    RECOVERING,
    TIMING,
    PruneRequest,
    pruned_result,
    start_pruning,
)
from pages.parts.prune.recovery_section import recovery_section
from pages.parts.prune.result_sections import result_section, size_section, try_input_section
from pages.parts.prune.speed_section import speed_section

PARTIAL_GROUPS = {
    "zero": "Zero the head's output, keep its weights",
    "keep": "Keep the whole KV group",
    "remove": "Prune the whole KV group",
}
PERSIST = {"persist_state": "session"}  # settings survive a visit to another page


def empty_state(choice: Choice | None, n_pruned: int) -> str:
    """Say why there is no pruned model, and what to click."""
    outdated = "pruned" in st.session_state  # of another workspace, else it would be shown
    text = "The earlier result was for a different model, dataset or scoring setup." if outdated else "No pruned model yet."
    if choice is None:
        return f"{text} Choose a mask, then click **Prune model**."
    if not n_pruned:
        return f"{text} This mask keeps all heads: choose another mask, then click **Prune model**."
    return f"{text} Click **Prune model**."


def has_changed(request: PruneRequest, choice: Choice, partial_groups: str, size: int) -> bool:
    """Whether the settings differ from the request of the result."""
    same_mask = np.array_equal(choice.mask, request.choice.mask)
    return not same_mask or (request.partial_groups, request.size) != (partial_groups, size)


loaded = current_workspace()
grid = loaded.model.grid
n_heads = int(grid.kept.sum())
publish(*ALPHA)

page_header("prune")
st.markdown(
    "So far, heads were only masked. This page removes them from the weights, so the model gets smaller. The pruned model "
    "gives the same outputs as the masked model up to floating-point rounding; the page verifies this on your data."
)
with st.container(border=True):
    choice = choose(loaded)
    partial_groups = "zero"
    if grouped(grid):
        partial_groups = st.segmented_control(
            f"Partially pruned {labels.KV} groups",
            list(PARTIAL_GROUPS),
            default="zero",
            required=True,
            format_func=PARTIAL_GROUPS.get,
            key="prune_inside",
            wrap=True,
            help=f"{labels.GQA[0].upper()}{labels.GQA[1:]}: query heads that share a KV head can only be removed together.",
            **PERSIST,
        )
    size = 0
    if loaded.evaluation is not None:
        n_available = size = len(loaded.evaluation)
        if n_available > 1:
            size = st.slider(
                labels.EVALUATION_EXAMPLES,
                1,
                n_available,
                min(240, n_available),
                key="prune_size",
                help="Held-out examples. More examples give narrower confidence intervals.",
                **PERSIST,
            )
    if choice is not None:
        with st.expander("Preview mask", icon=":material/grid_on:"):
            text = describe_head_map(choice.mask, labels=grid.row_labels)
            head_grid([kept_map("Mask", choice.mask, description=text)], grid.row_labels, key="chosen_map")
            st.caption(text)
    n_pruned = 0 if choice is None else int((grid.kept & ~choice.mask).sum())
    with st.container(horizontal=True, vertical_alignment="center"):
        blocked = runner().busy or not n_pruned
        if st.button("Prune model", type="primary", icon=":material/content_cut:", disabled=blocked):
            try:
                plan_pruning(grid, choice.mask, partial_groups=partial_groups)
            except HeadPruneError as error:
                report_failure(f"Pruning failed. {sentence(str(error))}")
                st.rerun()
            start_pruning(loaded, PruneRequest(loaded.key, choice, partial_groups, size))
            st.rerun()
        text = "The loaded model is not changed."
        if choice is not None:
            text += f" {plain(choice.words[0].upper() + choice.words[1:])}: {n_heads - n_pruned} of {n_heads} heads kept"
            text += f", compared with {N_RANDOM} random masks of the same size." if size and n_pruned else "."
            text += f" {expected_cost(loaded, N_MASKS, size)}" if n_pruned else ""
        st.caption(text)
result = pruned_result(loaded)
if result is None:
    progress()
else:
    progress(instead_of=(COMPARING, TIMING, RECOVERING, EXPORTING, PACKING))
if result is None:
    if not runner().busy:
        st.info(empty_state(choice, n_pruned), icon=":material/ads_click:")
    st.stop()
if choice is not None and has_changed(result.request, choice, partial_groups, size):
    st.caption(
        f"Showing results for: {plain(result.request.choice.words)}. The settings above have changed; click **Prune model** "
        "to update."
    )
result_section(loaded, result)
try_input_section(loaded, result)
progress(COMPARING)
size_section(result)
speed_section(loaded, result)
progress(TIMING)
recovery_section(loaded, result)
progress(RECOVERING)
export_section(loaded, result)
