"""A Greedy-Gnorm run at one step: Gnorm per head, accuracy so far, and the effect of the step on the gradients."""

import numpy as np
import streamlit as st

from headprune_core import GreedyTrajectory
from headprune_core.data.measures import measure_label
from headprune_core.data.tasks import chance_level, task_of
from headprune_core.figures.greedy import (
    describe_greedy_accuracy,
    describe_greedy_step,
    describe_shift,
    gnorm_range,
    greedy_accuracy,
    shift_map,
)
from pages.parts.chart import figure
from pages.parts.common.labels import CI
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace
from pages.parts.head_grid import HeadMap, Mark, head_grid

from .greedy_run import GreedyResult, shift, start_shift

PACE = 0.7  # seconds per step when playing


def play(result: GreedyResult) -> None:
    """Start or stop playing; from the last step, start again at the first."""
    st.session_state["greedy_playing"] = not st.session_state.get("greedy_playing", False)
    step = st.session_state.get("greedy_step", 0)
    st.session_state["greedy_at"] = 0 if step >= result.trajectory.steps else step


def player(loaded: Workspace, result: GreedyResult, *, running: bool, busy: bool) -> None:
    """Draw the step of the slider, which follows the run while it is running and moves on while playing.

    `busy` says whether any job was running when the page was drawn.
    """
    run = result.trajectory
    if not busy and runner().job is not None:  # a button in this fragment has started a job
        st.rerun()
    if run is None or not run.steps:
        st.caption("Computing the first step…")
        return
    playing = st.session_state.get("greedy_playing", False) and not running
    if playing:
        # Counted separately: while it plays, the browser may still report the slider's previous step.
        following = min(st.session_state["greedy_at"] + 1, run.steps)
        st.session_state["greedy_at"] = st.session_state["greedy_step"] = following
        st.session_state["greedy_playing"] = following < run.steps
    step = _step_slider(run, running)
    if playing and not st.session_state["greedy_playing"]:
        st.rerun()
    names = loaded.model.grid.row_labels
    map_, curve = st.columns(2, gap="large")
    text = describe_greedy_step(run, step, names)
    with map_:
        head_grid([_gnorm_map(run, step)], names, key="greedy_map", in_fragment=True)
    map_.caption(text)
    if len(run.measure):
        text = describe_greedy_accuracy(run, step)
        chart = greedy_accuracy(run, step, chance_level(loaded.model))
        chart.update_xaxes(range=(ends := _axis(result, running)), dtick=1 if ends[1] < 12 else None)
        with curve:
            title = f"{measure_label(run.measure_name)} by heads pruned, Greedy-Gnorm"
            figure(chart, title, "greedy_curve", alt=text)
        curve.caption(f"{text} Band: {CI}. Held-out examples: {result.request.size}.")
    elif loaded.evaluation is not None:
        measure = measure_label(task_of(loaded.model).measure)
        curve.caption(f"{measure} is evaluated every eight steps and will appear here.")
    if step < run.steps and not runner().busy:
        _shift_section(loaded, result, step)


def _gnorm_map(run: GreedyTrajectory, step: int) -> HeadMap:
    """Gnorm of the remaining heads at a step, with one log scale for the whole run."""
    mask, following = run.mask(step), np.zeros_like(run.mask(step))
    for head in run.order[step * run.heads_per_step : (step + 1) * run.heads_per_step]:
        following[head] = True
    low, high = gnorm_range(run)
    values = np.where(mask, run.scores[min(step, run.steps - 1)], np.nan)
    log = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    ends = [f"≤ {low:.2g}", f"{high:.2g}"][:: -1 if run.inverse else 1]
    return HeadMap(
        "gnorm",
        f"Gnorm after {step} step{'s' * (step != 1)}" + ("; dark = low" if run.inverse else ""),
        values,
        role="gnorm",
        short="Gnorm",
        dark="low" if run.inverse else "high",
        shown=log,
        limits=(np.log10(low), np.log10(high)),
        scale_text=f"{ends[0]} to {ends[1]}, log scale",
        marks=(Mark("pruned", ~mask, "×"), Mark("pruned next", following, "●")),
    )


def _step_slider(run: GreedyTrajectory, running: bool) -> int:
    """The slider of the step. While the run is running it follows the last step, unless it was moved."""
    last = run.steps - 1 if running else run.steps
    followed = st.session_state.get("greedy_followed", ())
    if st.session_state.get("greedy_step", 0) in followed:
        st.session_state["greedy_step"] = last
    # Two values are kept, because the browser may report the previous one once more.
    st.session_state["greedy_followed"] = (*followed[-1:], last) if running else ()
    if st.session_state.get("greedy_step", 0) > last:
        st.session_state["greedy_step"] = last
    return st.slider("Step", 0, last, key="greedy_step", persist_state="session") if last else 0


def _axis(result: GreedyResult, running: bool) -> list[int]:
    """Range of the axis of pruned heads: the planned steps of a running run, else the steps that it has."""
    run, made = result.trajectory, result.request
    n_heads = run.mask(0).size
    steps = made.planned_steps(n_heads) if running else run.steps
    end = min(steps * run.heads_per_step, n_heads)
    return [-0.02 * end - 0.2, 1.02 * end + 0.2]


def _shift_section(loaded: Workspace, result: GreedyResult, step: int) -> None:
    """The effect of the step on the gradients of the other heads, on request."""
    st.header("Effect of this step on the other heads' gradients")
    computed = shift(result, step)
    if computed is None:
        st.button(
            "Compare gradients before and after",
            icon=":material/difference:",
            key="shift_run",
            on_click=start_shift,
            args=(loaded, result, step),
        )
        st.caption("Shows how each layer's query gradient changes when the head marked ● is pruned (Figure 2 of the paper).")
        return
    names = loaded.model.grid.row_labels
    text = describe_shift(computed.change, computed.head, names)
    figure(shift_map(computed.change, names), "Change of query gradients", "shift_map", alt=text)
    st.caption(f"{text} Rows: heads. Columns: input blocks. White: no change.")
