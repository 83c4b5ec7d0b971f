"""The published curves of the built-in model, shown until a session has evaluated its own.

They were computed with default scoring options, so no other workspace may show them.
"""

import pandas as pd
import streamlit as st

from headprune_core.locations import app_folder
from pages.parts.common.workspace import Request, Workspace

ALPHA = 0.5  # of the criterion "hies" in the file
METHODS = ("his", "hies", "hies@0.75", "gnorm", "greedy_gnorm", "ae", "leave_one_out", "inverse_gnorm", "random")


def published_curves(loaded: Workspace) -> pd.DataFrame | None:
    """Return the frame of the published run if `loaded` is the built-in model, data and scoring, else None."""
    return _read() if loaded.request == Request() else None


@st.cache_data(show_spinner=False)
def _read() -> pd.DataFrame | None:
    file = app_folder() / "assets" / "docs" / "curves.csv"
    if not file.is_file():
        return None
    frame = pd.read_csv(file).astype({"seed": "Int64"})
    return frame[frame.method.isin(METHODS)].reset_index(drop=True)


def describe_published(frame: pd.DataFrame) -> str:
    """Say what was evaluated, and how to evaluate with other settings."""
    rankings = frame.loc[frame.method == "random", "seed"].nunique()
    return (
        f"Published run of the built-in model: {int(frame.examples.iloc[0])} evaluation examples, {rankings} random "
        f"rankings, HIES α = {ALPHA:g}, default scoring options. To use the settings above, click **Evaluate curves**."
    )
