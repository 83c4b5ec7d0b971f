"""Accuracy against sparsity: how far each criterion can go, beside random removal."""

import streamlit as st

from headprune_core import CRITERIA
from headprune_core.curves import main_measure
from headprune_core.figures import curves_figure, curves_words, label
from pages.parts.curve_run import CurveRequest, curves, start_curves
from pages.parts.panels import downloads, progress_panel
from pages.parts.session import publish, runner, setting, work
from pages.parts.work import Request

loaded = work()
publish("alpha")

st.title("How far can each criterion go?")
st.markdown(
    "Heads are removed in each criterion's order and the model answers texts that the scores have **not** seen. "
    "Only what lies above the grey band of random removal has told us something."
)
if loaded.evaluation is None:
    st.warning(
        "There are no texts left to test on. Load at least two different texts under Model & text.",
        icon=":material/data_alert:",
    )
    st.stop()

from_scores = [criterion for criterion in CRITERIA.values() if criterion.made_by is None]
available = [criterion.name for criterion in from_scores if set(criterion.needs) <= set(loaded.scores.per_example)]
with st.container(border=True):
    methods = st.pills(
        "Criteria",
        available,
        default=[m for m in ("his", "hies", "gnorm", "ae", "inverse_gnorm", "random") if m in available],
        selection_mode="multi",
        format_func=label,
        key="methods",
    )
    left, middle, right, far = st.columns(4)
    most = left.slider("Remove up to", 10, 100, 90, 10, format="%d %%", key="most")
    step = middle.select_slider("In steps of", [5, 10, 20, 30], 10, format_func="{} %".format, key="step")
    seeds = right.slider("Random seeds", 1, 20, 5, key="seeds", disabled="random" not in methods)
    there = len(loaded.evaluation)
    size = far.slider("Texts to test on", 1, there, min(120, there), key="evaluation_size") if there > 1 else 1
    with st.expander("What the criteria mean"):
        st.markdown("\n".join(f"- **{CRITERIA[name].label}** {CRITERIA[name].note}" for name in available))
    request = CurveRequest(tuple(methods), tuple(range(0, most + 1, step)), setting("alpha"), seeds, size)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Draw the curves",
            type="primary",
            icon=":material/play_arrow:",
            disabled=runner().busy or not methods,
            help=None if methods else "Choose at least one criterion",
        ):
            start_curves(loaded, request)
            st.rerun()
        st.caption(f"{request.runs} runs of the model over {size} texts; HIES with alpha {request.alpha:g}")

if curves(loaded) is None and loaded.request == Request() and not runner().busy:
    start_curves(loaded, request)  # a first look by itself, so that the page is never empty
    st.rerun()
if runner().busy:
    progress_panel("curves")
if curves(loaded) is None:
    st.info(
        "Nothing has been measured yet. Choose criteria above and click **Draw the curves**.", icon=":material/ads_click:"
    )
    st.stop()


@st.fragment(run_every=2.0 if runner().busy else None)
def drawn() -> None:
    """The figure, redrawn while points come in."""
    result = curves(loaded)
    if result.frame is None:
        st.caption("The first points are on their way.")
        return
    shown = [name for name in ("accuracy", "agreement", "correlation", "loss") if result.frame[name].notna().any()]
    measure = st.segmented_control(
        "Show",
        shown,
        default=shown[0],
        required=True,
        key="measure",
        format_func=str.capitalize,
    )
    classes = len(loaded.model.labels)
    figure = curves_figure(result.frame, measure, chance=1 / classes if classes else None)
    words = curves_words(result.frame)
    st.plotly_chart(figure, alt=words, key="curves_figure")
    st.caption(
        f"{words} {result.request.size} texts to test, none of them used for the scores; bars are 95 % intervals (Wilson), "
        f"the band is the range over random orders; HIES with alpha {result.request.alpha:g}."
        + ("" if result.complete else " These are the sparsities measured so far.")
    )


with st.container():
    drawn()
result = curves(loaded)
if result.frame is None:
    st.stop()
if len(result.verdicts):
    st.subheader("Better than random?")
    icons = {"better than random": ":material/check_circle:", "worse than random": ":material/cancel:"}
    measured = main_measure(result.frame)
    for line in result.verdicts.itertuples():
        control = " That is what a control should be." if line.method == "inverse_gnorm" and "worse" in line.verdict else ""
        st.markdown(
            f"{icons.get(line.verdict, ':material/help:')} **{label(line.method)}** is **{line.verdict}**: mean {measured} "
            f"over the range {line.area:.3f}, random orders {line.random_low:.3f} to {line.random_high:.3f}.{control}"
        )
document = {"model": loaded.model.name, "text": loaded.text_name, "settings": vars(result.request)}
downloads("curves", result.frame, document | {"scores": loaded.scores.settings})
