import streamlit as st
from headprune_core.inspection.view import SCRIPT, STYLE

_component = st.components.v2.component("headprune_attention_view", html="<div></div>", css=STYLE, js=SCRIPT)


def attention_view(document, *, key):
    _component(key=key, data={"document": document}, default={"pinned": None}, on_pinned_change=lambda: None)
