"""How sure are we: intervals, rank stability, agreement of criteria, and what really happens when a head goes."""

import pandas as pd
import streamlit as st

from headprune_core import agreement_matrix, criterion_rankings
from headprune_core.figures.ablation import ablation_heatmap, ablation_kendall, describe_ablation
from headprune_core.figures.heatmaps import METRIC_LABELS
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
from pages.parts import redraws
from pages.parts.common.session import current_workspace, publish, remember, runner, setting
from pages.parts.common.shared_ui import downloads, page_header, progress_panel, records
from pages.parts.uncertainty.ablation_run import ablation, ablation_texts, start_ablation

FEW = 8  # below this many texts, draws of them are too alike for an interval
PLAIN = {"displayModeBar": False}
ABLATION_LABELS = {"abs_loss_change": "Left out: moves", "loss_change": "Left out: rises"}
loaded = current_workspace()
scores = loaded.scores
rows, heads = scores.grid.shape
count = len(loaded.calibration)
alpha = float(setting("alpha"))
publish("alpha", "sparsity")

page_header("uncertainty")
counted = f"{count} text{'s' if count > 1 else ''}"
st.markdown(
    f"Every score here is a mean over {counted}. Other texts would have given other scores: how different, and would other "
    "heads have gone? All of it but the last part comes from stored values, without running the model."
)
if count < FEW:
    st.warning(
        f"{counted} drawn anew: that says next to nothing about other texts, and no interval below can be believed. Load at "
        f"least {FEW} under Model & text.",
        icon=":material/data_alert:",
    )
percent = st.slider("Heads to remove", 0, 100, round(100 * setting("sparsity")), format="%d %%", key="removed_percent")
if percent != round(100 * setting("sparsity")):
    remember("sparsity", percent / 100)
sparsity = float(setting("sparsity"))
drawn, kendall_range = redraws.rankings(loaded, alpha)

st.subheader("Which heads go, whichever texts are drawn?")
metric = st.segmented_control(
    "Score", available(scores), default="his", required=True, format_func=METRIC_LABELS.get, key="interval_metric"
)
values, low, high = redraws.intervals(loaded, metric, alpha)
removed = removal_share(drawn[metric], sparsity)
words = describe_intervals(removed, heads_to_remove(sparsity, values.size))
st.markdown(words)
figure = interval_figure(values, low, high, removed, METRIC_LABELS[metric])
st.plotly_chart(figure, alt=f"{METRIC_LABELS[metric]} of every head with 95 % intervals. {words}", config=PLAIN)
st.caption(
    f"Bars are 95 % intervals: the {count} texts drawn anew, with repeats, 1,000 times. "
    + ("AE removes the heads of highest entropy first. " if metric == "ae" else "")
    + (f"HIES with alpha {alpha:g}, as set under Alpha." if metric == "hies" else "")
)
frame = scores.to_frame()[["row", "head"]]
frame = frame.assign(**{metric: values.ravel(), "low": low.ravel(), "high": high.ravel(), "removed_share": removed.ravel()})
downloads(
    "intervals",
    frame,
    {"model": loaded.model.name, "metric": metric, "alpha": alpha, "sparsity": sparsity, "heads": records(frame)},
)

st.subheader("How many texts are enough?")
steady = redraws.stability(loaded, alpha)
for one in steady:
    icon = ":material/check_circle:" if one.recommended_size else ":material/add_circle:"
    st.markdown(f"{icon} **{METRIC_LABELS[one.metric].partition(' ')[0]}**: {one.verdict}")
if len(steady[0].table):
    told = " ".join(f"{METRIC_LABELS[one.metric]}: {one.verdict}" for one in steady)
    st.plotly_chart(stability_figure(steady), alt=f"Rank stability against the number of texts. {told}", config=PLAIN)
st.caption(
    "Full lines: the ranking from the first texts against that from all of them. The first are among all, so this line "
    "rises to 1 by itself and flatters. Dotted: two sets of texts that share none, the honest control. "
    + ("More texts can be loaded under Model & text, up to 128." if count < 128 else "")
)
table = pd.concat([one.table.assign(metric=one.metric) for one in steady], ignore_index=True)
recommended = {one.metric: one.recommended_size for one in steady}
document = {"texts": count, "alpha": alpha, "recommended": recommended}
downloads("stability", table, document | {"sizes": records(table)})

