"""The traits of the loaded model's heads: their job, and the result, which all sessions of the server share."""

import streamlit as st

from headprune_core import HeadTraits, head_traits
from headprune_core.jobs import Job
from pages.parts.common.failures import drop_failure, report_failure
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.workspace import BATCH_SIZE, Workspace

VIEW = "inspector"
JOB = "Inspecting heads"


def traits(loaded: Workspace) -> HeadTraits | None:
    """Return the traits on the calibration examples; None before they are computed.

    Args:
        loaded: The workspace.
    """
    known, found = st.session_state.get("traits", (None, None))
    if known != loaded.run_key:
        found = shared().traits.peek(loaded.run_key)
        if found is not None:
            st.session_state["traits"] = loaded.run_key, found
    return found


def start_traits(loaded: Workspace) -> bool:
    """Compute the traits in the background; return False if a job of the page is running.

    Args:
        loaded: The workspace.
    """
    server = shared()

    def work(progress) -> HeadTraits:
        return server.traits.get(loaded.run_key, lambda: measure(progress), progress)

    def measure(progress) -> HeadTraits:
        with server.turns.hold(progress) as report:
            dtype = loaded.options.dtype
            return head_traits(loaded.model, loaded.calibration, batch_size=BATCH_SIZE, dtype=dtype, progress=report)

    def deliver(job: Job) -> None:
        if job.state == "done":
            st.session_state["traits"] = loaded.run_key, job.result
        if job.error:
            report_failure(f"The heads could not be inspected. {sentence(job.error)}", VIEW)

    started = runner().start(JOB, work, deliver, VIEW)
    if started:
        drop_failure()
    return started
