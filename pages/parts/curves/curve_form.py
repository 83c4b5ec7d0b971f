"""The form of the curves: criteria, sparsities and evaluation examples. Its result is a `CurveRequest`."""

import streamlit as st

from headprune_core import CRITERIA, HeadPruneError
from headprune_core.masks.criteria import get_criterion, method_label
from headprune_core.measure.curve_verdicts import MIN_RANDOM_RANKINGS
from pages.parts.common import labels
from pages.parts.common.failures import show_error
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .curve_run import CurveRequest
from .external_rankings import external_rankings, first_unused_example, links_to_missing, upload_form

USUAL = ("his", "hies", "gnorm", "ae", "inverse_gnorm", "random")
ALPHAS = ("0", "0.25", "0.5", "0.75", "1")
STEPS = {"one": "1 head", "5": "5%", "10": "10%", "20": "20%"}
PRECISIONS = ("float32", "bfloat16")
DEFAULT_RANDOM_RANKINGS = 20
PERSIST = {"persist_state": "session"}  # settings survive a visit to another page


def curve_form(loaded: Workspace) -> CurveRequest | None:
    """Draw the form; return its request, or None, with the reason shown, if the request cannot be evaluated."""
    external, alpha = external_rankings(loaded), float(setting("alpha"))
    available = [name for name, criterion in CRITERIA.items() if _possible(criterion, loaded, external)]
    # a criterion that another model had may be missing here
    st.session_state["methods"] = [name for name in st.session_state.get("methods", USUAL) if name in available]
    chosen = st.pills(
        "Criteria",
        available,
        selection_mode="multi",
        format_func=method_label,
        key="methods",
        **PERSIST,
    )
    alphas = []
    if "hies" in available:
        alphas = st.multiselect(
            "Additional HIES alphas",
            ALPHAS,
            key="more_alphas",
            accept_new_options=True,
            max_selections=12,
            placeholder="0 (entropy only) to 1 (importance only)",
            help=f"The criterion HIES uses α = {alpha:g}, as set on the Alpha page.",
            **PERSIST,
        )
    after = chosen.index("hies") + 1 if "hies" in chosen else 0
    methods = [*chosen[:after], *_at_alphas(alphas), *chosen[after:]]
    start = first_unused_example(loaded, methods)
    left, middle, right, far = st.columns(4)
    most = left.slider(labels.MAX_SPARSITY, 10, 100, 90, 10, format="%d%%", key="most", **PERSIST)
    step = middle.select_slider("Sparsity step", list(STEPS), "10", format_func=STEPS.get, key="step", **PERSIST)
    n_random = right.slider(
        labels.RANDOM_RANKINGS,
        1,
        50,
        DEFAULT_RANDOM_RANKINGS,
        key="n_random",
        disabled="random" not in methods,
        help=f"A verdict needs at least {MIN_RANDOM_RANKINGS} random rankings. Default: {DEFAULT_RANDOM_RANKINGS}.",
        **PERSIST,
    )
    count = len(loaded.evaluation) - start
    size = min(count, 1)
    if count > 1:
        size = far.slider(labels.EVALUATION_EXAMPLES, 1, count, min(120, count), key=f"evaluation_size_{count}", **PERSIST)
    with st.expander("Criteria help and more options", icon=":material/add_circle:"):
        st.markdown("\n".join(f"- **{CRITERIA[name].label}** {CRITERIA[name].note}" for name in available))
        links_to_missing(external)
        upload_form(loaded)
        dtype = st.segmented_control(
            labels.DTYPE,
            PRECISIONS,
            default="float32",
            required=True,
            key="curve_precision",
            help="Precision of matrix multiplications. bfloat16 is faster on supported hardware; the agreement with float32 "
            "is reported. Default: float32.",
            **PERSIST,
        )
    try:
        for name in methods:
            get_criterion(name)
    except HeadPruneError as error:
        show_error(str(error))
        return None
    if not methods:
        st.warning("Select at least one criterion.", icon=":material/ads_click:")
        return None
    if count < 1:
        st.warning(
            f"The leave-one-out ranking used all {start} evaluation examples, so no held-out examples remain. Run the "
            "ablation on fewer examples on the Uncertainty page, or deselect the criterion.",
            icon=":material/data_alert:",
        )
        return None
    given = tuple(external[name] for name in methods if name in external)
    drawn = n_random if "random" in methods else 1
    return CurveRequest(
        tuple(methods), sparsities(step, most, loaded.scores.grid.shape), alpha, drawn, size, start, dtype, given
    )


def sparsities(step: str, most: int, shape: tuple[int, int]) -> tuple[float, ...]:
    """Sparsities from 0 to `most` percent."""
    if step == "one":
        heads = shape[0] * shape[1]
        return tuple(k / heads for k in range(heads * most // 100 + 1))
    return tuple(percent / 100 for percent in range(0, most + 1, int(step)))


def _possible(criterion, loaded: Workspace, external) -> bool:
    if criterion.produced_by is not None:
        return criterion.name in external
    return set(criterion.needs) <= set(loaded.scores.per_example)


def _at_alphas(alphas: list[str]) -> list[str]:
    """Names of HIES at each alpha; text that is no number is kept, so that `get_criterion` reports it."""
    names = []
    for text in alphas:
        try:
            names.append(f"hies@{float(str(text).replace(',', '.')):g}")
        except ValueError:
            names.append(f"hies@{text}")
    return list(dict.fromkeys(names))
