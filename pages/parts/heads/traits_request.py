"""What a page shows before the traits of the heads are computed: what to click, the progress, and an error."""

import streamlit as st

from pages.parts.common.failures import show_failure
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress_panel
from pages.parts.common.workspace import Workspace

from .traits_run import VIEW, start_traits

LABEL = "Compute head traits"


def traits_request(loaded: Workspace, what: str) -> None:
    """Offer to compute the traits, or show the progress of their job.

    Args:
        loaded: The workspace.
        what: What needs them, at the beginning of a sentence, as in "Columns of traits and roles".
    """
    show_failure(VIEW)
    one = runner().jobs.get(VIEW)
    if one is not None and one.job.running:
        progress_panel("traits", VIEW)
        return
    st.info(f"{what} need the traits of the heads. Click **{LABEL}**.", icon=":material/ads_click:")
    if st.button(LABEL, type="primary", icon=":material/play_arrow:", key="compute_traits"):
        start_traits(loaded)
        st.rerun()
    count = len(loaded.calibration)
    st.caption(f"One forward pass over {count} calibration example{'s' * (count != 1)}; attention is not stored.")
