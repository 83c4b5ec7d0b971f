"""Model & data: what is loaded, and a form to load another model or dataset."""

import pandas as pd
import streamlit as st

from headprune_core.figures.data import label_bars, length_histogram
from headprune_core.figures.heatmaps import has_custom_labels
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.failures import outside
from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace
from pages.parts.common.shared_ui import downloads, page_header
from pages.parts.data.calibration_table import calibration_table
from pages.parts.data.load_form import load_form

page_header("model_and_data")
st.markdown(
    f"A transformer processes text with many attention heads. HeadPrune scores how important each head is, with the "
    f"{labels.HIS}, the {labels.AE}, the {labels.HIES} and the {labels.GNORM}, and measures what happens when you prune the "
    "least important heads. The model and data below are loaded. View the head scores, or load your own."
)
st.page_link(labels.PAGES["head_scores"].script, label="View head scores", icon=":material/arrow_forward:")
loaded = current_workspace()
grid = loaded.model.grid
rows, heads = grid.shape
parameters = sum(p.numel() for p in loaded.model.model.parameters())
with st.container(horizontal=True):
    st.metric("Layers", len(grid.layers))
    st.metric("Heads", rows * heads)
    st.metric("Parameters", f"{parameters / 1e6:.1f} M")
    share = float(grid.parameters_per_head.sum()) / parameters
    st.metric(
        "Parameters in heads",
        f"{share:.0%}",
        help="Share of all parameters in the query (Q), key (K), value (V) and output projections",
    )
    st.metric(labels.CALIBRATION_EXAMPLES, len(loaded.calibration))
    st.metric(labels.EVALUATION_EXAMPLES, len(loaded.evaluation or ()))
    if loaded.check is not None:
        st.metric("Unpruned accuracy", f"{loaded.check.accuracy:.1%}", help=f"On {loaded.check.n} labeled examples.")
        st.metric("Chance level", f"{loaded.check.chance:.1%}", help="Share of the most frequent class, label set or tag.")
for note in loaded.notes:
    st.info(outside(note), icon=":material/info:")
if loaded.plan is not None:
    with st.expander("How the dataset was read", icon=":material/rule:"):
        st.markdown("\n".join(f"- {plain(line)}" for line in loaded.plan.describe()))

load_form()

st.header("Calibration set")
table = calibration_table(loaded)
left, right = st.columns([3, 2], gap="large")
with left:
    st.dataframe(table, hide_index=True, height=300, column_config={name: name.capitalize() for name in table.columns})
    downloads("calibration", table)
with right:
    lengths = loaded.lengths
    text = f"Examples are {min(lengths)} to {max(lengths)} tokens long."
    counted = loaded.model.task not in ("translation", "regression")  # whose labels are target texts and numbers
    if loaded.labelled and counted:
        counts = table["label"].value_counts()
        figure(label_bars(counts), "Examples by class", "label_counts", alt=f"Examples by class: {counts.to_dict()}")
    lengths_of = pd.DataFrame({"example": range(len(lengths)), "tokens": lengths})
    chart = length_histogram(lengths, loaded.model.max_tokens)
    figure(chart, "Tokens per example", "token_counts", alt=text, data=lengths_of)
    st.caption(text)

st.header("Attention modules")
ATTENTION_TYPES = {
    "self": "self-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "cross-attention",
}
modules = pd.DataFrame(
    {
        "row": range(rows),
        **({"layer": grid.row_labels} if has_custom_labels(grid.row_labels) else {}),
        "attention module": grid.row_names,
        "attends": [ATTENTION_TYPES[row.kind] for row in grid.rows],
        "times used": [sum(layer == row for layer in grid.layers) for row in range(rows)],
        "heads": heads,
        "kv heads": [row.kv_heads for row in grid.rows],
        "q, k, v": ["fused" if row.q.module is row.k.module is row.v.module else "separate" for row in grid.rows],
        "head size": [row.head_size for row in grid.rows],
        "parameters per head": [round(row.parameters_per_head) for row in grid.rows],
    }
)
column_labels = {
    "row": "Row" if "layer" in modules else "Layer",
    "layer": "Layer",
    "attention module": "Attention module",
    "attends": "Attention type",
    "times used": st.column_config.NumberColumn("Layers", help="Number of layers sharing these weights"),
    "heads": "Heads",
    "kv heads": "KV heads",
    "q, k, v": "Q, K, V",
    "head size": "Head size",
    "parameters per head": st.column_config.NumberColumn("Parameters per head", format="localized"),
}
st.dataframe(modules, hide_index=True, column_config=column_labels)
st.caption("KV heads: key-value heads; fewer than heads in a model with grouped-query attention (GQA).")
downloads("anatomy", modules)
