"""The selection of heads that a component sends from the browser, validated."""

import streamlit as st


def read_selection(key: str, shape: tuple[int, int]) -> tuple[tuple[int, int], ...] | None:
    """Return the selected heads that a component sent last; None in place of a message that is invalid.

    Args:
        key: Key of the component.
        shape: Rows and heads.
    """
    try:
        places = [(row, head) for row, head in last_message(key)["heads"]]
    except (KeyError, TypeError, ValueError):
        return None
    if not all(type(n) is int for place in places for n in place):
        return None
    if not all(0 <= row < shape[0] and 0 <= head < shape[1] for row, head in places):
        return None
    return tuple(dict.fromkeys(places))


def last_message(key: str) -> dict:
    """Return the last message about a selection, with its number and the names of known maps; empty if it is invalid."""
    try:
        sent = st.session_state[key]["sent"]
        valid = type(sent["number"]) is int and all(isinstance(name, str) for name in sent.get("known", []))
    except (AttributeError, KeyError, TypeError):
        return {}
    return sent if valid else {}
