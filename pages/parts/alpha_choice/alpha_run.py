"""What is measured to choose alpha: every mask of the exact path, a quick search of it, the surface, and a budget."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import (
    AlphaAccuracy,
    alpha_accuracy,
    alpha_surface,
    random_masks,
    sparsity_within,
    successive_halving,
)
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.alpha.mask_constraints import Rules
from pages.parts.common.background import start_heavy
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import BATCH_SIZE, Work

SURFACE = tuple(percent / 100 for percent in range(10, 100, 10))  # sparsities of the surface


@dataclass(frozen=True)
class AlphaRequest:
    """For which scores, at which sparsity, under which rules, on how many texts, beside how many random masks."""

    key: str
    sparsity: float
    rules: Rules
    size: int
    seeds: int = 20


@dataclass
class AlphaResult:
    """What was measured along a path, so far or to the end."""

    request: AlphaRequest
    found: AlphaAccuracy | None = None
    complete: bool = False


def start_path(loaded: Work, request: AlphaRequest) -> None:
    """Measure every mask along alpha; steps show from the first texts on and sharpen."""
    result, store, path = AlphaResult(request), shared().store, exact_path(loaded, request.sparsity, request.rules)
    constraints = request.rules.constraints(loaded.model.grid)

    def keep(found, whole: bool = False) -> None:
        result.found, result.complete = found, whole

    def work(progress) -> AlphaAccuracy:
        random = random_masks(loaded.model.grid.shape, request.sparsity, seeds=request.seeds, **constraints)
        options = {"random": random, "store": store, "progress": progress, "on_part": keep, "batch_size": BATCH_SIZE}
        return alpha_accuracy(loaded.model, texts(loaded, request.size), path, **options)

    if start_heavy("Measuring every mask along alpha", work, keep, "The masks could not be measured"):
        st.session_state["alpha_result"] = result


def start_search(loaded: Work, request: AlphaRequest, by: str) -> None:
    """Find the best mask of the path for a part of the work."""
    store, path = shared().store, exact_path(loaded, request.sparsity, request.rules)

    def work(progress):
        options = {"by": by, "store": store, "progress": progress, "batch_size": BATCH_SIZE}
        return successive_halving(loaded.model, texts(loaded, request.size), path, **options)

    def take(found, whole: bool) -> None:
        if whole:
            st.session_state["alpha_search"] = request, found

    start_heavy("Searching along alpha", work, take, "The search could not be made")


def start_surface(loaded: Work, request: AlphaRequest) -> None:
    """Measure every mask along alpha at each of several sparsities."""
    store, grid, obeyed = shared().store, loaded.model.grid, request.rules

    def work(progress):
        options = {"store": store, "progress": progress, "batch_size": BATCH_SIZE}
        options |= obeyed.scaling | obeyed.constraints(grid)
        return alpha_surface(loaded.model, texts(loaded, request.size), loaded.scores, SURFACE, **options)

    def take(found, whole: bool) -> None:
        st.session_state["alpha_surface"] = request, found

    start_heavy("Measuring alpha and sparsity together", work, take, "The surface could not be measured")


def start_budget(loaded: Work, request: AlphaRequest, alpha: float, points: float) -> None:
    """Remove heads in the order of HIES at `alpha` until more than `points` points are lost."""
    store, grid, obeyed = shared().store, loaded.model.grid, request.rules
    ranking = loaded.scores.hies(alpha, **obeyed.scaling)

    def work(progress):
        options = {"store": store, "progress": progress, "batch_size": BATCH_SIZE} | obeyed.constraints(grid)
        return sparsity_within(loaded.model, texts(loaded, request.size), ranking, points, **options)

    def take(found, whole: bool) -> None:
        if whole:
            st.session_state["accuracy_budget"] = request, alpha, found

    start_heavy("Looking for the end of the budget", work, take, "The budget could not be followed")


def texts(loaded: Work, size: int):
    """The first `size` texts for testing."""
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
