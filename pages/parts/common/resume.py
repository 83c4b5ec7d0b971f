"""One statement about a cancelled run: how much of it is done, and a button that resumes it."""

import streamlit as st

from .session import runner


def resume_row(done: int, total: int, unit: str, key: str) -> bool:
    """Say how much of a cancelled run is done; return True if its Resume button is clicked."""
    count = f"{done:,} of {total:,} {unit}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"The run was cancelled after {count}.")
        return st.button(f"Resume ({count})", icon=":material/resume:", key=f"resume_{key}", disabled=runner().busy)
