"""The leave-one-out ablation of the page Uncertainty: its job, and its result when it is complete."""

from dataclasses import dataclass

import datasets
import streamlit as st

from headprune_core import LeaveOneOut, leave_one_out
from headprune_core.jobs import Job
from pages.parts.common.failures import drop_failure, exceeds_masks, report_failure
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace


@dataclass(frozen=True)
class AblationResult:
    """A complete ablation.

    Attributes:
        key: The key of the workspace.
        size: Number of examples.
        held_out: Whether the examples are from the evaluation set instead of the calibration set.
        found: The ablation.
    """

    key: str
    size: int
    held_out: bool
    found: LeaveOneOut


def start_ablation(loaded: Workspace, size: int) -> None:
    """Run the ablation on `size` examples in the background; the previous result stays until it is complete."""
    if exceeds_masks(loaded.model.grid.kept.size + 1):
        return
    server, held_out = shared(), loaded.evaluation is not None
    # Named instead of hashed: the hashing of datasets redirects the standard output that sessions share.
    examples = ablation_examples(loaded).select(range(size), new_fingerprint=f"{loaded.key}-{size}-{held_out}")

    def work(progress) -> LeaveOneOut:
        return server.ablations.get((loaded.key, size, held_out), lambda: measure(progress), progress)

    def measure(progress) -> LeaveOneOut:
        with server.turns.hold(progress) as report:
            return leave_one_out(loaded.model, examples, progress=report)

    def deliver(job: Job) -> None:
        if job.state == "done":
            st.session_state["ablation"] = AblationResult(loaded.key, size, held_out, job.result)
        if job.error:
            report_failure(f"The ablation failed. {sentence(job.error)}", "uncertainty")

    if runner().start("Leave-one-out ablation", work, deliver, "uncertainty"):
        drop_failure()


def ablation_examples(loaded: Workspace) -> datasets.Dataset:
    """Return the examples for the ablation: the evaluation set, or the calibration set if there is none."""
    return loaded.calibration if loaded.evaluation is None else loaded.evaluation


def ablation(loaded: Workspace) -> AblationResult | None:
    """Return the ablation of `loaded`; None before one is complete."""
    result = st.session_state.get("ablation")
    return result if result is not None and result.key == loaded.key else None
