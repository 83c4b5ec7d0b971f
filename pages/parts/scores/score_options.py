"""The panel "Scoring options": every option, what it means, and how much it changes the ranking here."""

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
from pages.parts.common.failures import drop_failure, show_failure
from pages.parts.common.option_labels import FIELDS, NAMES, describe_options
from pages.parts.common.sentences import plain
from pages.parts.common.server_cache import shared
from pages.parts.common.session import reduce_by, runner, scorings, setting, start_scoring
from pages.parts.common.shared_ui import duration, progress_panel, replaced_jobs
from pages.parts.common.workspace import BATCH_SIZE, ScoreOptions, Workspace

METRICS = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}


def options_panel(loaded: Workspace) -> None:
    """Offer the scoring options: the reduction is applied at once, the others by rescoring."""
    if changed := describe_options(loaded.options):
        st.caption(f"Non-default options: {changed}")
    with st.expander("Scoring options", icon=":material/function:", key="how_computed"):
        _reductions(loaded)
        st.divider()
        st.markdown("**Options that require rescoring**")
        options = _form(loaded)
        same = options.run == loaded.options.run
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Rescore heads", type="primary", icon=":material/replay:", disabled=same or runner().busy):
                drop_failure()
                start_scoring(options)
                st.rerun()
            st.caption("Current options." if same else f"{_cost(loaded, options)} {replaced_jobs()}")
        _precision(loaded)
    if runner().busy:
        progress_panel("scores")
    show_failure("head_scores")


def _reductions(loaded: Workspace) -> None:
    """The choice of the reduction, and how far the three differ on this calibration set."""
    scores, current = loaded.scores, loaded.options.his_reduction
    chosen = st.segmented_control(
        FIELDS["his_reduction"][0],
        REDUCTIONS,
        default=current,
        required=True,
        format_func=lambda name: NAMES[name][0],
        help=FIELDS["his_reduction"][1],
        key=f"option_reduction_{loaded.key}",
        disabled=runner().busy or bool(runner().on_workspace()),
    )
    if names := [one.job.name for one in runner().on_workspace()]:
        st.caption(f"The reduction cannot change while a job computes with these scores: {plain(', '.join(names))}.")
    if chosen != current:
        reduce_by(chosen)
        st.rerun()
    st.caption(NAMES[current][1])
    agreement = reduction_agreement(scores)
    st.markdown("Rank correlation between the three reductions on this calibration set (Kendall's τ):")
    with st.container(horizontal=True):
        for (first, second), value in agreement.items():
            st.metric(f"{NAMES[first][0]} and {NAMES[second][0].lower()}", f"{value:.2f}")
    common, total = removed_by_all(scores, setting("sparsity"))
    st.markdown(
        f"{describe_reductions(agreement)} At {setting('sparsity'):.0%} sparsity all three prune the same {common} of "
        f"{total} heads. The per-batch reduction depends on the batch size (here {BATCH_SIZE})."
    )


def _form(loaded: Workspace) -> ScoreOptions:
    """The choice of the options that require rescoring."""
    choices = {"objective": loaded.objectives, "gnorm_objective": loaded.objectives, "entropy": KINDS}
    choices |= {"special_tokens": (True, False), "dtype": ("float32", "bfloat16")}
    columns = [*st.columns(3), *st.columns(3)]
    chosen = {}
    for column, (name, values) in zip(columns, choices.items(), strict=False):
        current, (label, meaning) = getattr(loaded.options, name), FIELDS[name]
        chosen[name] = column.selectbox(
            label,
            values,
            values.index(current),
            format_func=lambda value: NAMES[value][0],
            help=meaning,
            key=f"option_{name}_{scorings()}",
            on_change=drop_failure,
            persist_state="session",
        )
        column.caption(NAMES[chosen[name]][1])
    if "loss" not in loaded.objectives:
        columns[-1].caption("The dataset has no labels, so the model's own predictions are used as targets.")
    return ScoreOptions(loaded.options.his_reduction, **chosen)


def _cost(loaded: Workspace, options: ScoreOptions) -> str:
    """The estimated time and memory of rescoring with these options."""
    named = {name: getattr(options, name) for name in ("objective", "gnorm_objective", "dtype")}
    cost = estimate_scoring(loaded.model, loaded.calibration, batch_size=BATCH_SIZE, **named)
    return (
        f"Estimated: {duration(cost.seconds)}, {cost.peak_bytes / 2**20:,.0f} MiB. The current scores stay visible until "
        "rescoring finishes."
    )


def _precision(loaded: Workspace) -> None:
    """The rank correlation between the two precisions, if scores in both were computed."""
    other = "float32" if loaded.options.dtype == "bfloat16" else "bfloat16"
    scores = loaded.in_precision(other, shared())
    if scores is None:
        return
    same = precision_agreement(loaded.scores, scores.reduced_by(loaded.options.his_reduction))
    values = ", ".join(f"{METRICS[metric]} {value:.3f}" for metric, value in same.items())
    st.markdown(f"Kendall's τ between the rankings in **float32** and in **bfloat16**: {values}.")
