"""Accuracy against sparsity: how far each criterion can go, beside random removal."""

import streamlit as st

from headprune_core.figures.curve_details import class_curves, class_names, class_words, random_boxes, random_boxes_words
from headprune_core.figures.curves import curves_figure, describe_curves
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_verdicts import compare_with_random, describe_verdict, failure_signatures, describe_stability
from headprune_core.measure.curves import main_measure
from pages.parts.common.session import current_workspace, publish, runner
from pages.parts.common.shared_ui import page_header, plain, progress_panel
from pages.parts.common.workspace import Request
from pages.parts.curves.curve_exports import PICTURES, exports
from pages.parts.curves.curve_form import curve_form
from pages.parts.curves.curve_run import curves, start_curves
from pages.parts.curves.curve_tables import paired_table, summary_table

MEASURES = {
    "accuracy": "Share of right answers; bars are 95 % intervals (Wilson).",
    "agreement": "Share of answers equal to the unpruned model's; needs no labels.",
    "correlation": "Pearson's r of the logits with the unpruned model's: what stability is the mean of.",
    "loss": "Mean cross-entropy of the right answers; less is better.",
    "perplexity": "Among how many equally likely tokens the model seems to choose; less is better.",
}
VIEWS = {"curves": "Curves", "boxes": "Random orders", "classes": "By class"}
loaded = current_workspace()
publish("alpha")

page_header("accuracy")
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
if loaded.model.task == "classification" and "label" not in loaded.evaluation.column_names:
    st.info(
        "The text has no labels: agreement is shown, the share of answers equal to the unpruned model's.",
        icon=":material/label_off:",
    )

with st.container(border=True):
    request = curve_form(loaded)
    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.button(
            "Draw the curves", type="primary", icon=":material/play_arrow:", disabled=runner().busy or request is None
        )
        if request is not None:
            before = curves(loaded)
            cut = before is not None and not before.complete and before.request == request and not runner().busy
            st.caption(
                "This run was cut short: drawn again, it goes on where it stopped."
                if cut
                else f"At most {request.runs} runs of the model over {request.size} texts; HIES with alpha {request.alpha:g}"
            )
    if button:
        start_curves(loaded, request)
        st.rerun()

if curves(loaded) is None and loaded.request == Request() and not runner().busy and request is not None:
    start_curves(loaded, request)  # a first look by itself, so that the page is never empty
    st.rerun()
if runner().busy:
    progress_panel("curves")
result = curves(loaded)
if result is None or (result.curves is None and not runner().busy):
    st.info(
        "Nothing has been measured yet. Choose criteria above and click **Draw the curves**.", icon=":material/ads_click:"
    )
    st.stop()


@st.fragment(run_every=1.0 if runner().busy else None)
def drawn() -> None:
    """The figure, redrawn while texts come in."""
    if result.curves is None:
        st.caption("The first texts are on their way.")
        return
    frame = result.curves.frame
    views = [
        name for name in VIEWS if {"boxes": "random" in set(frame.method), "classes": class_names(frame)}.get(name, True)
    ]
    shown = [name for name in MEASURES if name in frame and frame[name].notna().any()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = st.segmented_control(
            "View", views, default="curves", required=True, key="curve_view", format_func=VIEWS.get, persist_state="session"
        )
        if view == "classes":
            methods = list(dict.fromkeys(frame.method))
            method = st.selectbox("Criterion", methods, format_func=method_label, key="class_method", width=260)
        else:
            measure = st.segmented_control(
                "Measure",
                shown,
                default=shown[0],
                required=True,
                key="measure",
                format_func=str.capitalize,
                help="  \n".join(f"**{name.capitalize()}**: {MEASURES[name]}" for name in shown),
            )
    classes = len(loaded.model.labels)
    if view == "classes":
        figure, words, about = class_curves(frame, method), class_words(frame, method), "Random orders are averaged."
    elif view == "boxes":
        figure, words = random_boxes(frame, measure), random_boxes_words(frame, measure)
        about = "A dot is a random order, a box the middle half of them."
    else:
        figure = curves_figure(frame, measure, chance=1 / classes if classes else None)
        words = describe_curves(frame)
        about = f"{MEASURES[measure]} The band is the range over random orders."
    st.session_state["curve_shown"] = figure
    st.plotly_chart(figure, alt=words, key="curves_figure", config=PICTURES)
    st.caption(f"{plain(words)} {about} {evaluation_data()}")


def evaluation_data() -> str:
    """How many texts the figure is from, and whether the scores have seen any."""
    asked = result.request
    texts = f"{asked.size} text{'s' if asked.size > 1 else ''}"
    counted = f"{texts} to test" if result.measured == asked.size else f"Measured so far on {result.measured} of {texts}"
    clean = ", none of them used for the scores" if result.shared == 0 else ""
    parts = [f"{counted}{clean}; HIES with alpha {asked.alpha:g}."]
    if asked.start:
        parts.append(f"The {asked.start} texts that Leave one out was ranked on are not among them.")
    if asked.dtype != "float32":
        alike = (
            "" if result.same_decisions is None else f", in which it decides as in float32 on {result.same_decisions:.1%}"
        )
        parts.append(f"In {asked.dtype}{alike}.")
    return " ".join(parts)


with st.container():
    drawn()
if result.curves is None or runner().busy:
    st.stop()
if result.shared:
    st.warning(
        f"{result.shared} of the {result.request.size} texts gave the scores too: these curves flatter. Load other texts.",
        icon=":material/content_copy:",
    )
labels = loaded.evaluation["label"] if "label" in loaded.evaluation.column_names else []
labels = set(map(str, labels[result.request.start : result.request.start + result.request.size]))
if len(labels) == 1 and loaded.model.task == "classification":
    st.warning(
        f"All of these texts have one label ({labels.pop()}): a model that always gives it is never wrong, so accuracy says "
        "little here. Look at agreement and correlation.",
        icon=":material/label_important:",
    )

frame = result.curves.frame
measure = main_measure(frame)
told, judged = describe_verdict(frame), compare_with_random(frame).set_index("method").verdict
if told:
    st.subheader("Better than random?" if len(judged) else "How far does each go?")
    icons = {"better than random": ":material/check_circle:", "worse than random": ":material/cancel:"}
    for method, words in told.items():
        st.markdown(f"{icons.get(judged.get(method), ':material/help:')} **{method_label(method)}** {words}")
for signature in failure_signatures(frame):
    st.warning(signature.sentence, icon=":material/troubleshoot:")

st.subheader("In numbers")
summary_table(frame, measure)
if words := describe_stability(frame):
    st.caption(words)

st.subheader("On the same texts")
ranked = [name for name in dict.fromkeys(frame.method) if name != "random"]
steps = sorted(share for share in frame.sparsity.unique() if share > 0)
if result.curves.right is None:
    st.caption("This comparison takes one answer to each text; this model predicts tokens.")
elif len(ranked) > 1 and steps:
    left, right = st.columns(2)
    nearest = min(steps, key=lambda share: abs(share - 0.3))
    at = nearest
    if len(steps) > 1:
        heads = frame.groupby("sparsity").heads_pruned.first()
        at = left.select_slider(
            "Heads removed", steps, nearest, format_func=lambda share: f"{share:.0%} ({heads[share]} heads)", key="paired_at"
        )
    against = right.selectbox(
        "Against", ranked, ranked.index("his") if "his" in ranked else 0, format_func=method_label, key="paired_against"
    )
    paired_table(result.curves, at, against, measure)
else:
    st.caption("Choose two criteria or more to compare them text by text.")

st.subheader("Take it with you")
exports(loaded, result, st.session_state["curve_shown"])