st.subheader("Do the criteria agree?")
result = ablation(loaded)
compared = criterion_rankings(scores, alpha=alpha)
if result is not None:
    compared |= {ABLATION_LABELS[measure]: getattr(result.found, measure) for measure in MEASURES}
matrix = agreement_matrix(compared, sparsity)
show = st.segmented_control(
    "Show",
    ["kendall", "overlap"],
    default="kendall",
    required=True,
    key="agreement_show",
    format_func={"kendall": "Order of all heads", "overlap": "Overlap of what goes"}.get,
)
words = describe_agreement(matrix)
st.plotly_chart(agreement_heatmap(matrix, show, kendall_range), alt=f"Agreement of criteria in pairs. {words}", config=PLAIN)
st.caption(
    f"{words} "
    + ("Kendall: 1 is the same order, 0 none in common, -1 the reverse." if show == "kendall" else "")
    + ("Overlap: heads that both remove, as a share of those that either removes." if show == "overlap" else "")
    + f" HIES with alpha {alpha:g}."
)
pairs = matrix.to_frame()
chance = matrix.chance if matrix.removed else None
downloads("agreement", pairs, {"sparsity": sparsity, "alpha": alpha, "chance": chance, "pairs": records(pairs)})

st.subheader("What really happens when one head goes?")
texts = ablation_texts(loaded)
st.markdown(
    f"The criteria predict. To see, each of the {rows * heads} heads is switched off alone and the model answers "
    + (
        "texts that the scores have **not** seen."
        if loaded.evaluation is not None
        else "the texts that the scores are from."
    )
)
size = st.slider("Texts to answer", 1, len(texts), min(64, len(texts)), key="ablation_size") if len(texts) > 1 else 1
with st.container(horizontal=True, vertical_alignment="center"):
    if st.button("Leave out each head", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
        start_ablation(loaded, size)
        st.rerun()
    st.caption(f"{rows * heads + 1} runs of the model over {size} texts")
if runner().busy:
    progress_panel("ablation")
if result is None:
    st.info("Nothing has been left out yet. Click **Leave out each head**.", icon=":material/ads_click:")
    st.stop()

found = result.found
measure = st.segmented_control(
    "Measure",
    [*MEASURES, "accuracy_drop"],
    default="abs_loss_change",
    required=True,
    key="ablation_measure",
    format_func={
        "abs_loss_change": "How much the loss moves",
        "loss_change": "How much it rises",
        "accuracy_drop": "Answers lost" if found.objective == "loss" else "Answers changed",
    }.get,
)
what = {
    "abs_loss_change": "Mean over texts of the size of the loss's change: what HIS is the first-order guess at.",
    "loss_change": "Mean over texts of the loss's change, sign and all: below 0 the model is better off without the head.",
    "accuracy_drop": "Share of answers that are right with all heads and wrong without the head, less the reverse.",
}
if found.objective == "prediction":
    what["accuracy_drop"] = "Share of answers that change without the head."
left, right = st.columns([3, 2], gap="large")
values = getattr(found, measure)
frame = found.to_frame()
top = frame.loc[frame[measure].idxmax()]
words = f"Largest where layer {top['row']:.0f}, head {top['head']:.0f} goes: {top[measure]:.3g}."
if frame[measure].nunique() == 1:
    words = "It is the same whichever head goes."
left.plotly_chart(ablation_heatmap(values, measure), alt=f"{what[measure]} {words}", config=PLAIN)
left.caption(
    f"{what[measure]} {words} Losses in nats, over {result.size} texts"
    + (" that the scores have not seen." if result.held_out else " that the scores are from.")
    + (" The text has no labels: the loss is against the model's own answers." if found.objective == "prediction" else "")
)
against, halves = redraws.against(loaded, result, alpha)
if measure in halves:
    told = describe_ablation(against, measure, halves[measure])
    right.plotly_chart(ablation_kendall(against, measure, halves[measure]), alt=told, config=PLAIN)
    st.markdown(told)
    st.caption(
        "The grey band is how well two halves of these texts agree (95 % of random halvings). One head at a time says "
        "nothing about heads that go together: two that stand in for each other look dispensable each."
    )
with st.expander("What leaving out says of every criterion", icon=":material/table:"):
    st.dataframe(against, hide_index=True)
    downloads("criteria_and_leave_one_out", against, {"alpha": alpha, "halves": halves, "criteria": records(against)})
st.dataframe(frame, hide_index=True, height=280)
downloads("leave_one_out", frame, {"texts": result.size, "held_out": result.held_out, "heads": records(frame)})
