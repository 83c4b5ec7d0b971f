"""Running the curves for a page: the request, the job, and what has been measured so far."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from headprune_core import CRITERIA, sparsity_curves, verdicts
from headprune_core.jobs import Job

from .session import runner
from .shelf import in_turn, shared
from .work import Work


@dataclass(frozen=True)
class CurveRequest:
    """What to measure: criteria, percentages of heads removed, alpha for HIES, random orders, texts to test on."""

    methods: tuple[str, ...]
    percentages: tuple[int, ...]
    alpha: float
    seeds: int
    size: int

    @property
    def runs(self) -> int:
        """How many masks are to be evaluated at most; the unpruned model counts once at each sparsity."""
        orders = sum(self.seeds if CRITERIA[name].random else 1 for name in self.methods)
        return len(self.percentages) * (orders + 1)


@dataclass
class CurveResult:
    """What has been measured for one `Work`, so far or to the end."""

    key: str
    request: CurveRequest
    frame: pd.DataFrame | None = None
    complete: bool = False

    @property
    def verdicts(self) -> pd.DataFrame:
        return verdicts(self.frame)


def start_curves(loaded: Work, request: CurveRequest) -> None:
    """Measure in the background; points show as they come, and a cancelled run keeps its points."""
    result, server = CurveResult(loaded.key, request), shared()
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    examples = loaded.evaluation.select(range(request.size), new_fingerprint=f"{loaded.key}-{request.size}")

    def keep(frame: pd.DataFrame) -> None:
        result.frame = frame

    def work(progress) -> pd.DataFrame:
        return server.curves.get((loaded.key, request), lambda: measure(progress), progress)

    def measure(progress) -> pd.DataFrame:
        with in_turn(server.heavy, progress):
            return sparsity_curves(
                loaded.model,
                examples,
                loaded.scores,
                methods=request.methods,
                alpha=request.alpha,
                seeds=request.seeds,
                sparsities=[p / 100 for p in request.percentages],
                progress=progress,
                on_part=keep,
            )

    def deliver(job: Job) -> None:
        result.complete = job.state == "done"
        if result.complete:
            keep(job.result)
        if job.error:
            st.session_state["failure"] = f"The curves could not be measured: {job.error}."

    if runner().start("Measuring the curves", work, deliver):
        st.session_state["curves"] = result


def curves(loaded: Work) -> CurveResult | None:
    """What was asked for `loaded`; its frame is None until the first point is there."""
    result = st.session_state.get("curves")
    return result if result is not None and result.key == loaded.key else None
