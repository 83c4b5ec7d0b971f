"""Greedy-Gnorm: iterative pruning with rescoring, step by step, and its comparison with static rankings."""

import streamlit as st

from headprune_core.data.tasks import task_of
from headprune_core.figures.curves import curves_figure, describe_curves
from headprune_core.measure.curves import main_measure
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.resume import resume_row
from pages.parts.common.session import current_workspace, runner
from pages.parts.common.shared_ui import copy_as_code, downloads, page_header, progress_panel
from pages.parts.curves.curve_verdict_list import verdict_lines
from pages.parts.greedy.greedy_code import greedy_command, greedy_python
from pages.parts.greedy.greedy_form import describe_cost, greedy_form
from pages.parts.greedy.greedy_player import PACE, play, player
from pages.parts.greedy.greedy_run import N_RANDOM, RUNNING, GreedyResult, greedy_results, start_comparison, start_greedy

loaded = current_workspace()
n_heads = loaded.model.grid.shape[0] * loaded.model.grid.shape[1]

page_header("greedy")
st.markdown(
    "Pruning one head changes the gradients of the others, so static scores become stale. Greedy-Gnorm prunes the head with "
    f"the lowest {labels.GNORM}, rescores the remaining heads, and repeats."
)
with st.container(border=True):
    request = greedy_form(loaded)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Run Greedy-Gnorm", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
            start_greedy(loaded, request)
            st.rerun()
        st.caption(describe_cost(loaded, request))
busy = runner().busy
running = busy and runner().job.name == RUNNING
if busy:
    progress_panel("greedy")
result: GreedyResult | None = greedy_results(loaded).get(request.method)
if result is None:
    if not busy:
        st.info("No run yet. Click **Run Greedy-Gnorm**.", icon=":material/ads_click:")
    st.stop()

run = result.trajectory
if not result.complete and not running:
    done = 0 if run is None else run.steps
    if resume_row(done, result.request.planned_steps(n_heads), "steps", "greedy"):
        start_greedy(loaded, result.request)
        st.rerun()
if run is None and not running:
    st.stop()
changed = result.request != request and not busy
hint = " The settings above have changed; click **Run Greedy-Gnorm** to update." if changed else ""
st.caption(f"This run: {result.request.describe(task_of(loaded.model).measure)}.{hint}")
playing = st.session_state.get("greedy_playing", False)
if run is not None and not running:
    icon = ":material/pause:" if playing else ":material/play_circle:"
    st.button("Pause" if playing else "Play", icon=icon, on_click=play, args=(result,))
with st.container():
    st.fragment(player, run_every=PACE if playing or running else None)(loaded, result, running=running, busy=busy)
if run is None or busy:
    st.stop()

if loaded.evaluation is not None:
    st.header("Greedy vs. static ranking")
    if st.button("Compare with static rankings", icon=":material/compare_arrows:", key="greedy_compare"):
        start_comparison(loaded, result)
        st.rerun()
    if result.compared is None:
        st.caption(
            f"Evaluates static Gnorm, inverse Gnorm and {N_RANDOM} random rankings on the same "
            f"examples (n = {result.request.size})."
        )
    else:
        frame = result.compared.frame
        text = describe_curves(frame)
        figure(curves_figure(frame, main_measure(frame)), "Greedy vs. static ranking", "greedy_comparison", alt=text)
        st.caption(f"{text} Held-out examples: {result.request.size}.")
        st.markdown("\n".join(f"- {line}" for line in verdict_lines(frame, (result.request.method, "gnorm"))))

st.header("Export")
table = run.to_frame()
downloads(
    result.request.method,
    table,
    {
        "model": loaded.model.name,
        "text": loaded.text_name,
        "settings": run.settings | vars(result.request),
        "order": run.order,
        "inflection": run.inflection,
    },
)
ranking = table.assign(score=range(len(table)))[["row", "head", "score"]]
st.caption(f"Pruning order as a ranking CSV that you can upload on {labels.PAGES['accuracy'].title}:")
downloads(f"{result.request.method}_ranking", ranking)
copy_as_code(greedy_python(loaded, result.request), greedy_command(loaded, result.request), "greedy")
