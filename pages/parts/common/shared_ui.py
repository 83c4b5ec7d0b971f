"""Parts that every page shows: heading, sidebar, progress of the running job with Cancel, and downloads."""

import pandas as pd
import streamlit as st

from headprune_core import CostEstimate, HeadPruneError, estimate_evaluation
from headprune_core.jobs import Snapshot
from headprune_core.strict_json import as_json
from pages.parts.common.option_labels import describe_options

from .failures import outside, show_failure
from .labels import PAGES
from .sentences import plain
from .session import OPTIONS, current_workspace, publish, runner
from .workspace import BATCH_SIZE, Workspace

POLL = 0.4  # seconds between two looks at a running job
NO_ESTIMATE = ("Loading", "Reading", "Starting", "Tokenizing", "Waiting")  # steps whose duration cannot be extrapolated
OWN_FAILURE = ("model_and_data", "head_scores", "uncertainty")  # these views show the error inside the form that failed


def page_header(view: str) -> None:
    """Draw the heading of a page, which is its navigation label, and the question that the page answers below it."""
    st.title(PAGES[view].title)
    st.markdown(f"**{PAGES[view].question}**")
    _phone_status()
    if view not in OWN_FAILURE:
        show_failure(view)


def sidebar() -> None:
    """Show the loaded model and data, and the background job."""
    with st.sidebar:
        loaded = current_workspace()
        if loaded is None:
            return
        publish(*OPTIONS)
        st.caption("Model and data")
        st.markdown(f"**{plain(loaded.model.name)}**  \n{describe_heads(loaded)}")
        st.markdown(f"**{plain(loaded.text_name)}**  \n{describe_examples(loaded)}")
        if options := describe_options(loaded.options):
            st.caption(f"Non-default scoring: {options}")
        st.caption("Background job")
        if runner().job is not None:  # also a job that has ended since the page collected results: its panel reruns the page
            progress_panel("sidebar")
        else:
            st.markdown("Idle")


def describe_heads(loaded) -> str:
    """Return the head count of a workspace, as in "72 heads (6 layers × 12)"."""
    grid = loaded.model.grid
    rows, heads = grid.shape
    unit = "layer" if len(grid.layers) == rows else "attention module"
    unit += "s" if rows > 1 else ""
    return f"{rows * heads:,} heads ({rows} {unit} × {heads})"


def describe_examples(loaded) -> str:
    """Return the sizes of the calibration and evaluation sets of a workspace."""
    return f"{len(loaded.calibration):,} calibration examples, {len(loaded.evaluation or ()):,} evaluation examples"


def _phone_status() -> None:
    """One line with what is loaded and running, for narrow screens, which close the sidebar; app.py hides it elsewhere."""
    loaded = current_workspace()
    if loaded is None:
        return
    job = f"Running: {runner().job.name}" if runner().busy else "Idle"
    with st.container(key="phone_status"):
        st.caption(f"{plain(loaded.model.name)} · {plain(loaded.text_name)} · {plain(job)}")


def progress_panel(place: str) -> None:
    """Show a progress bar with Cancel for the running job; rerun the page when the job has ended."""

    @st.fragment(run_every=POLL)
    def panel():
        if not runner().busy:
            st.rerun()
        job = runner().job
        st.progress(job.snapshot.share, text=outside(describe_progress(job.snapshot)))
        st.button("Cancel", key=f"cancel_{place}", icon=":material/stop_circle:", on_click=job.cancel)

    # In a container of its own: if the fragment's first message arrives late, the elements around it keep their places.
    with st.container():
        panel()


def progress(*names: str, instead_of: tuple[str, ...] = ()) -> None:
    """Show the progress of the running job if it is one of `names`; without names, if it is none of `instead_of`."""
    name = runner().job.name if runner().busy else None
    if name is not None and (name in names if names else name not in instead_of):
        progress_panel("prune")


def describe_progress(snapshot: Snapshot) -> str:
    """Return the current step and, if it can be extrapolated, the time left."""
    if snapshot.seconds_left is None or snapshot.note.startswith(NO_ESTIMATE):
        return snapshot.note
    return f"{snapshot.note} · about {duration(snapshot.seconds_left)} left"


def expected_cost(loaded: Workspace, n_masks: int, size: int, *, start: int = 0, dtype: str = "float32") -> str:
    """Return the expected time and memory of evaluating masks, as sentences; empty if the examples cannot be used.

    Args:
        loaded: The workspace.
        n_masks: Number of masks at most.
        size: Number of evaluation examples.
        start: The first evaluation example.
        dtype: Precision of matrix products.
    """
    cost = _evaluation_cost((loaded.key, n_masks, start, size, dtype), loaded) if size else None
    if cost is None:
        return ""
    memory = f"{cost.peak_bytes / 2**20:,.0f} MiB"
    return f"Expected time: about {duration(cost.seconds)} · memory: about {memory}. Cached results are reused."


@st.cache_data(max_entries=64, show_spinner=False)
def _evaluation_cost(key: tuple, _loaded: Workspace) -> CostEstimate | None:
    _, n_masks, start, size, dtype = key
    # A given fingerprint avoids the library's hashing, which swaps the standard output that sessions share.
    examples = _loaded.evaluation.select(range(start, start + size), new_fingerprint=f"{_loaded.key}-{start}-{size}")
    try:
        return estimate_evaluation(_loaded.model, examples, n_masks, batch_size=BATCH_SIZE, dtype=dtype)
    except HeadPruneError:  # the run itself will report it
        return None


def downloads(name: str, frame: pd.DataFrame, document: dict | None = None) -> None:
    """Offer a table as CSV and a document as JSON; each is made when its button is clicked."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: spreadsheet_csv(frame),
            f"{name}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"csv_{name}",
        )
        if document is not None:
            st.download_button(
                "JSON",
                lambda: as_json(document),
                f"{name}.json",
                "application/json",
                icon=":material/download:",
                on_click="ignore",
                key=f"json_{name}",
            )


def spreadsheet_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV in which no cell is a formula when it is opened in a spreadsheet.

    Texts and column names that begin with =, +, -, @, a tab or a carriage return get an apostrophe in front, which
    spreadsheets do not show.
    """
    escaped = frame.map(_not_a_formula).rename(columns=_not_a_formula)
    return escaped.to_csv(index=False, lineterminator="\r\n")  # with it, a cell with either character is quoted


def _not_a_formula(cell):
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def copy_as_code(python: str, command: str, key: str) -> None:
    """Offer what is on screen as lines of Python and as a command, in an expander."""
    with st.expander("Copy as code", icon=":material/code:", key=f"code_{key}"):
        st.code(python, language="python")
        st.code(command, language="shell", wrap_lines=True)


def records(frame: pd.DataFrame) -> list[dict]:
    """Return the rows of a table for a JSON document; missing values become null, because JSON has no NaN."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def duration(seconds: float) -> str:
    """Return a duration in seconds, or in minutes from 90 seconds on."""
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
