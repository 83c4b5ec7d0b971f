"""What is measured to choose alpha: every mask of the exact path, a quick search of it, the surface, and a budget."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import (
    AlphaAccuracy,
    alpha_accuracy,
    alpha_surface,
    max_sparsity,
    random_masks,
    successive_halving,
)
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.alpha.mask_constraints import MaskConstraints
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import BATCH_SIZE, Workspace

SURFACE = tuple(percent / 100 for percent in range(10, 100, 10))  # sparsities of the surface


@dataclass(frozen=True)
class AlphaRequest:
    """For which scores, at which sparsity, under which rules, on how many texts, beside how many random masks."""

    key: str
    sparsity: float
    rules: MaskConstraints
    size: int
    n_random: int = 20


@dataclass
class AlphaResult:
    """What was measured along a path, so far or to the end."""

    request: AlphaRequest
    found: AlphaAccuracy | None = None
    complete: bool = False


def start_path(loaded: Workspace, request: AlphaRequest) -> None:
    """Measure every mask along alpha; steps show from the first texts on and sharpen."""
    result, cache, path = AlphaResult(request), shared().cache, exact_path(loaded, request.sparsity, request.rules)
    constraints = request.rules.constraints(loaded.model.grid)

    def keep(found, whole: bool = False) -> None:
        result.found, result.complete = found, whole

    def work(progress) -> AlphaAccuracy:
        random = random_masks(loaded.model.grid.shape, request.sparsity, n_random=request.n_random, **constraints)
        options = {"random": random, "cache": cache, "progress": progress, "on_partial": keep, "batch_size": BATCH_SIZE}
        return alpha_accuracy(loaded.model, texts(loaded, request.size), path, **options)

    if start_exclusive_job("Measuring every mask along alpha", work, keep, "The masks could not be measured"):
        st.session_state["alpha_result"] = result


def start_search(loaded: Workspace, request: AlphaRequest, by: str) -> None:
    """Find the best mask of the path for a part of the work."""
    cache, path = shared().cache, exact_path(loaded, request.sparsity, request.rules)

    def work(progress):
        options = {"by": by, "cache": cache, "progress": progress, "batch_size": BATCH_SIZE}
        return successive_halving(loaded.model, texts(loaded, request.size), path, **options)

    def take(found, whole: bool) -> None:
        if whole:
            st.session_state["alpha_search"] = request, found

    start_exclusive_job("Searching along alpha", work, take, "The search could not be made")


def start_surface(loaded: Workspace, request: AlphaRequest) -> None:
    """Measure every mask along alpha at each of several sparsities."""
    cache, grid, obeyed = shared().cache, loaded.model.grid, request.rules

    def work(progress):
        options = {"cache": cache, "progress": progress, "batch_size": BATCH_SIZE}
        options |= obeyed.scaling | obeyed.constraints(grid)
        return alpha_surface(loaded.model, texts(loaded, request.size), loaded.scores, SURFACE, **options)

    def take(found, whole: bool) -> None:
        st.session_state["alpha_surface"] = request, found

    start_exclusive_job("Measuring alpha and sparsity together", work, take, "The surface could not be measured")


def start_budget(loaded: Workspace, request: AlphaRequest, alpha: float, points: float) -> None:
    """Remove heads in the order of HIES at `alpha` until more than `points` points are lost."""
    cache, grid, obeyed = shared().cache, loaded.model.grid, request.rules
    ranking = loaded.scores.hies(alpha, **obeyed.scaling)

    def work(progress):
        options = {"cache": cache, "progress": progress, "batch_size": BATCH_SIZE} | obeyed.constraints(grid)
        return max_sparsity(loaded.model, texts(loaded, request.size), ranking, points, **options)

    def take(found, whole: bool) -> None:
        if whole:
            st.session_state["accuracy_budget"] = request, alpha, found

    start_exclusive_job("Looking for the end of the budget", work, take, "The budget could not be followed")


def texts(loaded: Workspace, size: int):
    """The first `size` texts for testing."""
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
