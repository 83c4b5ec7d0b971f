"""Accuracy over alpha and sparsity together, on request."""

import streamlit as st

from headprune_core import distinct_masks
from headprune_core.data.measures import sentence_name
from headprune_core.figures.alpha import describe_surface, surface_heatmap
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.chart import figure
from pages.parts.common.resume import resume_row
from pages.parts.common.workspace import Workspace

from .alpha_run import SURFACE, AlphaRequest, SurfaceResult, start_surface


def surface_section(loaded: Workspace, request: AlphaRequest, *, busy: bool) -> None:
    """Draw the surface of this request, or offer to evaluate it."""
    st.header("Alpha × sparsity")
    result: SurfaceResult | None = st.session_state.get("alpha_surface")
    if result is None or not same_request(result.request, request):
        _start(loaded, request, busy=busy)
        return
    if not result.complete and not busy and resume_row(result.done, result.total, "mask evaluations", "surface"):
        start_surface(loaded, request)
        st.rerun()
    if result.found is None:
        return
    text = describe_surface(result.found)
    title = f"{sentence_name(result.found.measure).capitalize()} over alpha and sparsity"
    figure(surface_heatmap(result.found), title, "surface", alt=text)
    st.caption(
        f"{text} {request.size} evaluation examples. The best mask was selected on these examples, so its "
        f"{sentence_name(result.found.measure)} is optimistically biased."
    )


def _start(loaded: Workspace, request: AlphaRequest, *, busy: bool) -> None:
    if st.button("Evaluate alpha × sparsity", icon=":material/grid_on:", key="draw_surface", disabled=busy):
        start_surface(loaded, request)
        st.rerun()
    text = f"Evaluates every mask along alpha at {SURFACE[0]:.0%} to {SURFACE[-1]:.0%} sparsity"
    if not request.rules.least:
        paths = (exact_path(loaded, sparsity, request.rules) for sparsity in SURFACE)
        n_masks = sum(len(distinct_masks(path)[0]) for path in paths)
        text += f": {n_masks} masks on {request.size} examples"
    st.caption(f"{text}.")


def same_request(made: AlphaRequest, request: AlphaRequest) -> bool:
    """Whether two requests differ at most in sparsity and random masks, which a surface and a budget do not depend on."""
    return (made.key, made.rules, made.size) == (request.key, request.rules, request.size)
