"""Export of the curves: table, figure, settings, and the code that reproduces them."""

import io

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from headprune_core.report.bundle import can_draw
from headprune_core.strict_json import as_json
from pages.parts.common.workspace import Workspace

from .curve_code import command, python
from .curve_run import CurveResult


def exports(loaded: Workspace, result: CurveResult, figure: go.Figure) -> None:
    """Draw a download button per format, and the code. `figure` is the one on screen."""
    frame, light = result.curves.frame, on_paper(figure)
    document = {
        "model": loaded.model.name,
        "text": loaded.text_name,
        "measured_texts": result.measured,
        "complete": result.complete,
        "texts_of_the_scores_among_them": result.shared,
        "same_decisions_as_in_float32": result.same_decisions,
        "settings": result.request.settings(),
        "scores": loaded.scores.settings,
    }
    files = [
        ("CSV", "curves.csv", "text/csv", lambda: spreadsheet_csv(frame)),
        ("Parquet", "curves.parquet", "application/vnd.apache.parquet", lambda: parquet(frame)),
        ("Settings", "curves.json", "application/json", lambda: as_json(document)),
        ("Figure as HTML", "curves.html", "text/html", lambda: light.to_html(include_plotlyjs=True)),
    ]
    drawable = can_draw()
    if drawable:
        files += [
            ("SVG", "curves.svg", "image/svg+xml", lambda: light.to_image("svg", width=1000, height=560)),
            ("PNG", "curves.png", "image/png", lambda: light.to_image("png", width=1000, height=560, scale=2)),
        ]
    with st.container(horizontal=True):
        for name, file, kind, data in files:
            key = f"export_{file.partition('.')[2]}"
            st.download_button(name, data, file, kind, icon=":material/download:", on_click="ignore", key=key)
    if not drawable:
        st.caption(
            "To export SVG, use the camera icon on the figure. For PNG and SVG buttons, install kaleido and Chromium."
        )
    with st.expander("Copy as code", icon=":material/code:"):
        st.code(python(loaded.request, loaded.options, result.request), "python")
        st.caption("Or with the command line:")
        st.code(command(loaded.request, loaded.options, result.request), "bash", wrap_lines=True)


def on_paper(figure: go.Figure) -> go.Figure:
    """The figure with a white background, for files."""
    return go.Figure(figure).update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")


def parquet(frame: pd.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.to_parquet(data, index=False)
    return data.getvalue()
