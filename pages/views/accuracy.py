"""Accuracy vs. sparsity: the curve of each criterion compared with random pruning."""

import pandas as pd
import streamlit as st

from headprune_core.data.measures import sentence_name
from headprune_core.data.tasks import has_targets, task_of
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curves import main_measure
from pages.parts.common import labels
from pages.parts.common.resume import resume_row
from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace, publish, runner
from pages.parts.common.shared_ui import downloads, expected_cost, page_header, progress_panel
from pages.parts.curves.curve_exports import exports
from pages.parts.curves.curve_figure import curve_figure
from pages.parts.curves.curve_findings import describe_stability, failure_signatures
from pages.parts.curves.curve_form import curve_form
from pages.parts.curves.curve_run import CurveResult, curves, start_curves
from pages.parts.curves.curve_tables import paired_table, summary_table
from pages.parts.curves.curve_verdict_list import verdict_list
from pages.parts.curves.published_curves import describe_published, published_curves

loaded = current_workspace()
publish("alpha")

page_header("accuracy")
st.markdown(
    f"Heads are pruned in the order given by each criterion, such as the {labels.HIS}, {labels.AE}, {labels.HIES} and "
    f"{labels.GNORM}, and {sentence_name(task_of(loaded.model).measure)} comes from held-out examples. A criterion is "
    "informative only if its curve lies above the gray band of random pruning."
)
if loaded.evaluation is None:
    st.warning(
        "No evaluation set. Load at least two distinct examples under Model & data.",
        icon=":material/data_alert:",
    )
    st.stop()
task = task_of(loaded.model)
if not has_targets(loaded.model, loaded.evaluation.column_names):
    shown = (
        "agreement: the share of predictions that match the unpruned model"
        if task.has_decisions
        else "the correlation of the outputs with those of the unpruned model"
    )
    st.info(
        f"The dataset has no labels, so the plot shows {shown}.",
        icon=":material/label_off:",
    )

with st.container(border=True):
    request = curve_form(loaded)
    with st.container(horizontal=True, vertical_alignment="center"):
        blocked = runner().busy or request is None
        clicked = st.button("Evaluate curves", type="primary", icon=":material/play_arrow:", disabled=blocked)
        if request is not None:
            cost = expected_cost(loaded, request.n_masks, request.size, start=request.start, dtype=request.dtype)
            st.caption(f"Up to {request.n_masks} masks on {request.size} examples; HIES α = {request.alpha:g}. {cost}")
    if clicked:
        start_curves(loaded, request)
        st.rerun()

busy = runner().busy
if busy:
    progress_panel("curves")
result = curves(loaded)
cancelled = result is not None and not result.complete and not busy
if cancelled and resume_row(result.measured, result.request.size, "examples", "curves"):
    start_curves(loaded, result.request)
    st.rerun()
published = published_curves(loaded)
running = busy and result is not None and not result.complete
if (result is None or result.curves is None) and published is None and not running:
    if not cancelled:
        st.info("No results yet. Choose criteria and click **Evaluate curves**.", icon=":material/ads_click:")
    st.stop()


def caption(result: CurveResult) -> str:
    """Describe the request behind the result, and whether the evaluation examples are held out."""
    made = result.request
    n_examples = f"{made.size} evaluation example{'s' if made.size > 1 else ''}"
    counted = n_examples if result.measured == made.size else f"{result.measured} of {n_examples} so far"
    held_out = ", none of them in the calibration set" if result.shared == 0 else ""
    rankings = f", {made.n_random} random ranking{'s' if made.n_random > 1 else ''}" if "random" in made.methods else ""
    parts = [f"{counted}{held_out}; HIES α = {made.alpha:g}{rankings}."]
    if made.start:
        parts.append(f"Excludes the {made.start} examples used for the leave-one-out ranking.")
    if made.dtype != "float32":
        match = "" if result.same_decisions is None else f"; predictions match float32 on {result.same_decisions:.1%}"
        parts.append(f"Precision {made.dtype}{match}.")
    if not busy and request is not None and made != request:
        parts.append("The settings above have changed; click **Evaluate curves** to update.")
    return " ".join(parts)


@st.fragment(run_every=1.0 if busy else None)
def drawn() -> None:
    """Draw the figure, again and again while examples are evaluated."""
    if result is not None and result.curves is not None:
        st.session_state["curve_shown"] = curve_figure(loaded, result.curves.frame, caption(result))
    elif published is not None and not running:
        curve_figure(loaded, published, describe_published(published), dense=True)
    else:
        st.caption("Evaluating the first batch…")


def same_examples(result: CurveResult, measure: str) -> None:
    """Compare two criteria example by example."""
    frame = result.curves.frame
    ranked = [name for name in dict.fromkeys(frame.method) if name != "random"]
    steps = sorted(share for share in frame.sparsity.unique() if share > 0)
    if len(ranked) > 1 and steps:
        left, right = st.columns(2)
        nearest = min(steps, key=lambda share: abs(share - 0.3))
        at = nearest
        if len(steps) > 1:
            heads = frame.groupby("sparsity").heads_pruned.first()
            at = left.select_slider(
                labels.SPARSITY,
                steps,
                nearest,
                format_func=lambda share: f"{share:.0%} ({heads[share]} heads)",
                key="paired_at",
            )
        baseline = ranked.index("his") if "his" in ranked else 0
        against = right.selectbox("Compare with", ranked, baseline, format_func=method_label, key="paired_against")
        paired_table(result.curves, at, against, measure)
    else:
        st.caption("Select at least two criteria to compare.")


def warnings(result: CurveResult) -> None:
    """Warn of evaluation examples that are also calibration examples, and of a single label."""
    made = result.request
    if result.shared:
        st.warning(
            f"{result.shared} of {made.size} evaluation examples are also in the calibration set, so these curves are "
            "optimistically biased. Load a separate evaluation set.",
            icon=":material/content_copy:",
        )
    targets = loaded.evaluation["label"] if "label" in loaded.evaluation.column_names else []
    targets = set(targets[made.start : made.start + made.size]) if loaded.model.task == "classification" else set()
    if len(targets) == 1:
        (only,) = loaded.label_names(targets)
        st.warning(
            f"All evaluation examples have the same label ({plain(only)}), so accuracy is not informative. Use agreement "
            "or logit correlation.",
            icon=":material/label_important:",
        )


def judged(frame: pd.DataFrame) -> None:
    """Show verdicts, known ways of failing, and the summary table."""
    verdict_list(frame)
    for signature in failure_signatures(frame):
        st.warning(signature.sentence, icon=":material/troubleshoot:")
    st.header("Summary table")
    summary_table(frame, main_measure(frame))
    if text := describe_stability(frame):
        st.caption(text)


with st.container():
    drawn()
if running:
    st.stop()
if result is None or result.curves is None:
    judged(published)
    st.header("Export")
    downloads("published_curves", published)
    st.stop()
warnings(result)
judged(result.curves.frame)
st.header("Paired comparison")
same_examples(result, main_measure(result.curves.frame))
st.header("Export")
exports(loaded, result, st.session_state["curve_shown"])
