"""Uncertainty: intervals of scores, rank stability, agreement of criteria, and the leave-one-out ablation."""

import pandas as pd
import streamlit as st

from headprune_core import agreement_matrix, criterion_rankings
from headprune_core.data.measures import SHARES, measure_label, sentence_name
from headprune_core.data.tasks import task_of
from headprune_core.figures.ablation import ablation_kendall, ablation_title, describe_ablation
from headprune_core.figures.heatmaps import METRIC_LABELS, METRIC_SHORT_LABELS
from headprune_core.figures.uncertainty import (
    agreement_heatmap,
    describe_agreement,
    describe_intervals,
    interval_figure,
    stability_figure,
)
from headprune_core.masks.prune_mask import heads_to_remove
from headprune_core.measure.ablation import MEASURES
from headprune_core.measure.ranking_agreement import removal_share
from headprune_core.scores.bootstrap import available
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.failures import drop_failure, show_failure
from pages.parts.common.session import current_workspace, publish, remember, runner, setting
from pages.parts.common.shared_ui import downloads, page_header, progress_panel, records
from pages.parts.head_grid import HeadMap, head_grid
from pages.parts.uncertainty import bootstrap_cache
from pages.parts.uncertainty.ablation_run import ablation, ablation_examples, start_ablation

FEW = 8  # with fewer examples, bootstrap intervals are not reliable
KEEP = {"persist_state": "session"}  # settings are still there after a visit to another page
ABLATION_LABELS = {"abs_loss_change": "Ablation: |Δloss|", "loss_change": "Ablation: Δloss"}
loaded = current_workspace()
scores = loaded.scores
rows, heads = scores.grid.shape
count = len(loaded.calibration)
alpha = float(setting("alpha"))
publish("alpha", "sparsity")

page_header("uncertainty")
counted = f"{count} calibration example{'s' if count > 1 else ''}"
st.markdown(
    f"Every score is a mean over {counted}: the {labels.HIS}, the {labels.AE}, the {labels.HIES} and the {labels.GNORM}. A "
    "different calibration sample would give different scores. This page shows how different, with a bootstrap "
    f"{labels.CI}, and whether other heads would be pruned. Everything except the ablation uses stored per-example scores "
    "and does not run the model."
)
if count < FEW:
    st.warning(
        f"Bootstrap intervals from {counted} are not reliable. Load at least {FEW} calibration examples under "
        f"**{labels.PAGES['model_and_data'].title}**.",
        icon=":material/data_alert:",
    )
percent = st.slider(labels.SPARSITY, 0, 100, round(100 * setting("sparsity")), format="%d%%", key="removed_percent")
if percent != round(100 * setting("sparsity")):
    remember("sparsity", percent / 100)
sparsity = float(setting("sparsity"))
resampled, kendall_range = bootstrap_cache.rankings(loaded, alpha)

st.header("Stability of the pruned heads")
metric = st.segmented_control(
    "Score",
    available(scores),
    default="his",
    required=True,
    format_func=METRIC_SHORT_LABELS.get,
    key="interval_metric",
    **KEEP,
)
values, low, high = bootstrap_cache.intervals(loaded, metric, alpha)
removed = removal_share(resampled[metric], sparsity)
text = describe_intervals(removed, heads_to_remove(sparsity, values.size))
st.markdown(text)
title = f"{METRIC_LABELS[metric]} of every head with 95% CI"
chart = interval_figure(values, low, high, removed, METRIC_LABELS[metric])
figure(chart, title, "interval_chart", alt=f"{title}. {text}")
st.caption(
    f"Bars: 95% bootstrap CIs (1,000 resamples of {count} examples). Sparsity {sparsity:.0%}. "
    + ("The AE criterion prunes the highest-entropy heads first. " if metric == "ae" else "")
    + (f"HIES at α = {alpha:g}, as set under Alpha." if metric == "hies" else "")
)
frame = scores.to_frame()[["row", "head"]]
frame = frame.assign(**{metric: values.ravel(), "low": low.ravel(), "high": high.ravel(), "removed_share": removed.ravel()})
downloads(
    "intervals",
    frame,
    {"model": loaded.model.name, "metric": metric, "alpha": alpha, "sparsity": sparsity, "heads": records(frame)},
)

st.header("Number of calibration examples")
stability = bootstrap_cache.stability(loaded, alpha)
for one in stability:
    icon = ":material/check_circle:" if one.recommended_size else ":material/add_circle:"
    st.markdown(f"{icon} **{METRIC_SHORT_LABELS[one.metric]}**: {one.verdict}")
if len(stability[0].table):
    text = " ".join(f"{METRIC_LABELS[one.metric]}: {one.verdict}" for one in stability)
    title = "Rank stability by number of examples"
    figure(stability_figure(stability), title, "stability_chart", alt=f"{title}. {text}")
st.caption(
    f"Solid: Kendall's τ between the ranking from the first n examples and from all {count}; biased upward because the n "
    f"are a subset of the {count}. Dotted: τ between two disjoint subsets of n examples (unbiased). HIES at α = {alpha:g}. "
    + (f"Up to 128 examples can be loaded under {labels.PAGES['model_and_data'].title}." if count < 128 else "")
)
table = pd.concat([one.table.assign(metric=one.metric) for one in stability], ignore_index=True)
recommended = {one.metric: one.recommended_size for one in stability}
document = {"texts": count, "alpha": alpha, "recommended": recommended}
downloads("stability", table, document | {"sizes": records(table)})

st.header("Agreement of the criteria")
result = ablation(loaded)
compared = criterion_rankings(scores, alpha=alpha)
if result is not None:
    compared |= {ABLATION_LABELS[measure]: getattr(result.found, measure) for measure in MEASURES}
