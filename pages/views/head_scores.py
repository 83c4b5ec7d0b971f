"""Head scores: four criteria as maps of all heads, and the table of all scores."""

import numpy as np
import streamlit as st

from headprune_core.figures.heatmaps import METRIC_LABELS, METRIC_SHORT_LABELS, describe_heatmap, has_custom_labels
from headprune_core.scores.scaling import SCALINGS, scaled
from pages.parts.common import labels
from pages.parts.common.option_labels import describe_options
from pages.parts.common.score_code import score_command, score_python
from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace, publish, remember, setting
from pages.parts.common.shared_ui import copy_as_code, downloads, page_header
from pages.parts.common.workspace import BATCH_SIZE
from pages.parts.head_grid import HeadMap, head_grid
from pages.parts.heads.selection import select
from pages.parts.scores.score_options import options_panel

SMALL = 200  # heads whose table is open at first
TITLES = METRIC_LABELS | {"ae": f"{METRIC_LABELS['ae']}; dark = focused (low)"}
loaded = current_workspace()
scores = loaded.scores
rows, heads = scores.grid.shape
row_labels = scores.grid.row_labels
publish("alpha")

page_header("head_scores")
st.markdown(
    f"The {labels.HIS} estimates how much the loss changes when a head's output changes. The {labels.AE} "
    f"measures how widely a head spreads its attention. The {labels.HIES} combines both. The {labels.GNORM} multiplies the "
    "gradient norms of the head's query (Q), key (K) and value (V) weights. Click a head to select it on every page."
)
options_panel(loaded)
left, right = st.columns(2, vertical_alignment="bottom")
scaling = left.segmented_control(
    "Scale",
    list(SCALINGS),
    default="raw",
    required=True,
    format_func=SCALINGS.get,
    key="scaling",
    wrap=True,
    persist_state="session",
)
alpha = right.slider(
    labels.HIES_ALPHA,
    0.0,
    1.0,
    float(setting("alpha")),
    0.01,
    key="scores_alpha",
    help="Weight of importance in HIES: 1 = importance only, 0 = entropy only",
)
if alpha != setting("alpha"):
    remember("alpha", alpha)

values_by_metric = {"his": scores.his, "ae": scores.ae, "hies": scores.hies(alpha), "gnorm": scores.gnorm}


def take_row() -> None:
    """Select the head of the clicked table row."""
    picked = st.session_state["score_table"]["selection"]["rows"]
    select([divmod(picked[0], heads)] if picked else [])


nats = loaded.options.entropy != "normalized"
head_grid(
    [
        HeadMap(
            name,
            TITLES[name],
            values,
            role=name,
            short=METRIC_SHORT_LABELS[name],
            unit="nats" if name == "ae" and nats else "",
            dark="low" if name == "ae" else "high",
            shown=None if scaling == "raw" else scaled(values, scaling),
            shown_as={"rank": "Rank", "layer": "Min–max per layer"}.get(scaling, ""),
            ranked=True,
            description=describe_heatmap(values, METRIC_LABELS[name], row_labels),
        )
        for name, values in values_by_metric.items()
    ],
    row_labels,
    key="score_maps",
)
st.caption(
    f"Means over {len(loaded.calibration)} calibration examples of {plain(loaded.text_name)}. HIES at α = {alpha:g}. "
    f"Scoring options: {describe_options(loaded.options) or 'defaults'}."
)
st.header("All scores")
frame = scores.to_frame()
frame.insert(4, f"hies_{alpha:g}", values_by_metric["hies"].ravel())
if custom := has_custom_labels(row_labels):
    frame.insert(1, "layer", np.repeat(row_labels, heads))
score_labels = {"his": "HIS", "ae": "AE (nats)" if loaded.options.entropy != "normalized" else "AE", "gnorm": "Gnorm"}
score_labels[f"hies_{alpha:g}"] = f"HIES (α = {alpha:g})"
column_config = {
    "row": "Row" if custom else "Layer",
    "layer": "Layer",
    "head": "Head",
    **{name: st.column_config.NumberColumn(label, format="%.4g") for name, label in score_labels.items()},
}
# Closed for a large model: then a selection sends no table again.
table = st.expander("Table of all scores", expanded=rows * heads <= SMALL, on_change="rerun", icon=":material/table:")
if table.open:
    table.dataframe(
        frame,
        hide_index=True,
        height=280,
        column_config=column_config,
        on_select=take_row,
        selection_mode="single-row",
        key="score_table",
    )
document = {"model": loaded.model.name, "alpha": alpha, "settings": scores.settings | {"batch_size": BATCH_SIZE}}
document |= {"scores": {name: values.tolist() for name, values in values_by_metric.items()}}
downloads("head_scores", frame, document)
copy_as_code(score_python(loaded, alpha), score_command(loaded), "scores")
