"""Choice of alpha: accuracy along the exact path, the recommendation, alpha × sparsity, and an accuracy budget."""

import streamlit as st

from headprune_core import HeadPruneError, distinct_masks
from headprune_core.data.tasks import task_of
from pages.parts.alpha.alpha_state import exact_path
from pages.parts.alpha.mask_constraints import rules
from pages.parts.alpha_choice.alpha_code import alpha_command, alpha_python
from pages.parts.alpha_choice.alpha_run import EVALUATING, AlphaRequest, AlphaResult, start_path, start_search
from pages.parts.alpha_choice.budget_section import budget_section
from pages.parts.alpha_choice.path_section import path_result, search_result, show_notice
from pages.parts.alpha_choice.surface_section import surface_section
from pages.parts.common import labels
from pages.parts.common.failures import show_error
from pages.parts.common.resume import resume_row
from pages.parts.common.session import ALPHA, current_workspace, publish, remember, runner, setting
from pages.parts.common.shared_ui import copy_as_code, downloads, expected_cost, page_header, progress_panel, records

PERSIST = {"persist_state": "session"}  # settings survive a visit to another page
LEAST = 2  # evaluation examples; cross-validation of alpha needs two folds
loaded = current_workspace()
grid, constraints = loaded.model.grid, rules(loaded.model.grid)
publish(*ALPHA)

page_header("alpha_choice")
show_notice()
st.markdown(
    f"The {labels.HIES} combines the {labels.HIS} and {labels.AE} with the weight alpha. The mask changes only at a finite "
    "number of alpha values, so every distinct mask can be evaluated: the curve below is exact, not sampled. Evaluation "
    "uses held-out examples."
)
if loaded.evaluation is None:
    st.warning(
        "No evaluation set. Load at least two distinct examples under Model & data.",
        icon=":material/data_alert:",
    )
    st.stop()

n_available = len(loaded.evaluation)
if n_available < LEAST:
    st.warning(
        f"The evaluation set has {n_available} example; choosing alpha needs at least {LEAST}. "
        "Load more under Model & data.",
        icon=":material/data_alert:",
    )
    st.stop()
with st.container(border=True):
    left, middle, right = st.columns(3)
    st.session_state["choice_sparsity"] = round(100 * setting("sparsity"))
    left.slider(
        labels.SPARSITY,
        0,
        100,
        format="%d%%",
        key="choice_sparsity",
        on_change=lambda: remember("sparsity", st.session_state["choice_sparsity"] / 100),
    )
    size = n_available
    if n_available > LEAST:
        most = min(240, n_available)
        size = middle.slider(labels.EVALUATION_EXAMPLES, LEAST, n_available, most, key="choice_size", **PERSIST)
    n_random = right.slider(labels.RANDOM_MASKS, 0, 50, 20, key="choice_seeds", **PERSIST)
    request = AlphaRequest(loaded.key, setting("sparsity"), constraints, size, n_random)
    try:
        path = exact_path(loaded, request.sparsity, constraints)
    except HeadPruneError as error:
        show_error(str(error))
        st.stop()
    n_masks = len(distinct_masks(path)[0])
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Evaluate all masks", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
            start_path(loaded, request)
            st.rerun()
        additive = task_of(loaded.model).has_decisions
        why = None if additive else "Not available for regression: a correlation is no mean over examples."
        blocked = runner().busy or not additive
        if st.button("Run quick search", icon=":material/bolt:", disabled=blocked, key="quick_search", help=why):
            start_search(loaded, request)
            st.rerun()
        described = constraints.describe_options(grid)
        in_use = f"Mask constraints: {described}." if described else ""
        st.caption(
            f"{len(path)} alpha intervals, {n_masks} distinct masks, each evaluated on {size} examples. Quick search "
            "(successive halving) drops the worse half after each round. "
            f"{expected_cost(loaded, n_masks + n_random + 1, size)} {in_use} Set mask constraints on the Alpha page."
        )
busy = runner().busy
if busy:
    progress_panel("choice")
result: AlphaResult | None = st.session_state.get("alpha_result")
result = result if result is not None and result.request == request else None
search = st.session_state.get("alpha_search")
search = search[1] if search is not None and search[0] == request else None
running = busy and runner().job.name == EVALUATING

if result is None and search is None and not busy:
    st.info(
        "No results for this sparsity and these constraints. Click **Evaluate all masks**.",
        icon=":material/ads_click:",
    )
if result is not None:
    if not running and not result.complete and resume_row(result.measured, request.size, "examples", "choice"):
        start_path(loaded, request)
        st.rerun()
    with st.container():
        st.fragment(path_result, run_every=1.0 if running else None)(result, busy=running)
if search is not None and not busy:
    search_result(search, result)

surface_section(loaded, request, busy=busy)
budget_section(loaded, request, busy=busy)

if result is not None and result.found is not None and not running:
    st.header("Export")
    document = {
        "model": loaded.model.name,
        "text": loaded.text_name,
        "sparsity": request.sparsity,
        "texts": size,
        "rules": described,
        "scores": loaded.scores.settings,
        "intervals": records(result.found.frame),
        "masks": result.found.masks.tolist(),
    }
    downloads("alpha_path", result.found.frame, document)
    by = st.session_state.get("choice_by") or result.found.measure
    copy_as_code(alpha_python(loaded, request, by), alpha_command(loaded, request), "alpha_choice")
