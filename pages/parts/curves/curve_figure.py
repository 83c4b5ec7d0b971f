"""The figure of the curves in three views: curves, the random baseline, and recall per class."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from headprune_core.data.tasks import chance_level, task_of
from headprune_core.figures.curve_details import (
    class_curves,
    class_names,
    describe_class_curves,
    describe_random_boxes,
    random_boxes,
)
from headprune_core.figures.curves import curves_figure, describe_curves
from headprune_core.masks.criteria import method_label
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.shared_ui import plain
from pages.parts.common.workspace import Workspace

MEASURES = {
    "accuracy": f"Share of correct predictions. Bars: {labels.CI} by Wilson's method.",
    "pearson": f"Pearson's r between outputs and labels. Bars: {labels.CI} by a bootstrap over examples.",
    "spearman": "Spearman's rank correlation between outputs and labels.",
    "micro_f1": "F1 over all pairs of an example and a label.",
    "entity_f1": "F1 of entities, counted as correct if bounds and type are correct (nervaluate).",
    "agreement": "Share of predictions that match the unpruned model. Needs no labels.",
    "correlation": "Pearson's r between pruned and unpruned logits. Stability is its mean over sparsities.",
    "loss": "Mean {loss}; lower is better.",
    "perplexity": "exp(mean cross-entropy per token); lower is better.",
}
VIEWS = {"curves": "Curves", "boxes": "Random baseline", "classes": "Per class"}
PERSIST = {"persist_state": "session"}


def _measures(loaded: Workspace) -> dict[str, str]:
    """The measures of the task by name, each with its definition."""
    task = task_of(loaded.model)
    measures = {name: text.format(loss=task.loss) for name, text in MEASURES.items()}
    if not task.has_decisions:
        del measures["agreement"]  # the same as the correlation
    if task.name == "multi_label":
        wilson = measures["accuracy"].partition(" Bars:")[2]
        measures["accuracy"] = f"Share of {task.correct} (exact match). Bars:{wilson}"
    if task.name == "token_classification":
        measures["accuracy"] = measures["accuracy"].replace("correct predictions", task.correct)
    return measures


def _short_name(measure: str) -> str:
    return {"micro_f1": "Micro F1", "entity_f1": "Entity F1"}.get(measure, measure.capitalize())


def curve_figure(loaded: Workspace, frame: pd.DataFrame, note: str, *, dense: bool = False) -> go.Figure:
    """Draw the figure with its view and measure; return it. `note` ends the caption; `dense`: one point per head."""
    has = {"boxes": "random" in set(frame.method), "classes": bool(class_names(frame))}
    views = [name for name in VIEWS if has.get(name, True)]
    about_measures = _measures(loaded)
    measures = [name for name in about_measures if name in frame and frame[name].notna().any()]
    measures = measures or ["correlation"]  # of too few examples, so far undefined
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = st.segmented_control(
            "View", views, default="curves", required=True, key="curve_view", format_func=VIEWS.get, **PERSIST
        )
        if view == "classes":
            methods = list(dict.fromkeys(frame.method))
            method = st.selectbox("Criterion", methods, format_func=method_label, key="class_method", width=260, **PERSIST)
        else:
            measure = st.segmented_control(
                "Measure",
                measures,
                default=measures[0],
                required=True,
                key="measure",
                format_func=_short_name,
                help="  \n".join(f"**{_short_name(name)}**: {about_measures[name]}" for name in measures),
                **PERSIST,
            )
    if view == "classes":
        chart, text = class_curves(frame, method), describe_class_curves(frame, method)
        about = "The random baseline is averaged over its rankings."
    elif view == "boxes":
        chart, text = random_boxes(frame, measure), describe_random_boxes(frame, measure)
        about = "Dots: random rankings. Boxes: interquartile range."
    else:
        chart = curves_figure(frame, measure, chance=chance_level(loaded.model))
        measured = about_measures[measure].partition(" Bars:")[0] if dense else about_measures[measure]
        text, about = describe_curves(frame), f"{measured} Band: range over random rankings."
    if dense:
        chart.update_traces(error_y={"visible": False}, marker={"size": 5}, selector={"mode": "lines+markers"})
    shown = f"per-class recall of {method_label(method)}" if view == "classes" else _short_name(measure)
    title = f"{shown[0].upper()}{shown[1:]} vs. sparsity{', random baseline' if view == 'boxes' else ''}"
    figure(chart, title, "curves_figure", alt=text)
    st.caption(f"{plain(text)} {about} {note}")
    return chart
