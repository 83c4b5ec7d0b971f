"""The attention view as a Streamlit component: the same module as in notebooks and HTML files."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from headprune_core.inspection.attention_html import page_template
from headprune_core.inspection.view import SCRIPT, STYLE

_component = st.components.v2.component("headprune_attention_view", css=STYLE, js=SCRIPT)


@dataclass(frozen=True)
class PinnedTokens:
    """Tokens `start` to `stop` (exclusive) that are pinned, on the side of the queries ("query") or keys ("key")."""

    side: str
    start: int
    stop: int


def attention_view(document: dict, *, key: str, on_pin: Callable[[], None] | None = None) -> None:
    """Show attention on a text.

    Args:
        document: What `TextAttention.document` returns.
        key: Key of the component.
        on_pin: Called when tokens are pinned or unpinned; `pinned_tokens(key, document)` returns them there.
    """
    data = {"document": document, "page": page_template(), "reports": on_pin is not None}
    _component(key=key, data=data, default={"pinned": None}, on_pinned_change=on_pin or _nothing)


def pinned_tokens(key: str, document: dict) -> PinnedTokens | None:
    """Return the pinned tokens that the browser sent last; None if there are none, or if they are not in the document."""
    try:
        sent = st.session_state[key]["pinned"]
        side, start, stop = sent["side"], sent["start"], sent["stop"]
        count = len(document[{"query": "queries", "key": "keys"}[side]]["tokens"])
    except (KeyError, TypeError):
        return None
    numbers = type(start) is int and type(stop) is int
    return PinnedTokens(side, start, stop) if numbers and 0 <= start < stop <= count else None


def _nothing() -> None:
    """Streamlit requires a callback for a state with a default."""
