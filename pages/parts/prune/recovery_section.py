"""Recovery fine-tuning of the pruned model, on request, and its result."""

import streamlit as st

from headprune_core import estimate_recovery
from headprune_core.data.measures import format_difference, measure_label
from headprune_core.data.tasks import has_targets
from headprune_core.figures.pruned import describe_recovery, recovery_figure
from headprune_core.measure.paired_tests import method_text, significance_text
from headprune_core.report.data import change, difference_text
from headprune_core.report.pruning_record import share
from pages.parts.chart import figure
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import duration
from pages.parts.common.workspace import Workspace

from .prune_run import PruneResult, RecoverRequest, start_recovering

OBJECTIVES = {"labels": "Labels", "teacher": "Unpruned model (distillation)"}
PERSIST = {"persist_state": "session"}


def recovery_section(loaded: Workspace, result: PruneResult) -> None:
    """Draw the form of the fine-tuning run, and its result."""
    st.header("Recovery fine-tuning")
    labeled = has_targets(loaded.model, loaded.calibration.column_names)
    available = [name for name in OBJECTIVES if name != "labels" or labeled]
    if st.session_state.get("recover_from") not in (*available, None):
        del st.session_state["recover_from"]  # kept from a dataset with labels
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = st.slider(
            "Training steps", 10, 400, 200, 10, key="recover_steps", help="Optimizer steps, batch size 32", **PERSIST
        )
        objective = st.segmented_control(
            "Training target",
            available,
            default=available[0],
            required=True,
            format_func=OBJECTIVES.get,
            key="recover_from",
            wrap=True,
            **PERSIST,
        )
        if st.button("Fine-tune", icon=":material/healing:", key="recover", disabled=runner().busy):
            start_recovering(loaded, result, RecoverRequest(steps, objective))
            st.rerun()
    if result.recovery is None:
        options = {"steps": steps, "objective": objective, "dtype": loaded.options.dtype}
        cost = estimate_recovery(result.pruned, loaded.calibration, **options)
        st.caption(
            "Optional. A short fine-tuning run lets the remaining heads compensate. Training examples do not overlap with "
            f"the evaluation set. {steps} steps take about {duration(cost.seconds)} and {cost.peak_bytes / 2**20:,.0f} MiB."
        )
        return
    _result(result)


def _result(result: PruneResult) -> None:
    """The training loss, and the accuracy before and after."""
    run = result.recovery
    text = describe_recovery(run)
    left, right = st.columns([2, 1], gap="large")
    with left:
        figure(recovery_figure(run), "Recovery fine-tuning", "recovery_figure", alt=text)
    stopped = "Cancelled after " if run.steps < run.planned else ""
    target = OBJECTIVES[run.objective].lower()
    left.caption(f"{text} {stopped}{run.steps} of {run.planned} steps, {run.seconds:.0f} s; training target: {target}.")
    if run.before is None or run.after is None:
        return
    before, after = share(run.before), share(run.after)
    right.metric(
        f"{measure_label(after.name)} after fine-tuning",
        after.text,
        format_difference(after.name, after.value - before.value),
    )
    right.caption(f"Before fine-tuning {before}; after {after}.")
    test = change(run.before, run.after)
    right.caption(f"Difference {difference_text(test, after.name)}: {significance_text(test)} ({method_text(test)}).")
