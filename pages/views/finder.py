"""Head finder: the heads with extreme values of any column, and the roles of all heads."""

import streamlit as st

from pages.parts.common.session import current_workspace, publish
from pages.parts.common.shared_ui import page_header
from pages.parts.finder.find_section import find_section
from pages.parts.finder.roles_section import roles_section
from pages.parts.heads.head_table import head_table
from pages.parts.heads.traits_request import traits_request
from pages.parts.heads.traits_run import traits
from pages.parts.uncertainty.ablation_run import ablation

loaded = current_workspace()
publish("alpha", "role_threshold")
found, run = traits(loaded), ablation(loaded)
masked = None if run is None else run.found

page_header("finder")
st.markdown(
    "Find heads by any column: scores, traits of their attention, roles, the share of alpha at which they are kept, and "
    "leave-one-out ablation. The selection is the same on every page."
)
if found is None:
    traits_request(loaded, "Columns of traits and roles")
st.header("Find heads")
find_section(loaded, head_table(loaded, found, masked))
if found is not None:
    st.header("Roles")
    roles_section(loaded, found, masked)
