"""Head inspector: what the selected head attends to, how it ranks, and what changes without it."""

import streamlit as st

from pages.parts.common.session import current_workspace, publish, setting
from pages.parts.common.shared_ui import page_header
from pages.parts.heads.score_sections import inspector
from pages.parts.heads.selection import selection

loaded = current_workspace()
publish("alpha")
page_header("inspector")
chosen = selection()
if not chosen:
    st.info("No head is selected. Click a head on any map.", icon=":material/ads_click:")
    st.stop()
inspector(loaded, chosen[0], float(setting("alpha")))