matrix = agreement_matrix(compared, sparsity)
show = st.segmented_control(
    "Agreement measure",
    ["kendall", "overlap"],
    default="kendall",
    required=True,
    key="agreement_show",
    format_func={"kendall": "Rank correlation (Kendall's τ)", "overlap": "Overlap of pruned heads (Jaccard)"}.get,
    wrap=True,
    **KEEP,
)
text = describe_agreement(matrix)
title = "Agreement of pairs of criteria"
figure(agreement_heatmap(matrix, show, kendall_range), title, "agreement_chart", alt=f"{title}. {text}")
st.caption(
    f"{text} "
    + ("Kendall's τ: 1 = same order, 0 = no association, −1 = reversed." if show == "kendall" else "")
    + ("Overlap: heads pruned by both ÷ heads pruned by either (Jaccard index)." if show == "overlap" else "")
    + f" Sparsity {sparsity:.0%}; HIES at α = {alpha:g}."
)
pairs = matrix.to_frame()
chance = matrix.chance if matrix.removed else None
downloads("agreement", pairs, {"sparsity": sparsity, "alpha": alpha, "chance": chance, "pairs": records(pairs)})

st.header("Leave-one-out ablation")
n_available = len(ablation_examples(loaded))
st.markdown(
    f"To check the criteria, mask each of the {rows * heads} heads on its own and measure the change in loss on "
    + ("held-out evaluation examples." if loaded.evaluation is not None else "the calibration set.")
)
if st.session_state.get("ablation_size", 0) > n_available:
    del st.session_state["ablation_size"]  # set for a larger dataset
size = 1
if n_available > 1:
    size = st.slider(
        labels.EVALUATION_EXAMPLES if loaded.evaluation is not None else labels.CALIBRATION_EXAMPLES,
        1,
        n_available,
        min(64, n_available),
        key="ablation_size",
        on_change=drop_failure,
        **KEEP,
    )
with st.container(horizontal=True, vertical_alignment="center"):
    if st.button("Run leave-one-out", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
        start_ablation(loaded, size)
        st.rerun()
    st.caption(f"{rows * heads + 1} forward passes over {size} example{'s' * (size != 1)}")
if runner().busy:
    progress_panel("ablation")
show_failure("uncertainty")
if result is None:
    st.info("No ablation results yet. Click **Run leave-one-out**.", icon=":material/ads_click:")
    st.stop()

found = result.found
data = f"{'evaluation' if result.held_out else 'calibration'} example{'s' * (result.size != 1)}"
st.markdown(
    f"The result below is for {result.size} {data}."
    + ("" if result.size == size else f" Click **Run leave-one-out** for {size} example{'s' * (size != 1)}.")
)
task = task_of(loaded.model)
drop_name = f"{measure_label(found.measure)} drop"
if found.objective == "prediction" and task.has_decisions:
    drop_name = "Changed predictions"
measure = st.segmented_control(
    "Measure",
    [*MEASURES, "accuracy_drop"],
    default="abs_loss_change",
    required=True,
    key="ablation_measure",
    format_func={
        "abs_loss_change": "Absolute change in loss",
        "loss_change": "Signed change in loss",
        "accuracy_drop": drop_name,
    }.get,
    wrap=True,
    **KEEP,
)
meaning = {
    "abs_loss_change": "Mean |Δloss| over examples. HIS is a first-order approximation of this quantity.",
    "loss_change": "Mean Δloss over examples. Negative: the model does better without the head.",
    "accuracy_drop": f"Drop in {sentence_name(found.measure)} when the head is masked.",
}
if found.objective == "prediction" and task.has_decisions:
    meaning["accuracy_drop"] = "Share of predictions that change when the head is masked."
left, right = st.columns([3, 2], gap="large")
values = getattr(found, measure)
frame = found.to_frame()
top = frame.loc[frame[measure].idxmax()]
text = f"Largest for layer {top['row']:.0f}, head {top['head']:.0f}: {top[measure]:.3g}."
if frame[measure].nunique() == 1:
    text = "The value is the same for every head."
with left:
    title, unit = ablation_title(measure, found.measure)
    head_map = HeadMap(
        measure,
        f"{title} without the head",
        values,
        role="leave_one_out" if measure == "abs_loss_change" else "difference",
        short=title,
        unit=unit,
        percent=measure == "accuracy_drop" and found.measure in SHARES,
        ranked=measure == "abs_loss_change",
        description=f"{meaning[measure]} {text}",
    )
    head_grid([head_map], scores.grid.row_labels, key="ablation_map")
left.caption(
    f"{meaning[measure]} {text} Loss: {task.loss}; n = {result.size} {data}."
    + (" No labels: the loss uses the model's own predictions as targets." if found.objective == "prediction" else "")
)
comparison, halves = bootstrap_cache.against(loaded, result, alpha)
if measure in halves:
    text = describe_ablation(comparison, measure, halves[measure])
    with right:
        chart = ablation_kendall(comparison, measure, halves[measure])
        figure(chart, "Correlation of each criterion with the ablation", "ablation_chart", alt=text)
    st.markdown(text)
    st.caption(
        "Gray band: split-half reliability of the ablation (95% of random splits). Ablating one head at a time does not "
        "capture interactions: two redundant heads can each look unimportant."
    )
with st.expander("Correlation of each criterion with the ablation", icon=":material/table:"):
    st.dataframe(comparison, hide_index=True)
    downloads("criteria_and_leave_one_out", comparison, {"alpha": alpha, "halves": halves, "criteria": records(comparison)})
st.dataframe(frame, hide_index=True, height=280)
downloads("leave_one_out", frame, {"texts": result.size, "held_out": result.held_out, "heads": records(frame)})
