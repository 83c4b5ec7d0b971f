"""Greedy-Gnorm: remove the weakest head, score again, and so on; the run step by step, and what static orders would do."""

import streamlit as st

from headprune_core.figures.curves import curves_figure, describe_curves
from headprune_core.figures.greedy import (
    describe_greedy_accuracy,
    describe_greedy_step,
    describe_shift,
    greedy_accuracy,
    greedy_map,
    shift_map,
)
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_verdicts import describe_verdict
from pages.parts.common.session import current_workspace, runner
from pages.parts.common.shared_ui import downloads, page_header, progress_panel
from pages.parts.greedy.greedy_run import (
    GreedyRequest,
    GreedyResult,
    greedy_results,
    shift,
    start_comparison,
    start_greedy,
    start_shift,
)

PACE = 0.7  # seconds a step when playing
PLAIN = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
ENDS = {
    "all": "When no head is left",
    "steps": "After some steps",
    "floor": "Below an accuracy",
    "inflection": "At the inflection point",
}

loaded = current_workspace()
labels = loaded.model.grid.row_labels
heads = len(labels) * loaded.model.grid.shape[1]

page_header("greedy")
st.markdown(
    "When one head goes, the gradients of the others change, so a score taken once grows old. **Greedy-Gnorm** removes the "
    "head of lowest Gnorm, scores all that are left anew, and goes on."
)
with st.container(border=True):
    direction, together, end = st.columns([2, 1, 2])
    inverse = direction.segmented_control(
        "Remove first",
        [False, True],
        default=False,
        required=True,
        format_func={False: "Weakest", True: "Strongest (a control)"}.get,
        key="greedy_inverse",
    )
    per_step = together.select_slider("Heads a step", [1, 2, 4, 8], key="greedy_heads")
    endings = list(ENDS) if loaded.evaluation is not None else ["all", "steps"]
    ending = end.selectbox("End", endings, format_func=ENDS.get, key="greedy_end")
    most = -(-heads // per_step)
    left, right = st.columns(2)
    there = len(loaded.evaluation or ())
    size = left.slider("Texts to test on", 1, there, min(120, there), key="greedy_size") if there > 1 else there
    steps = right.slider("Steps", 1, most, min(12, most), key="greedy_steps") if ending == "steps" and most > 1 else None
    floor = right.slider("Lowest accuracy", 10, 100, 80, format="%d %%", key="greedy_floor") if ending == "floor" else None
    request = GreedyRequest(
        bool(inverse), per_step, steps, None if floor is None else floor / 100, ending == "inflection", size
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Run Greedy-Gnorm", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
            start_greedy(loaded, request)
            st.rerun()
        st.caption(
            f"{steps or most} steps, each one pass over {len(loaded.calibration)} texts and a test on {size}. Steps "
            "that are known from before, from a run that was cut short too, are not computed again."
        )
busy = runner().busy
if busy:
    progress_panel("greedy")
result: GreedyResult | None = greedy_results(loaded).get(request.method)
if (result is None or result.trajectory is None) and not runner().busy:
    st.info("Nothing has been removed yet. Click **Run Greedy-Gnorm**.", icon=":material/ads_click:")


def play() -> None:
    """Start or stop playing; at the end, begin again."""
    st.session_state["greedy_playing"] = not st.session_state.get("greedy_playing", False)
    at = st.session_state.get("greedy_step", 0)
    st.session_state["greedy_at"] = 0 if at >= result.trajectory.steps else at


@st.fragment(run_every=PACE if st.session_state.get("greedy_playing") or busy else None)
def player() -> None:
    """The run at one step: the map of scores, the accuracy so far, both in words."""
    run = result.trajectory
    if runner().job is not None and not busy:  # a button in here has started something
        st.rerun()
    if run is None or not run.steps:
        return
    playing = st.session_state.get("greedy_playing", False)
    if playing:
        # counted apart: while it plays, the browser may still tell the slider's step of before
        following = min(st.session_state["greedy_at"] + 1, run.steps)
        st.session_state["greedy_at"] = st.session_state["greedy_step"] = following
        st.session_state["greedy_playing"] = following < run.steps
    if st.session_state.get("greedy_step", 0) > run.steps:
        st.session_state["greedy_step"] = run.steps
    step = st.slider("Step", 0, run.steps, key="greedy_step")
    if playing and not st.session_state["greedy_playing"]:
        st.rerun()
    map_, curve = st.columns(2, gap="large")
    words = describe_greedy_step(run, step, labels)
    map_.plotly_chart(greedy_map(run, step, labels), alt=words, config=PLAIN, key="greedy_map")
    map_.caption(f"{words} Colours are powers of ten; crosses are heads that are gone; the orange frame goes next.")
    if len(run.measure):
        classes = len(loaded.model.labels)
        told = describe_greedy_accuracy(run, step)
        figure = greedy_accuracy(run, step, 1 / classes if classes else None)
        curve.plotly_chart(figure, alt=told, config=PLAIN, key="greedy_curve")
        curve.caption(f"{told} {result.request.size} texts, none of them used for the scores.")
    else:
        curve.caption("Accuracy is measured for eight steps at once: it will show here.")
    if step < run.steps and not runner().busy:
        removal(step)


def removal(step: int) -> None:
    """What the step's removal did to the gradients of the others, on request."""
    st.subheader("What did this removal do to the others?")
    found = shift(result, step)
    if found is None:
        st.button(
            "Compare gradients before and after",
            icon=":material/difference:",
            key="shift_run",
            on_click=start_shift,
            args=(loaded, result, step),
        )
        st.caption("Draws the change in every layer's query gradient when the framed head goes, as in the paper's Figure 2.")
        return
    words = describe_shift(found.change, found.head, labels)
    st.plotly_chart(shift_map(found.change, labels), alt=words, config=PLAIN, key="shift_map")
    st.caption(f"{words} A cell is a head (down) and a part of the input that it reads (across); white is no change.")


if result is None or (result.trajectory is None and not runner().busy):
    st.stop()
if result.trajectory is not None:
    playing = st.session_state.get("greedy_playing", False)
    icon = ":material/pause:" if playing else ":material/play_circle:"
    st.button("Pause" if playing else "Play", icon=icon, on_click=play)
with st.container():
    player()
run = result.trajectory
if run is None or runner().busy:
    st.stop()
if not result.complete:
    st.caption("The run was cut short. Run it again to go on from here.")
if loaded.evaluation is not None:
    st.subheader("Is scoring again worth it?")
    if st.button("Compare with static orders", icon=":material/compare_arrows:", key="greedy_compare"):
        start_comparison(loaded, result)
        st.rerun()
    if result.compared is None:
        st.caption("Static Gnorm, its inverse and five random orders, on the same texts.")
    else:
        frame = result.compared.frame
        words = describe_curves(frame)
        st.plotly_chart(
            curves_figure(frame, "accuracy" if frame.accuracy.notna().any() else "agreement"), alt=words, config=PLAIN
        )
        st.caption(words)
        told = describe_verdict(frame)
        for method in (result.request.method, "gnorm"):
            if method in told:
                st.markdown(f"- **{method_label(method)}**: {told[method]}")

st.subheader("Take it with you")
table = run.to_frame()
downloads(
    request.method,
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
st.caption("And the order alone, as a ranking that Accuracy vs sparsity takes as your own:")
downloads(f"{request.method}_ranking", ranking)
