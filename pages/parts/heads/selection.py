"""The selected heads: one selection for all pages of a session, in the order of choice, kept in the URL."""

from collections.abc import Iterable

import streamlit as st

from pages.parts.common.session import publish, remember, setting
from pages.parts.common.workspace import Workspace

Head = tuple[int, int]  # (row, head)


def selection() -> tuple[Head, ...]:
    """Return the selected heads as (row, head), in the order of choice; empty if none is selected."""
    return setting("heads")


def select(heads: Iterable[Head]) -> None:
    """Replace the selection.

    Args:
        heads: The heads as (row, head); repeated heads count once.
    """
    remember("heads", tuple(dict.fromkeys((int(row), int(head)) for row, head in heads)))


def clear() -> None:
    """Select no head."""
    select(())


def check_selection(loaded: Workspace) -> None:
    """Drop selected heads that the loaded model does not have, with a message, and put the others into the URL."""
    rows, heads = loaded.model.grid.shape
    missing = [f"{row}.{head}" for row, head in selection() if row >= rows or head >= heads]
    if missing:
        few = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        st.toast(
            f"Dropped from the selection, because this model does not have {'it' if len(missing) == 1 else 'them'}: head"
            f"{'' if len(missing) == 1 else 's'} {few}.",
            icon=":material/link_off:",
        )
        select((row, head) for row, head in selection() if row < rows and head < heads)
    publish("heads")


def neighbor(loaded: Workspace, step: int) -> Head:
    """Return the head before or after the first selected one, by row and head; after the last comes the first.

    Args:
        loaded: The workspace.
        step: 1 for the next head, -1 for the previous one.
    """
    _, heads = loaded.model.grid.shape
    row, head = selection()[0]
    return divmod((row * heads + head + step) % loaded.model.grid.kept.size, heads)
