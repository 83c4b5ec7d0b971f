"""Leaving out one head at a time for a page: the job, and its result once it is whole."""

from dataclasses import dataclass

import datasets
import streamlit as st

from headprune_core import LeaveOneOut, leave_one_out
from headprune_core.jobs import Job
from pages.parts.common.server_cache import hold_lock, shared
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace


@dataclass(frozen=True)
class AblationResult:
    """An ablation of one `Workspace` on `size` texts; held_out: none of them gave the scores."""

    key: str
    size: int
    held_out: bool
    found: LeaveOneOut


def start_ablation(loaded: Workspace, size: int) -> None:
    """Run in the background; what was found before stays until the new is whole."""
    server, texts, held_out = shared(), ablation_texts(loaded), loaded.evaluation is not None
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    texts = texts.select(range(size), new_fingerprint=f"{loaded.key}-{size}-{held_out}")

    def work(progress) -> LeaveOneOut:
        return server.ablations.get((loaded.key, size, held_out), lambda: measure(progress), progress)

    def measure(progress) -> LeaveOneOut:
        with hold_lock(server.heavy, progress):
            return leave_one_out(loaded.model, texts, progress=progress)

    def deliver(job: Job) -> None:
        if job.state == "done":
            st.session_state["ablation"] = AblationResult(loaded.key, size, held_out, job.result)
        if job.error:
            st.session_state["failure"] = f"The heads could not be left out: {job.error}."

    runner().start("Leaving out one head at a time", work, deliver)


def ablation_texts(loaded: Workspace) -> datasets.Dataset:
    """The texts to leave heads out on: those that the scores have not seen, if there are any."""
    return loaded.calibration if loaded.evaluation is None else loaded.evaluation


def ablation(loaded: Workspace) -> AblationResult | None:
    """What was found for `loaded`, if anything was."""
    result = st.session_state.get("ablation")
    return result if result is not None and result.key == loaded.key else None
