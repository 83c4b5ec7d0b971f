"""Parts that every page shows: heading, sidebar, progress of jobs with Cancel, and downloads."""

import pandas as pd
import streamlit as st

from headprune_core import CostEstimate, HeadPruneError, estimate_evaluation
from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from headprune_core.strict_json import as_json
from pages.parts.common.option_labels import describe_options

from .failures import current_view, outside, show_failure
from .labels import PAGES
from .sentences import plain
from .server_cache import shared
from .session import OPTIONS, PageJob, current_workspace, publish, runner
from .turns import CHUNK_S
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
        st.caption("Background jobs")
        _job_list()
        if notice := shared().cache.notice:  # results are not stored, or the stored ones were damaged
            st.warning(outside(notice), icon=":material/database_off:")


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
    names = [one.job.name for one in runner().jobs.values() if one.job.running]
    job = f"Running: {', '.join(names)}" if names else "Idle"
    with st.container(key="phone_status"):
        st.caption(f"{plain(loaded.model.name)} · {plain(loaded.text_name)} · {plain(job)}")


def _job_list() -> None:
    """Name every job of the session with its progress, a link to its page, and Cancel; rerun the page when one has ended."""
    drawn = list(runner().jobs)

    @st.fragment(run_every=POLL if drawn else None)
    def jobs():
        if list(runner().jobs) != drawn or any(not one.job.running for one in runner().jobs.values()):
            st.rerun()
        for view, one in runner().jobs.items():
            st.progress(one.job.snapshot.share, text=f"**{outside(one.job.name)}**  \n{outside(describe_progress(one))}")
            with st.container(horizontal=True, vertical_alignment="center"):
                if view != current_view():
                    st.page_link(PAGES[view].script, label="Open", icon=PAGES[view].icon, help=PAGES[view].title)
                key = f"cancel_sidebar_{view}"
                st.button("Cancel", key=key, icon=":material/stop_circle:", on_click=one.job.cancel)

    if drawn:
        with st.container():
            jobs()
    else:
        st.markdown("Idle")


def progress_panel(place: str, view: str | None = None) -> None:
    """Show a progress bar with Cancel for the job of a page; rerun the page when the job has ended.

    Args:
        place: Part of the key of the button, which differs between panels of one page.
        view: The page, by default the one on screen.
    """
    one = runner().jobs[view or current_view()]

    @st.fragment(run_every=POLL)
    def panel():
        if not one.job.running:
            st.rerun()
        st.progress(one.job.snapshot.share, text=outside(describe_progress(one)))
        st.button("Cancel", key=f"cancel_{place}", icon=":material/stop_circle:", on_click=one.job.cancel)

    # In a container of its own: if the fragment's first message arrives late, the elements around it keep their places.
    with st.container():
        panel()


def progress(*names: str, instead_of: tuple[str, ...] = ()) -> None:
    """Show the progress of the page's job if it is one of `names`; without names, if it is none of `instead_of`."""
    name = runner().job.name if runner().busy else None
    if name is not None and (name in names if names else name not in instead_of):
        progress_panel("prune")


def describe_progress(one: PageJob) -> str:
    """Return the current step of a job with the time left, or what it waits for, its place in line and the waiting time."""
    snapshot, turns = one.job.snapshot, shared().turns
    ahead, blocker = turns.ahead(one.ticket)
    if blocker is not None:
        return f"Waiting for your job {blocker.name}"
    if ahead and not one.ticket.chunks:
        return f"Waiting: place {ahead + 1} in line, about {duration(ahead * CHUNK_S)}"
    text = snapshot.note
    if snapshot.seconds_left is not None and not snapshot.note.startswith(NO_ESTIMATE):
        text += f" · about {duration(snapshot.seconds_left)} left"
    others = turns.sessions - 1
    return f"{text} · takes turns with {others} other session{'s' * (others != 1)}" if others > 0 else text


def replaced_jobs() -> str:
    """Return the sentence that names the jobs which end when model, data or scores are replaced; empty if there are none."""
    names = ", ".join(plain(one.job.name) for one in runner().on_workspace())
    return f"This will cancel: {names}." if names else ""


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
