"""Heavy work for a page, in the background: one session at a time, what it finds handed over, what goes wrong told."""

from collections.abc import Callable

import streamlit as st

from headprune_core.jobs import Job

from .server_cache import hold_lock, shared
from .session import runner


def start_exclusive_job(name: str, work: Callable, take: Callable[[object, bool], None], failed: str) -> bool:
    """Start work(progress) when it is this session's turn; False while something else runs.

    take(result, whole) is called in the page's own thread; whole is False for what a cancelled run had finished. failed:
    the beginning of the sentence that tells of an error.
    """
    server = shared()

    def in_our_turn(progress):
        with hold_lock(server.heavy, progress):
            return work(progress)

    def deliver(job: Job) -> None:
        if job.result is not None:
            take(job.result, job.state == "done")
        if job.error:
            st.session_state["failure"] = f"{failed}: {job.error}."

    started = runner().start(name, in_our_turn, deliver)
    if started:
        st.session_state["failure"] = None
    return started
