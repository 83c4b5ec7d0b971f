"""Head inspector: what the selected heads attend to, how they rank, and what changes without them."""

import streamlit as st

from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace, publish
from pages.parts.common.shared_ui import page_header
from pages.parts.heads.attention_section import MOST_HEADS, attention_section
from pages.parts.heads.drawer import stepper
from pages.parts.heads.effect_section import effect_section
from pages.parts.heads.head_actions import head_actions
from pages.parts.heads.head_picker import head_picker
from pages.parts.heads.nearest_section import nearest_section
from pages.parts.heads.role_section import role_section, trait_table
from pages.parts.heads.score_section import head_name, pruning_state, score_section
from pages.parts.heads.selection import selection
from pages.parts.heads.text_choice import text_choice
from pages.parts.heads.traits_run import traits

loaded = current_workspace()
publish("alpha", "text", "text_pair")
page_header("inspector")
chosen = selection()
with st.container(border=True):
    head_picker(loaded, "inspector")
    if chosen:
        stepper("inspector")
if not chosen:
    st.info("No head is selected. Choose a layer and a head above, or click a head on any map.", icon=":material/ads_click:")
    st.stop()
first, several = chosen[0], chosen[:MOST_HEADS]
names = [head_name(loaded, head) for head in chosen]
if len(chosen) == 1:
    st.header(plain(names[0]), anchor=False)
    grid = loaded.scores.grid
    st.caption(f"{plain(grid.row_names[first[0]])} · {grid.parameters_per_head[first]:,.0f} parameters")
    st.markdown(pruning_state(loaded, first))
else:
    listed = ", ".join(
        f"{grid_label}.{head}" for grid_label, head in ((loaded.scores.grid.row_labels[r], h) for r, h in chosen)
    )
    st.header(f"{len(chosen)} selected heads", anchor=False)
    st.markdown(f"{plain(listed)} (layer.head)")
    if len(chosen) > MOST_HEADS:
        st.caption(f"The first {MOST_HEADS} are drawn side by side; masking and the buttons act on all.")
head_actions("inspector", ablate=False)

st.header("Attention on a text", anchor=False)
text = text_choice(loaded, first)
if text is not None:
    attention_section(loaded, list(several), text, key="inspector_attention")
if len(chosen) == 1:
    role_section(loaded, first)
    score_section(loaded, first)
elif traits(loaded) is not None:
    st.header("Traits side by side", anchor=False)
    st.table(trait_table(loaded, traits(loaded), list(several)))
effect_section(loaded, chosen)
if len(chosen) == 1:
    nearest_section(loaded, first)
