"""A page with a large part that changes with every choice, as a chart does."""

import streamlit as st

chosen = st.radio("Number", list("01234"))
st.text(20_000 * chosen)
for _ in range(20):  # where Streamlit looks whether something else was chosen meanwhile
    st.empty()
st.html(f"<p class='chosen'>{chosen}</p>")
