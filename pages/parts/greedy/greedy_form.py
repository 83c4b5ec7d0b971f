"""The form of a Greedy-Gnorm run. Its result is a `GreedyRequest`."""

import streamlit as st

from headprune_core.data.measures import measure_label
from headprune_core.data.tasks import task_of
from pages.parts.common import labels
from pages.parts.common.shared_ui import duration
from pages.parts.common.workspace import Workspace

from .greedy_run import GreedyRequest, seconds_per_step

STOPPING_RULES = {
    "all": "All heads pruned",
    "steps": "Fixed number of steps",
    "floor": "Accuracy threshold",  # or another measure of the task
    "inflection": "Inflection point",
}
PERSIST = {"persist_state": "session"}  # settings survive a visit to another page


def greedy_form(loaded: Workspace) -> GreedyRequest:
    """Draw the form, and return its request."""
    rows, heads = loaded.model.grid.shape
    direction, together, end = st.columns([5, 2, 4])
    inverse = direction.segmented_control(
        "Prune first",
        [False, True],
        default=False,
        required=True,
        format_func={False: "Lowest Gnorm", True: "Highest Gnorm (inverse control)"}.get,
        key="greedy_inverse",
        wrap=True,
        **PERSIST,
    )
    per_step = together.select_slider("Heads per step", [1, 2, 4, 8], key="greedy_heads", **PERSIST)
    rules = list(STOPPING_RULES) if loaded.evaluation is not None else ["all", "steps"]
    if st.session_state.get("greedy_end") not in (*rules, None):
        del st.session_state["greedy_end"]  # kept from a dataset that had evaluation examples
    task = task_of(loaded.model)
    threshold = f"{measure_label(task.measure)} threshold"
    names = STOPPING_RULES | {"floor": threshold}
    rule = end.selectbox("Stopping rule", rules, format_func=names.get, key="greedy_end", **PERSIST)
    most = -(-rows * heads // per_step)
    left, right = st.columns(2)
    n_available = len(loaded.evaluation or ())
    size = n_available
    if n_available > 1:
        size = left.slider(labels.EVALUATION_EXAMPLES, 1, n_available, min(120, n_available), key="greedy_size", **PERSIST)
    steps = floor = None
    if rule == "steps" and most > 1:
        steps = right.slider("Steps", 1, most, min(12, most), key="greedy_steps", **PERSIST)
    elif rule == "floor":
        if task.has_decisions:
            floor = right.slider(threshold, 10, 100, 80, format="%d%%", key="greedy_floor", **PERSIST) / 100
        else:
            floor = right.slider(threshold, 0.05, 1.0, 0.8, 0.05, key="greedy_floor_correlation", **PERSIST)
    return GreedyRequest(bool(inverse), per_step, steps, floor, rule == "inflection", size)


def describe_cost(loaded: Workspace, request: GreedyRequest) -> str:
    """State the number of steps, what each of them computes, and the expected time."""
    rows, heads = loaded.model.grid.shape
    steps = request.planned_steps(rows * heads)
    count = f"{steps} step{'s' * (steps != 1)}"
    if request.accuracy_floor is not None or request.stop_at_inflection:
        count = f"Up to {count}"
    evaluates = f" and evaluates on {request.size}" if request.size else ""
    return (
        f"{count}; each rescores on {len(loaded.calibration)} calibration examples{evaluates}. Expected time: about "
        f"{duration(steps * seconds_per_step(loaded, request.size))}. Cached steps are reused."
    )
