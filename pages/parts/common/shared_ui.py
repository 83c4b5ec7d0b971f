"""Panels that every page shows: what is loaded, what is running with its progress and Cancel, and downloads."""

import json

import pandas as pd
import streamlit as st

from headprune_core.jobs import Snapshot
from pages.parts.scores.option_labels import describe_options

from .labels import PAGES
from .session import OPTIONS, current_workspace, publish, runner

POLL = 0.4  # seconds between looks at a running job


def page_header(view: str) -> None:
    """Draw the heading of a page, which is its navigation label, and the question that the page answers below it."""
    st.title(PAGES[view].title)
    st.markdown(f"**{PAGES[view].question}**")


def sidebar() -> None:
    """What model, how many heads, what text, what is running."""
    with st.sidebar:
        loaded = current_workspace()
        if loaded is None:
            return
        publish(*OPTIONS)
        rows, heads = loaded.model.grid.shape
        st.caption("Loaded")
        st.markdown(f"**{plain(loaded.model.name)}**  \n{rows * heads} heads, {rows} rows of {heads}")
        st.markdown(
            f"**{plain(loaded.text_name)}**  \n"
            f"{len(loaded.calibration)} texts to score, {len(loaded.evaluation or ())} to test"
        )
        if words := describe_options(loaded.options):
            st.caption(f"Scored otherwise than in the papers: {words}")
        st.caption("Running")
        if runner().busy:
            progress_panel("sidebar")
        else:
            st.markdown("nothing")


def progress_panel(place: str) -> None:
    """A bar that follows the running job, with Cancel; reruns the page when the job ends."""

    @st.fragment(run_every=POLL)
    def panel():
        if not runner().busy:
            st.rerun()
        job = runner().job
        st.progress(job.snapshot.share, text=describe_progress(job.snapshot))
        st.button("Cancel", key=f"cancel_{place}", icon=":material/stop_circle:", on_click=job.cancel)

    # in a container of its own: where a fragment's first message is overtaken, its neighbours keep their places
    with st.container():
        panel()


def progress(*names: str, instead_of: tuple[str, ...] = ()) -> None:
    """The running job's bar and Cancel, beside what started it: where it is one of `names`, or, without any, of no other
    place."""
    name = runner().job.name if runner().busy else None
    if name is not None and (name in names if names else name not in instead_of):
        progress_panel("prune")


def describe_progress(snapshot: Snapshot) -> str:
    """What is being done and how long it has to go."""
    left = snapshot.seconds_left
    return snapshot.note + ("" if left is None else f" · about {duration(left)} left")


def downloads(name: str, frame: pd.DataFrame, document: dict | None = None) -> None:
    """A table as CSV, and a document as JSON, side by side; both are made when they are asked for."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: frame.to_csv(index=False),
            f"{name}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"csv_{name}",
        )
        if document is not None:
            st.download_button(
                "JSON",
                lambda: json.dumps(document, indent=1),
                f"{name}.json",
                "application/json",
                icon=":material/download:",
                on_click="ignore",
                key=f"json_{name}",
            )


def records(frame: pd.DataFrame) -> list[dict]:
    """A table's lines for a JSON document, which knows no nan: what is missing is null."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def duration(seconds: float) -> str:
    """Seconds or minutes, whichever reads better."""
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def plain(text: str) -> str:
    """Names of files and models as they are: nothing in them is markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|~:$" else c for c in text)
