"""What happens without the selected heads: their masking effect with flipped examples, and the gate dial of one head."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import GateDial, HeadPruneError, MaskingEffect, gate_dial, masking_effect
from headprune_core.data.tasks import task_of
from headprune_core.figures.inspection import describe_gate_dial, gate_dial_figure
from headprune_core.jobs import Job
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.failures import drop_failure, report_failure
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import downloads, progress_panel, records
from pages.parts.common.workspace import Workspace

from .selection import Head
from .traits_run import VIEW

JOB = "Masking the selected heads"
MOST_KEPT = 12  # results that a session keeps
MOST_EXAMPLES = 240


@dataclass(frozen=True)
class Effect:
    """What is measured without some heads.

    Attributes:
        effect: The effect of masking the heads together.
        dial: The gate dial on the calibration set, for one head; None for several, or without a loss.
        size: Number of evaluated examples.
    """

    effect: MaskingEffect
    dial: GateDial | None
    size: int


def effect_section(loaded: Workspace, heads: tuple[Head, ...]) -> None:
    """Show what happens without heads, or offer to measure it.

    Args:
        loaded: The workspace.
        heads: The heads, which are masked together.
    """
    one = len(heads) == 1
    st.header(f"Effect of masking {'this head' if one else f'these {len(heads)} heads together'}", anchor=False)
    examples = loaded.calibration if loaded.evaluation is None else loaded.evaluation
    data = "calibration" if loaded.evaluation is None else "evaluation"
    size, known = min(MOST_EXAMPLES, len(examples)), st.session_state.get("effects", {})
    found: Effect | None = known.get((loaded.key, heads))
    if runner().busy and runner().job.name == JOB:
        progress_panel("effect")
        return
    if found is None:
        what = "Masks the head" if one else "Masks the heads together"
        st.info(
            f"The effect is not measured yet. Click **Measure effect**. {what} on {size} {data} examples"
            + (", and varies its gate on the calibration set." if one else "."),
            icon=":material/ads_click:",
        )
        if st.button("Measure effect", type="primary", icon=":material/play_arrow:", disabled=runner().busy):
            _start(loaded, heads, size)
            st.rerun()
        return
    for line in found.effect.describe():
        st.markdown(f"- {plain(line)}")
    if not found.effect.describe():
        st.markdown("These examples have no labels and the model predicts numbers: there is no loss to compare.")
    st.caption(f"{found.size} {data} examples. Masked: the output of the head{'s are' if not one else ' is'} set to zero.")
    _flips(loaded, found, examples)
    if found.dial is not None:
        _dial(loaded, found.dial)


def _flips(loaded: Workspace, found: Effect, examples) -> None:
    effect = found.effect
    if effect.flipped is None or not effect.flipped.any() or effect.predictions.ndim != 2:
        return
    st.markdown("**Examples whose prediction changes**")
    table = effect.flips(
        examples.select(range(found.size), new_fingerprint=f"{loaded.key}-flips-{found.size}"), loaded.model.labels
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "example": "Example",
            "text": st.column_config.TextColumn("Text", width="large"),
            "before": "With all heads",
            "after": "Without",
            "probability_before": st.column_config.NumberColumn("Probability before", format="percent"),
            "probability_after": st.column_config.NumberColumn("Probability after", format="percent"),
        },
    )
    st.caption("Both probabilities are those of the class that is predicted with all heads.")
    downloads("flips", table, {"heads": [list(head) for head in effect.heads], "flips": records(table)})


def _dial(loaded: Workspace, dial: GateDial) -> None:
    st.markdown("**Gate dial**")
    task = task_of(loaded.model)
    text = describe_gate_dial(dial)
    figure(gate_dial_figure(dial, task.loss), "Gate dial", "gate_dial", alt=f"Loss by gate. {text}", data=dial.to_frame())
    own = "" if dial.objective == "loss" else " Without labels, the loss uses the model's own predictions as targets."
    st.caption(
        f"{text} The gate multiplies the head's output. The slope at gate 1, whose mean absolute value over examples is the "
        f"{labels.HIS}, is the first-order estimate of what masking does.{own} Calibration examples; the end of the curve "
        "is leave-one-out ablation."
    )


def _start(loaded: Workspace, heads: tuple[Head, ...], size: int) -> None:
    server = shared()
    examples = loaded.calibration if loaded.evaluation is None else loaded.evaluation
    # Named instead of hashed: the hashing of datasets redirects the standard output that sessions share.
    examples = examples.select(range(size), new_fingerprint=f"{loaded.key}-effect-{size}")

    def work(progress) -> Effect:
        with server.turns.hold(progress) as report:
            effect = masking_effect(loaded.model, examples, heads, cache=server.cache, progress=report)
            dial = None
            if len(heads) == 1 and (loaded.labelled or task_of(loaded.model).has_decisions):
                dial = gate_dial(loaded.model, loaded.calibration, *heads[0], progress=report)
            return Effect(effect, dial, size)

    def deliver(job: Job) -> None:
        if job.state == "done":
            known = st.session_state.setdefault("effects", {})
            known[loaded.key, heads] = job.result
            while len(known) > MOST_KEPT:
                del known[next(iter(known))]
        if job.error:
            report_failure(f"The effect could not be measured. {sentence(job.error)}", VIEW)

    try:
        if runner().start(JOB, work, deliver, VIEW):
            drop_failure()
    except HeadPruneError as reason:
        report_failure(sentence(str(reason)), VIEW)
