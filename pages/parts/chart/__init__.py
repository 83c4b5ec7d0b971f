"""Charts on pages: one helper draws each with a row of its files (SVG, PNG, data) and a button that enlarges it.

The browser makes SVG and PNG out of the drawn chart, so no page needs kaleido or a second Chromium.
"""

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from pages.parts.alpha_grid.script import joined
from pages.parts.common.session import current_workspace

from .chart_data import chart_data

_HERE = Path(__file__).parent
SCRIPT = joined((_HERE.parent / "head_grid" / "files.js", _HERE / "chart.js"))
_tools = st.components.v2.component(
    "headprune_chart_tools", html=(_HERE / "chart.html").read_text(), css=(_HERE / "chart.css").read_text(), js=SCRIPT
)
_CONFIG = {"displaylogo": False, "displayModeBar": True}  # `STYLES` hides the bar, whose fullscreen button is used


def figure(
    chart: go.Figure, title: str, name: str, *, alt: str, data: pd.DataFrame | None = None, boxes: bool = False, **options
) -> object:
    """Draw a chart, and offer it as files.

    Args:
        chart: The chart, whose drag mode is changed in place.
        title: Title in the files; model and dataset are the subtitle.
        name: Key of the chart, and name of the files.
        alt: Text alternative.
        data: Table of the CSV file; by default the points of the chart.
        boxes: Whether a drag selects points; otherwise a finger on the chart scrolls the page.
        options: Further arguments of `st.plotly_chart`, such as `on_select`.

    Returns:
        What `st.plotly_chart` returns.
    """
    if not boxes:
        chart.update_layout(dragmode=False)
    loaded = current_workspace()
    drawn = st.plotly_chart(chart, key=name, alt=alt, config=_CONFIG, **options)
    with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall", key=f"files_{name}"):
        about = {"chart": name, "title": title, "subtitle": f"{loaded.model.name} · {loaded.text_name}"}
        _tools(key=f"tools_{name}", data=about, width="content")
        st.download_button(
            "CSV",
            lambda: spreadsheet_csv(chart_data(chart) if data is None else data),
            f"{name}.csv",
            "text/csv",
            type="tertiary",
            help=f"Download the data of the chart: {title}",
            on_click="ignore",
            key=f"data_{name}",
        )
    return drawn
