"""The heads whose attention is nearest to that of a head."""

import streamlit as st

from headprune_core import HeadDistances, head_distances
from headprune_core.jobs import Job
from pages.parts.common.failures import drop_failure, report_failure
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress_panel
from pages.parts.common.workspace import BATCH_SIZE, Workspace

from .selection import Head, select
from .traits_run import VIEW

JOB = "Comparing the attention of heads"
EXAMPLES = 8  # time grows with the square of the number of heads
COUNT = 5


def nearest_section(loaded: Workspace, head: Head) -> None:
    """Show the nearest heads, or offer to find them.

    Args:
        loaded: The workspace.
        head: (row, head).
    """
    st.header("Nearest heads", anchor=False)
    size = min(EXAMPLES, len(loaded.calibration))
    key, found = (loaded.run_key, size), st.session_state.get("distances", (None, None))
    distances = found[1] if found[0] == key else shared().distances.peek(key)
    if distances is None:
        if runner().busy and runner().job.name == JOB:
            progress_panel("nearest")
            return
        st.info("The heads are not compared yet. Click **Compare heads**.", icon=":material/ads_click:")
        if st.button("Compare heads", icon=":material/play_arrow:", disabled=runner().busy):
            _start(loaded, size, key)
            st.rerun()
        st.caption(f"Jensen-Shannon distance of the attention of all pairs of heads on {size} calibration examples.")
        return
    names, table = loaded.scores.grid.row_labels, distances.nearest(*head, COUNT)
    if not len(table):
        st.markdown("No other head sees the same tokens, so none can be compared.")
        return
    shown = table.assign(head=[f"{names[row]}.{number}" for row, number in zip(table.row, table["head"], strict=True)])
    st.table(
        shown[["head", "distance"]]
        .assign(distance=[f"{value:.3f}" for value in shown.distance])
        .rename(columns={"head": "Head (layer.head)", "distance": "Distance"})
        .set_index("Head (layer.head)")
    )
    st.caption(
        f"Jensen-Shannon distance of attention, mean over query tokens and {size} examples. 0: same attention. 1: no common "
        "token."
    )
    nearest = tuple(int(table[name].iloc[0]) for name in ("row", "head"))
    label = f"Compare with head {names[nearest[0]]}.{nearest[1]}"
    st.button(label, icon=":material/compare:", on_click=select, args=([head, nearest],))


def _start(loaded: Workspace, size: int, key: tuple) -> None:
    server = shared()
    examples = loaded.calibration.select(range(size), new_fingerprint=f"{loaded.key}-distances-{size}")

    def work(progress) -> HeadDistances:
        return server.distances.get(key, lambda: measure(progress), progress)

    def measure(progress) -> HeadDistances:
        with server.turns.hold(progress) as report:
            return head_distances(loaded.model, examples, batch_size=BATCH_SIZE, progress=report)

    def deliver(job: Job) -> None:
        if job.state == "done":
            st.session_state["distances"] = key, job.result
        if job.error:
            report_failure(f"The heads could not be compared. {sentence(job.error)}", VIEW)

    if runner().start(JOB, work, deliver, VIEW):
        drop_failure()
