"""Jobs of the choice of alpha: all masks of the exact path, quick search, alpha × sparsity, and the accuracy budget."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import (
    AlphaAccuracy,
    AlphaSurface,
    alpha_accuracy,
    alpha_surface,
    distinct_masks,
    max_sparsity,
    random_masks,
    successive_halving,
)
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.alpha.mask_constraints import MaskConstraints
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.failures import exceeds_masks
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import BATCH_SIZE, Workspace

SURFACE = tuple(percent / 100 for percent in range(10, 100, 10))  # sparsities of the surface
EVALUATING, SURFACE_JOB = "Evaluating all masks along alpha", "Evaluating alpha × sparsity"  # names of jobs


@dataclass(frozen=True)
class AlphaRequest:
    """Scores, sparsity, mask constraints, number of evaluation examples, and number of random masks."""

    key: str
    sparsity: float
    rules: MaskConstraints
    size: int
    n_random: int = 20


@dataclass
class AlphaResult:
    """Accuracy along a path, so far or complete."""

    request: AlphaRequest
    found: AlphaAccuracy | None = None
    complete: bool = False

    @property
    def measured(self) -> int:
        """Number of examples evaluated so far."""
        return 0 if self.found is None else self.found.examples


@dataclass
class SurfaceResult:
    """Accuracy over alpha and sparsity, so far or complete. done, total: evaluations of one mask on one example."""

    request: AlphaRequest
    found: AlphaSurface | None = None
    complete: bool = False
    done: int = 0
    total: int = 0


def start_path(loaded: Workspace, request: AlphaRequest) -> None:
    """Evaluate every mask along alpha. Results arrive batch by batch."""
    result, cache, path = AlphaResult(request), shared().cache, exact_path(loaded, request.sparsity, request.rules)
    constraints = request.rules.constraints(loaded.model.grid)
    if exceeds_masks(len(distinct_masks(path)[0]) + request.n_random + 1):
        return

    def keep(found, complete: bool = False) -> None:
        result.found, result.complete = found, complete

    def work(progress) -> AlphaAccuracy:
        random = random_masks(loaded.model.grid.shape, request.sparsity, n_random=request.n_random, **constraints)
        options = {"random": random, "cache": cache, "progress": progress, "on_partial": keep, "batch_size": BATCH_SIZE}
        return alpha_accuracy(loaded.model, examples(loaded, request.size), path, **options)

    if start_exclusive_job(EVALUATING, work, keep, "Evaluating the masks failed"):
        st.session_state["alpha_result"] = result


def start_search(loaded: Workspace, request: AlphaRequest) -> None:
    """Find the best mask of the path by successive halving, at a fraction of the cost."""
    cache, path = shared().cache, exact_path(loaded, request.sparsity, request.rules)
    if exceeds_masks(len(distinct_masks(path)[0])):
        return

    def work(progress):
        options = {"cache": cache, "progress": progress, "batch_size": BATCH_SIZE}
        return successive_halving(loaded.model, examples(loaded, request.size), path, **options)

    def take(found, complete: bool) -> None:
        if complete:
            st.session_state["alpha_search"] = request, found

    start_exclusive_job("Searching along alpha", work, take, "The search failed")


def start_surface(loaded: Workspace, request: AlphaRequest) -> None:
    """Evaluate every mask along alpha at each of several sparsities."""
    cache, grid, obeyed = shared().cache, loaded.model.grid, request.rules
    result = SurfaceResult(request)
    if exceeds_masks(sum(len(distinct_masks(exact_path(loaded, sparsity, obeyed))[0]) for sparsity in SURFACE)):
        return

    def work(progress):
        def report(done: int, total: int, note: str) -> None:
            result.done, result.total = done, total
            progress(done, total, note)

        options = {"cache": cache, "progress": report, "batch_size": BATCH_SIZE}
        options |= obeyed.scaling | obeyed.constraints(grid)
        return alpha_surface(loaded.model, examples(loaded, request.size), loaded.scores, SURFACE, **options)

    def take(found, complete: bool) -> None:
        result.found, result.complete = found, complete

    if start_exclusive_job(SURFACE_JOB, work, take, "Evaluating alpha × sparsity failed"):
        st.session_state["alpha_surface"] = result


def start_budget(loaded: Workspace, request: AlphaRequest, alpha: float, points: float) -> None:
    """Prune heads by HIES at `alpha` until accuracy has dropped by more than `points` percentage points."""
    cache, grid, obeyed = shared().cache, loaded.model.grid, request.rules
    ranking = loaded.scores.hies(alpha, **obeyed.scaling)
    if exceeds_masks(grid.kept.size):
        return

    def work(progress):
        options = {"cache": cache, "progress": progress, "batch_size": BATCH_SIZE} | obeyed.constraints(grid)
        return max_sparsity(loaded.model, examples(loaded, request.size), ranking, points, **options)

    def take(found, complete: bool) -> None:
        if complete:
            st.session_state["accuracy_budget"] = request, alpha, found

    start_exclusive_job("Searching for maximum sparsity", work, take, "The accuracy-budget search failed")


def examples(loaded: Workspace, size: int):
    """The first `size` evaluation examples."""
    # A given fingerprint avoids the library's hashing, which swaps the standard output that sessions share.
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
