"""The attention view alone; below it, how often tokens were pinned, and which are."""

import streamlit as st

import headprune_core as hp
from pages.parts.attention_view import attention_view, pinned_tokens

st.set_page_config(layout="wide")


@st.cache_data
def document(sentence: str) -> dict:
    model = hp.PrunableModel.from_pretrained("embedded")
    return hp.text_attention(model, sentence, heads=[(3, 5), (4, 9)]).document()


def count():
    st.session_state.count = st.session_state.get("count", 0) + 1


sentence = st.text_input("Sentence", "The flight was late, but the crew was wonderful.")
found = document(sentence)
attention_view(found, key="attention", on_pin=count)
pinned = pinned_tokens("attention", found)
st.write(f"Pinned {st.session_state.get('count', 0)} times: {pinned}")
