"""The browser app's router: page configuration, styles, navigation, the sidebar, and the first load."""

import logging
import os
from pathlib import Path

import streamlit as st

from pages.parts.common.labels import PAGES
from pages.parts.common.styles import STYLES

# Idle threads sleep: spinning beside a browser on a small machine makes PyTorch ten times slower. PyTorch reads this
# when it is imported, which happens below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ASSETS = Path(__file__).parent / "assets"  # `headprune app` keeps the user's working directory
FIRST_LOAD = "Loading the built-in sentiment model and scoring its 72 attention heads. This takes a few seconds."

st.set_page_config("HeadPrune", page_icon=str(ASSETS / "icon.svg"), layout="wide")
st.html(STYLES)
st.logo(str(ASSETS / "logo.svg"), icon_image=str(ASSETS / "icon.svg"), size="large")
logging.getLogger("transformers").setLevel(logging.ERROR)
pages = {
    view: st.Page(
        known.script,
        title=known.title,
        icon=known.icon,
        help=known.question,
        url_path=known.path,
        default=known.path == "model",
    )
    for view, known in PAGES.items()
}
page = st.navigation(list(pages.values()))
view = next(view for view, known in PAGES.items() if known.title == page.title)
st.session_state["page"] = view

with st.spinner("Starting PyTorch and Transformers (once per server start)…"):
    # Imported below the navigation, so that a server that has just started shows the navigation at once.
    from headprune_core import HeadPruneError
    from pages.parts.common.failures import announce_failures, current_failure, show_error
    from pages.parts.common.hosting import hosting
    from pages.parts.common.session import current_workspace, read_link, runner, start_loading
    from pages.parts.common.shared_ui import progress_panel, sidebar
    from pages.parts.common.workspace import Request
    from pages.parts.heads.drawer import drawer
    from pages.parts.heads.selection import check_selection

try:
    notice = hosting().notice
except HeadPruneError as error:
    logging.getLogger("headprune").error("headprune: %s", error)
    st.error("The settings of this server cannot be used. The terminal of the server says why.", icon=":material/error:")
    st.stop()
if notice:
    st.caption(f":material/public: {notice}")
read_link()
LOADING = "model_and_data"  # the page that loads and shows its errors
if current_workspace() is None and LOADING not in runner().jobs and current_failure(LOADING) is None:
    start_loading(Request())
    runner().jobs[LOADING].job.wait(0.3)  # enough if another session has loaded the built-in model already
runner().collect()
sidebar()
if current_workspace() is not None:
    announce_failures(view)
    check_selection(current_workspace())
    page.run()
    drawer(view)
elif LOADING in runner().jobs:
    st.title("HeadPrune")
    st.markdown(FIRST_LOAD)
    progress_panel("first", LOADING)
else:
    st.title("HeadPrune")
    if current_failure(LOADING) is not None:
        show_error(current_failure(LOADING).text)
    st.button("Reload built-in model", icon=":material/refresh:", on_click=start_loading, args=(Request(),))
