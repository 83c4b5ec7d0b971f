"""The panel of the selected heads: a drawer beside the page on wide screens, a sheet below it on narrow ones."""

import streamlit as st

from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace

from .head_actions import head_actions
from .role_section import role_text
from .score_section import head_name, pruning_state, score_table
from .selection import neighbor, select, selection

OWN_PAGE = "inspector"  # shows the selected heads itself
NAMED = 12  # heads of a selection that are named


def drawer(view: str) -> None:
    """Show the selected heads beside the page.

    Args:
        view: The page on screen.
    """
    loaded, chosen = current_workspace(), selection()
    if not chosen or view == OWN_PAGE:
        return
    with st.container(key="drawer", border=True):
        if len(chosen) > 1:
            names = ", ".join(f"{loaded.scores.grid.row_labels[row]}.{head}" for row, head in chosen[:NAMED])
            more = f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else ""
            st.markdown(f"**{len(chosen)} selected heads**  \n{plain(names)}{more} (layer.head)")
        else:
            st.markdown(f"**{plain(head_name(loaded, chosen[0]))}**")
            st.markdown(role_text(loaded, chosen[0]))
            score_table(loaded, chosen[0], intervals=False)
            st.caption(pruning_state(loaded, chosen[0]))
            stepper("drawer")
        head_actions("drawer", ablate=True)


def stepper(place: str) -> None:
    """Draw the buttons that select the head before and the head after.

    Args:
        place: Part of the keys of the buttons.
    """
    loaded = current_workspace()
    with st.container(horizontal=True):
        for label, icon, step in (("Previous head", "chevron_left", -1), ("Next head", "chevron_right", 1)):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"{label} {place}",
                on_click=lambda step=step: select([neighbor(loaded, step)]),
            )
