"""One text: the prediction for it, the share of each head in the prediction, and the attention of heads on it."""

import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.inspection.one_text import encode_text
from pages.parts.common.failures import show_error
from pages.parts.common.sentences import sentence
from pages.parts.common.session import current_workspace, publish
from pages.parts.common.settings import ALPHA
from pages.parts.common.shared_ui import page_header
from pages.parts.heads.attention_section import attention_section
from pages.parts.heads.prediction_section import prediction_section
from pages.parts.heads.selection import selection
from pages.parts.heads.share_section import share_section
from pages.parts.heads.text_choice import text_choice

loaded = current_workspace()
publish(*ALPHA, "text", "text_pair")
page_header("one_text")
chosen = text_choice(loaded)
if chosen is None:
    st.stop()
try:
    encoded, _ = encode_text(loaded.model, chosen.text, chosen.pair)
    prediction_section(loaded, chosen)
except HeadPruneError as error:
    show_error(sentence(str(error)))
    st.stop()
share_section(loaded, chosen, int(encoded.lengths[0]))

st.header("Attention", anchor=False)
rows = loaded.model.grid.shape[0]
names = loaded.scores.grid.row_labels
picked = selection()
shown = "Selected heads"
if picked:
    shown = st.segmented_control(
        "Attention of", ["Selected heads", "Mean of a layer"], default=shown, required=True, key="attention_of"
    )
if picked and shown == "Selected heads":
    attention_section(loaded, list(picked), chosen, key="text_attention")
else:
    row = 0
    if rows > 1:
        row = st.select_slider(
            "Layer", range(rows), format_func=lambda one: names[one], key=f"attention_row_{rows}", help="Mean over its heads"
        )
    attention_section(loaded, [(row, "mean")], chosen, key="text_attention")
