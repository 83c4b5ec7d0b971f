"""HeadPrune's browser app: the router. Theme and navigation, the sidebar, and the first load; no maths."""

import logging
import os

import streamlit as st

from pages.parts.common.labels import PAGES

# Threads that wait for each other asleep: spinning, two of them beside a browser on a small machine are ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported, below

FIRST_LOAD = "Loading a small sentiment model and its tweets, and scoring its 72 attention heads. This takes a few seconds."

st.set_page_config("HeadPrune", page_icon="assets/icon.svg", layout="wide")
st.html("<style>.stMainBlockContainer {padding: 3.5rem clamp(1rem, 4vw, 4.5rem) 4rem; max-width: 90rem}</style>")
st.logo("assets/logo.svg", icon_image="assets/icon.svg", size="large")
logging.getLogger("transformers").setLevel(logging.ERROR)
page = st.navigation(
    [
        st.Page(
            page.script,
            title=page.title,
            icon=page.icon,
            help=page.question,
            url_path=page.path,
            default=page.path == "model",
        )
        for page in PAGES.values()
    ]
)

with st.spinner("Starting PyTorch and Transformers (once for every server)…"):
    # imported here, below the navigation, so that a server that has just started shows it at once
    from pages.parts.common.session import current_workspace, runner, start_loading
    from pages.parts.common.shared_ui import progress_panel, sidebar
    from pages.parts.common.workspace import Request

if current_workspace() is None and runner().job is None and "failure" not in st.session_state:
    start_loading(Request())
    runner().job.wait(0.3)  # where another session has loaded it already, there is nothing to wait for
runner().collect()
sidebar()
if failure := st.session_state.get("failure"):
    st.error(failure, icon=":material/error:")
if current_workspace() is not None:
    page.run()
elif runner().busy:
    st.title(page.title)
    st.markdown(FIRST_LOAD)
    progress_panel("first")
else:
    st.button("Load the embedded model again", icon=":material/refresh:", on_click=start_loading, args=(Request(),))
