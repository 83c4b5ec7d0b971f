"""The form of the curves: which criteria, how far, on how many texts. Its answer is a `CurveRequest`."""

import streamlit as st

from headprune_core import CRITERIA, HeadPruneError
from headprune_core.masks.criteria import get_criterion, method_label
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .curve_run import CurveRequest
from .external_rankings import external_rankings, first_unused_example, links_to_missing, upload_form

USUAL = ("his", "hies", "gnorm", "ae", "inverse_gnorm", "random")
ALPHAS = ("0", "0.25", "0.5", "0.75", "1")
STEPS = {"one": "1 head", "5": "5 %", "10": "10 %", "20": "20 %"}
PRECISIONS = ("float32", "bfloat16")
KEEP = {"persist_state": "session"}  # choices are still there after a look at another page


def curve_form(loaded: Workspace) -> CurveRequest | None:
    """What is asked for; None, with the reason said, where that cannot be measured."""
    at_hand, alpha = external_rankings(loaded), float(setting("alpha"))
    there = [name for name, one in CRITERIA.items() if _possible(one, loaded, at_hand)]
    # what another model had may not be there
    st.session_state["methods"] = [name for name in st.session_state.get("methods", USUAL) if name in there]
    chosen = st.pills(
        "Criteria",
        there,
        selection_mode="multi",
        format_func=method_label,
        key="methods",
        **KEEP,
    )
    alphas = []
    if "hies" in there:
        alphas = st.multiselect(
            "More alphas for HIES",
            ALPHAS,
            key="more_alphas",
            accept_new_options=True,
            max_selections=12,
            placeholder="From 0 (entropy alone) to 1 (importance alone); type any other",
            help=f"HIES among the criteria has alpha {alpha:g}, as set under Alpha.",
            **KEEP,
        )
    after = chosen.index("hies") + 1 if "hies" in chosen else 0
    methods = [*chosen[:after], *_at_alphas(alphas), *chosen[after:]]
    start = first_unused_example(loaded, methods)
    left, middle, right, far = st.columns(4)
    most = left.slider("Remove up to", 10, 100, 90, 10, format="%d %%", key="most", **KEEP)
    step = middle.select_slider("In steps of", list(STEPS), "10", format_func=STEPS.get, key="step", **KEEP)
    n_random = right.slider(
        "Random seeds",
        1,
        50,
        5,
        key="n_random",
        disabled="random" not in methods,
        help="Random orders to compare with",
        **KEEP,
    )
    count = len(loaded.evaluation) - start
    size = min(count, 1)
    if count > 1:
        size = far.slider("Texts to test on", 1, count, min(120, count), key=f"evaluation_size_{count}", **KEEP)
    with st.expander("What the criteria mean, and more of them", icon=":material/add_circle:"):
        st.markdown("\n".join(f"- **{CRITERIA[name].label}** {CRITERIA[name].note}" for name in there))
        links_to_missing(at_hand)
        upload_form(loaded)
        dtype = st.segmented_control(
            "Precision",
            PRECISIONS,
            default="float32",
            required=True,
            key="curve_precision",
            help="Of matrix products. bfloat16 is faster where the hardware has it; how often it decides alike is said.",
            **KEEP,
        )
    try:
        for name in methods:
            get_criterion(name)
    except HeadPruneError as error:
        st.error(f"{str(error)[0].upper()}{str(error)[1:]}.", icon=":material/error:")
        return None
    if not methods:
        st.warning("Choose at least one criterion.", icon=":material/ads_click:")
        return None
    if count < 1:
        st.warning(
            f"Leave one out was ranked on all {start} texts for testing, so none is left that it has not seen. Leave heads "
            "out on fewer texts under How sure?, or deselect it.",
            icon=":material/data_alert:",
        )
        return None
    given = tuple(at_hand[name] for name in methods if name in at_hand)
    random_seeds = n_random if "random" in methods else 1
    return CurveRequest(
        tuple(methods), sparsities(step, most, loaded.scores.grid.shape), alpha, random_seeds, size, start, dtype, given
    )


def sparsities(step: str, most: int, shape: tuple[int, int]) -> tuple[float, ...]:
    """Shares of heads to remove, from 0 up to `most` per cent."""
    if step == "one":
        heads = shape[0] * shape[1]
        return tuple(k / heads for k in range(heads * most // 100 + 1))
    return tuple(percent / 100 for percent in range(0, most + 1, int(step)))


def _possible(criterion, loaded: Workspace, at_hand) -> bool:
    if criterion.produced_by is not None:
        return criterion.name in at_hand
    return set(criterion.needs) <= set(loaded.scores.per_example)


def _at_alphas(alphas: list[str]) -> list[str]:
    """Names of HIES at each alpha; what is no number is kept as it is, to be complained of."""
    names = []
    for text in alphas:
        try:
            names.append(f"hies@{float(str(text).replace(',', '.')):g}")
        except ValueError:
            names.append(f"hies@{text}")
    return list(dict.fromkeys(names))
