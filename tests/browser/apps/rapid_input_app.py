"""A page with a large element that changes with every choice, like a chart."""

import streamlit as st

chosen = st.radio("Number", list("01234"))
st.text(20_000 * chosen)
for _ in range(20):  # points at which Streamlit checks for newer input
    st.empty()
st.html(f"<p class='chosen'>{chosen}</p>")
