"""Jobs of the Greedy-Gnorm page: the run with its steps so far, static rankings, and gradient changes after one step."""

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from headprune_core import Curves, GreedyTrajectory, estimate_scoring, gradient_shift, greedy_gnorm, measure_curves
from headprune_core.data.measures import SHARES, sentence_name
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.failures import exceeds_masks
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import Workspace

POINTS = 12  # sparsities at which a run is compared with static rankings
N_RANDOM = 20  # random rankings in the same comparison; a verdict needs 19
RUNNING = "Running Greedy-Gnorm"  # the name of the job


@dataclass(frozen=True)
class GreedyRequest:
    """What to run: direction, heads per step, stopping rule, number of evaluation examples."""

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

    def planned_steps(self, n_heads: int) -> int:
        """Number of steps at most, for a model of `n_heads` heads."""
        most = -(-n_heads // self.heads_per_step)
        return most if self.steps is None else min(self.steps, most)

    def describe(self, measure: str = "accuracy") -> str:
        """The request in words; `measure` is the main measure of the task."""
        order = "highest Gnorm first (inverse control)" if self.inverse else "lowest Gnorm first"
        heads = f"{self.heads_per_step} head{'s' * (self.heads_per_step != 1)} per step"
        stop = "until all heads are pruned" if self.steps is None else f"{self.steps} step{'s' * (self.steps != 1)}"
        if self.accuracy_floor is not None:
            floor = f"{self.accuracy_floor:.0%}" if measure in SHARES else f"{self.accuracy_floor:.2f}"
            stop = f"until {sentence_name(measure)} is below {floor}"
        elif self.stop_at_inflection:
            stop = "until the inflection point"
        return f"{order}, {heads}, {stop}, {self.size} evaluation example{'s' * (self.size != 1)}"


@dataclass
class GreedyResult:
    """A run for one `Workspace`, so far or complete, and the curves it was compared with."""

    key: str
    request: GreedyRequest
    trajectory: GreedyTrajectory | None = None
    complete: bool = False
    compared: Curves | None = None


def start_greedy(loaded: Workspace, request: GreedyRequest) -> None:
    """Run in the background. Steps arrive one by one, and a cancelled run keeps its steps."""
    if exceeds_masks(request.planned_steps(loaded.model.grid.kept.size)):
        return
    result, cache = GreedyResult(loaded.key, request), shared().cache
    evaluation = _evaluation_examples(loaded, request.size)

    def keep(trajectory: GreedyTrajectory, complete: bool = False) -> None:
        result.trajectory, result.complete = trajectory, complete

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

    if start_exclusive_job(RUNNING, work, keep, "Greedy-Gnorm failed"):
        st.session_state["greedy"] = greedy_results(loaded) | {request.method: result}
        st.session_state.pop("greedy_step", None)
        st.session_state["greedy_followed"] = (0,)
        st.session_state["greedy_playing"] = False


def seconds_per_step(loaded: Workspace, size: int) -> float:
    """Estimated seconds of one step: gradients on the calibration set, predictions on `size` evaluation examples."""
    return _seconds_per_step((loaded.key, size), loaded, size)


@st.cache_data(max_entries=64, show_spinner=False)
def _seconds_per_step(key, _loaded: Workspace, _size: int) -> float:
    objective = _loaded.options.gnorm_objective
    seconds = estimate_scoring(_loaded.model, _loaded.calibration, metrics=("gnorm",), gnorm_objective=objective).seconds
    examples = _evaluation_examples(_loaded, _size)
    if examples is not None:
        seconds += estimate_scoring(_loaded.model, examples, metrics=()).seconds
    return seconds


def greedy_results(loaded: Workspace) -> dict[str, GreedyResult]:
    """The runs for `loaded` by method, "greedy_gnorm" and "inverse_greedy_gnorm"."""
    results = st.session_state.get("greedy", {})
    return {method: result for method, result in results.items() if result.key == loaded.key}


def start_comparison(loaded: Workspace, result: GreedyResult) -> None:
    """Evaluate static and random rankings on the same examples as the run."""
    cache, run = shared().cache, result.trajectory
    heads = run.mask(0).size
    sparsities = [k / heads for k in np.unique(np.linspace(0, len(run.order), POINTS + 1).round().astype(int))]
    finished = {method: other for method, other in greedy_results(loaded).items() if other.complete}
    rankings = {method: other.trajectory.ranking for method, other in finished.items()}
    rankings[result.request.method] = run.ranking
    examples = _evaluation_examples(loaded, result.request.size)
    if exceeds_masks(len(sparsities) * (len(rankings) + 2 + N_RANDOM)):
        return

    def work(progress) -> Curves:
        return measure_curves(
            loaded.model,
            examples,
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

    def take(curves: object, complete: bool) -> None:
        if complete:
            keep(curves)

    start_exclusive_job("Comparing with static rankings", work, take, "Comparing the rankings failed")


@dataclass(frozen=True)
class Shift:
    """Change of the other heads' query gradients when `head` is pruned at a step of a run."""

    key: tuple
    head: tuple[int, int]
    change: np.ndarray


def start_shift(loaded: Workspace, result: GreedyResult, step: int) -> None:
    """Compare the gradients before and after the first head of the step is pruned, in the background."""
    run = result.trajectory
    head = run.order[step * run.heads_per_step]

    def work(progress) -> np.ndarray:
        return gradient_shift(loaded.model, loaded.calibration, head, mask=run.mask(step), progress=progress)

    def take(change: np.ndarray, complete: bool) -> None:
        if complete:
            st.session_state["shift"] = Shift(shift_key(result, step), head, change)

    start_exclusive_job("Comparing gradients", work, take, "Comparing the gradients failed")


def shift_key(result: GreedyResult, step: int) -> tuple:
    """The key of a shift: the run and its step."""
    return result.key, replace(result.request, size=0), step


def shift(result: GreedyResult, step: int) -> Shift | None:
    """The shift of that step, or None if it has not been computed."""
    computed = st.session_state.get("shift")
    return computed if computed is not None and computed.key == shift_key(result, step) else None


def _evaluation_examples(loaded: Workspace, size: int):
    if loaded.evaluation is None:
        return None
    # A given fingerprint avoids the library's hashing, which swaps the standard output that sessions share.
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
