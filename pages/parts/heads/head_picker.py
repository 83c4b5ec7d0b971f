"""Widgets that select one head by layer and number, as an alternative to a click on a map."""

import streamlit as st

from pages.parts.common.workspace import Workspace

from .selection import select, selection


def head_picker(loaded: Workspace, place: str) -> None:
    """Draw the choice of layer and head; a change selects this head alone.

    Args:
        loaded: The workspace.
        place: Part of the keys of the widgets.
    """
    rows, heads = loaded.model.grid.shape
    names, chosen = loaded.scores.grid.row_labels, selection()
    row_key, head_key = f"row {place}", f"head {place}"

    def take() -> None:
        if st.session_state[row_key] is not None and st.session_state[head_key] is not None:
            select([(st.session_state[row_key], st.session_state[head_key])])

    if chosen:
        st.session_state[row_key], st.session_state[head_key] = chosen[0]
    left, right = st.columns(2)
    left.selectbox(
        "Layer",
        range(rows),
        None,
        format_func=lambda row: names[row],
        key=row_key,
        on_change=take,
        placeholder="Choose a layer",
    )
    right.selectbox("Head", range(heads), None, key=head_key, on_change=take, placeholder="Choose a head")
