"""Running Greedy-Gnorm for a page: the request, the job, the steps so far; and what one removal did to the others."""

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from headprune_core import Curves, GreedyTrajectory, gradient_shift, greedy_gnorm, measure_curves
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import Workspace

POINTS = 12  # sparsities at which a run is compared with static orders
N_RANDOM = 5  # random orders beside them


@dataclass(frozen=True)
class GreedyRequest:
    """What to run: the direction, heads at a step, where to end, how many texts to test on."""

    inverse: bool = False
    heads_per_step: int = 1
    steps: int | None = None
    accuracy_floor: float | None = None
    stop_at_inflection: bool = False
    size: int = 120
    dtype: str = "float32"

    @property
    def method(self) -> str:
        return "inverse_greedy_gnorm" if self.inverse else "greedy_gnorm"


@dataclass
class GreedyResult:
    """A run for one `Workspace`, so far or to the end, and what it was compared with."""

    key: str
    request: GreedyRequest
    trajectory: GreedyTrajectory | None = None
    complete: bool = False
    compared: Curves | None = None


def start_greedy(loaded: Workspace, request: GreedyRequest) -> None:
    """Run in the background; steps show as they come, and a cancelled run keeps its steps."""
    result, cache = GreedyResult(loaded.key, request), shared().cache
    evaluation = _texts(loaded, request.size)

    def keep(trajectory: GreedyTrajectory, whole: bool = False) -> None:
        result.trajectory, result.complete = trajectory, whole

    def work(progress) -> GreedyTrajectory:
        return greedy_gnorm(
            loaded.model,
            loaded.calibration,
            evaluation=evaluation,
            objective=loaded.options.gnorm_objective,
            inverse=request.inverse,
            heads_per_step=request.heads_per_step,
            steps=request.steps,
            accuracy_floor=request.accuracy_floor,
            stop_at_inflection=request.stop_at_inflection,
            dtype=request.dtype,
            cache=cache,
            progress=progress,
            on_partial=keep,
        )

    if start_exclusive_job("Greedy-Gnorm", work, keep, "Greedy-Gnorm could not be run"):
        st.session_state["greedy"] = greedy_results(loaded) | {request.method: result}
        st.session_state.pop("greedy_step", None)


def greedy_results(loaded: Workspace) -> dict[str, GreedyResult]:
    """The runs for `loaded` by method, "greedy_gnorm" and "inverse_greedy_gnorm"."""
    found = st.session_state.get("greedy", {})
    return {method: result for method, result in found.items() if result.key == loaded.key}


def start_comparison(loaded: Workspace, result: GreedyResult) -> None:
    """Measure static orders, and random ones, beside the run, on the same texts."""
    cache, run = shared().cache, result.trajectory
    heads = run.mask(0).size
    sparsities = [k / heads for k in np.unique(np.linspace(0, len(run.order), POINTS + 1).round().astype(int))]
    finished = {method: other for method, other in greedy_results(loaded).items() if other.complete}
    rankings = {method: other.trajectory.ranking for method, other in finished.items()}
    rankings[result.request.method] = run.ranking
    texts = _texts(loaded, result.request.size)

    def work(progress) -> Curves:
        return measure_curves(
            loaded.model,
            texts,
            loaded.scores,
            methods=[*rankings, *(["gnorm", "inverse_gnorm"] if "gnorm" in loaded.scores.per_example else []), "random"],
            sparsities=sparsities,
            n_random=N_RANDOM,
            rankings=rankings,
            dtype=result.request.dtype,
            cache=cache,
            progress=progress,
            on_partial=keep,
        )

    def keep(curves: Curves) -> None:
        result.compared = curves

    def take(curves: object, whole: bool) -> None:
        if whole:
            keep(curves)

    start_exclusive_job("Comparing with static orders", work, take, "The orders could not be compared")


@dataclass(frozen=True)
class Shift:
    """What removing `head` at a step of a run did to the gradients of the others."""

    key: tuple
    head: tuple[int, int]
    change: np.ndarray


def start_shift(loaded: Workspace, result: GreedyResult, step: int) -> None:
    """Compare gradients before and after the step's first removal, in the background."""
    run = result.trajectory
    head = run.order[step * run.heads_per_step]

    def work(progress) -> np.ndarray:
        return gradient_shift(loaded.model, loaded.calibration, head, mask=run.mask(step), progress=progress)

    def take(change: np.ndarray, whole: bool) -> None:
        if whole:
            st.session_state["shift"] = Shift(shift_key(result, step), head, change)

    start_exclusive_job("Comparing gradients", work, take, "The gradients could not be compared")


def shift_key(result: GreedyResult, step: int) -> tuple:
    """What a shift belongs to."""
    return result.key, replace(result.request, size=0), step


def shift(result: GreedyResult, step: int) -> Shift | None:
    """The shift of that step, where it was computed."""
    found = st.session_state.get("shift")
    return found if found is not None and found.key == shift_key(result, step) else None


def _texts(loaded: Workspace, size: int):
    if loaded.evaluation is None:
        return None
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
