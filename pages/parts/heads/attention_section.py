"""Attention of heads on one text, and the entropy of each query token's attention."""

import streamlit as st

from headprune_core import HeadPruneError, TextAttention, text_attention
from headprune_core.figures.inspection import entropy_by_position_figure, row_entropies
from pages.parts.attention_view import attention_view
from pages.parts.chart import figure
from pages.parts.common.failures import show_error
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.workspace import Workspace

from .text_choice import ChosenText

MOST_HEADS = 4  # side by side
MOST_KEPT = 8  # results that a session keeps


def attention_section(loaded: Workspace, heads: list[tuple[int, int | str]], chosen: ChosenText, *, key: str) -> None:
    """Draw the attention of heads on a text.

    Args:
        loaded: The workspace.
        heads: The heads as (row, head) or (row, "mean"); at most four are drawn.
        chosen: The text.
        key: Key of the view.
    """
    if loaded.model.task == "translation" and chosen.token_ids is None and chosen.target is None:
        st.info("Enter a target text, which the decoder reads.", icon=":material/edit:")
        return
    try:
        found = _attention(loaded, heads[:MOST_HEADS], chosen)
    except HeadPruneError as error:
        show_error(sentence(str(error)))
        return
    for note in found.notes:
        st.caption(plain(note))
    attention_view(found.document(), key=key)
    with st.expander("Entropy by position", icon=":material/ssid_chart:"):
        entropies = row_entropies(found.attention)
        chart = entropy_by_position_figure(entropies, found.queries.surface, found.labels)
        alt = "Normalized entropy of the attention of each query token."
        figure(chart, "Entropy by position", f"entropy_{key}", alt=alt)
        st.caption(
            "0: the query attends to one token. 1: it attends equally to all tokens that it attends to at all. Queries that "
            "see a single token have no value."
        )


def _attention(loaded: Workspace, heads: list, chosen: ChosenText) -> TextAttention:
    """The attention, computed once per text and heads.

    Raises:
        HeadPruneError: If the text cannot be read.
    """
    known: dict = st.session_state.setdefault("attention", {})
    key = loaded.model_key, chosen, tuple(heads)
    if key not in known:
        text = chosen.text if chosen.token_ids is None else None
        with st.spinner("Reading the text…"):
            known[key] = text_attention(
                loaded.model, text, pair=chosen.pair or chosen.target, heads=heads, token_ids=chosen.token_ids
            )
        while len(known) > MOST_KEPT:
            del known[next(iter(known))]
    return known[key]
