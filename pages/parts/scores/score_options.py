"""The panel "How they are computed": every option of the scores, what it means, and how much it matters here."""

import streamlit as st

from headprune_core import estimate_scoring
from headprune_core.masks.reduction_agreement import (
    describe_reductions,
    precision_agreement,
    reduction_agreement,
    removed_by_all,
)
from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from pages.parts.common.server_cache import shared
from pages.parts.common.session import reduce_by, runner, setting, start_scoring
from pages.parts.common.shared_ui import duration, progress_panel
from pages.parts.common.workspace import BATCH_SIZE, ScoreOptions, Workspace

from .option_labels import FIELDS, NAMES, describe_options

METRICS = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}


def options_panel(loaded: Workspace) -> None:
    """Options of `loaded`'s scores: the reduction changes at once, the others by scoring again."""
    if words := describe_options(loaded.options):
        st.caption(f"Computed otherwise than in the papers: {words}")
    with st.expander("How they are computed", icon=":material/function:", key="how_computed"):
        _reductions(loaded)
        st.divider()
        st.markdown("**What needs the model to run again**")
        options = _form(loaded)
        same = options.run == loaded.options.run
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Score again", type="primary", icon=":material/replay:", disabled=same or runner().busy):
                st.session_state["failure"] = None
                start_scoring(options)
                st.rerun()
            st.caption("These are in use." if same else _cost(loaded, options))
        _precision(loaded)
    if runner().busy:
        progress_panel("scores")


def _reductions(loaded: Workspace) -> None:
    """The choice between the three, and how far they disagree on these texts."""
    scores, now = loaded.scores, loaded.options.his_reduction
    chosen = st.segmented_control(
        "**HIS** adds up the tokens of a text and the texts",
        REDUCTIONS,
        default=now,
        required=True,
        format_func=lambda name: NAMES[name][0],
        key=f"option_reduction_{loaded.key}",
        disabled=runner().busy,
    )
    if chosen != now:
        reduce_by(chosen)
        st.rerun()
    st.caption(NAMES[now][1])
    agreement = reduction_agreement(scores)
    st.markdown("How alike the three rank the heads here, by Kendall's tau (1 is the same order, 0 no relation):")
    with st.container(horizontal=True):
        for (first, second), value in agreement.items():
            st.metric(f"{NAMES[first][0]} and {NAMES[second][0].lower()}", f"{value:.2f}")
    common, total = removed_by_all(scores, setting("sparsity"))
    st.markdown(
        f"{describe_reductions(agreement)} At {setting('sparsity'):.0%} sparsity all three remove the same {common} of {total} "
        f"heads. **By batch** depends on the batch size, here {BATCH_SIZE}: other batches give other scores."
    )


def _form(loaded: Workspace) -> ScoreOptions:
    """What was chosen of the options that need a run."""
    choices = {"objective": loaded.objectives, "gnorm_objective": loaded.objectives, "entropy": KINDS}
    choices |= {"special_tokens": (True, False), "dtype": ("float32", "bfloat16")}
    places = [*st.columns(3), *st.columns(3)]
    chosen = {}
    for place, (name, values) in zip(places, choices.items(), strict=False):
        now, (what, why) = getattr(loaded.options, name), FIELDS[name]
        chosen[name] = place.selectbox(
            what,
            values,
            values.index(now),
            format_func=lambda value: NAMES[value][0],
            help=why,
            key=f"option_{name}_{loaded.run_key}",
        )
        place.caption(NAMES[chosen[name]][1])
    if "loss" not in loaded.objectives:
        places[-1].caption("Without labels there is no task loss: the model's own answer stands in for it.")
    return ScoreOptions(loaded.options.his_reduction, **chosen)


def _cost(loaded: Workspace, options: ScoreOptions) -> str:
    """What scoring by these options will take, in words."""
    named = {name: getattr(options, name) for name in ("objective", "gnorm_objective", "dtype")}
    cost = estimate_scoring(loaded.model, loaded.calibration, batch_size=BATCH_SIZE, **named)
    return (
        f"This will take about {duration(cost.seconds)} and {cost.peak_bytes / 2**20:,.0f} MB. The scores that are there stay "
        "until the new ones are whole."
    )


def _precision(loaded: Workspace) -> None:
    """How far the ranking changes with the precision, once both were computed."""
    other = "float32" if loaded.options.dtype == "bfloat16" else "bfloat16"
    scores = loaded.in_precision(other, shared())
    if scores is None:
        return
    same = precision_agreement(loaded.scores, scores.reduced_by(loaded.options.his_reduction))
    values = ", ".join(f"{METRICS[metric]} {value:.3f}" for metric, value in same.items())
    st.markdown(f"Kendall's tau between the rankings in **float32** and in **bfloat16**: {values}.")
