"""The panel of the selected heads: a drawer beside the page on wide screens, a sheet below it on narrow ones."""

import streamlit as st

from headprune_core.figures.heatmaps import row_name
from pages.parts.common.labels import PAGES
from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace

from .selection import clear, neighbor, select, selection

OWN_PAGE = "inspector"  # shows the selected heads itself


def drawer(view: str) -> None:
    """Show the selected heads beside the page.

    Args:
        view: The page on screen.
    """
    loaded, chosen = current_workspace(), selection()
    if not chosen or view == OWN_PAGE:
        return
    row, head = chosen[0]
    with st.container(key="drawer", border=True):
        st.markdown(f"**{plain(row_name(loaded.scores.grid.row_labels[row])).capitalize()}, head {head}**")
        with st.container(horizontal=True):
            st.button("Previous head", icon=":material/chevron_left:", on_click=lambda: select([neighbor(loaded, -1)]))
            st.button("Next head", icon=":material/chevron_right:", on_click=lambda: select([neighbor(loaded, 1)]))
            st.button("Clear selection", icon=":material/close:", on_click=clear)
        st.page_link(PAGES[OWN_PAGE].script, label=f"Open {PAGES[OWN_PAGE].title}", icon=":material/arrow_forward:")
