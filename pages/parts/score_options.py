"""The panel "How they are computed": every option of the scores, what it means, and how much it matters here."""

import streamlit as st

from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from headprune_core.scores.reductions import agreement_words, precision_agreement, reduction_agreement, removed_by_all

from .panels import progress_panel
from .session import reduce_by, runner, setting, start_scoring
from .shelf import shared
from .work import BATCH_SIZE, ScoreOptions, Work

NAMES = {  # what people read, and one sentence on each
    "example": ("By text", "The paper's formula: the absolute value is taken of each text's sum over its tokens."),
    "token": ("By token", "The absolute value is taken of every token, as in Michel's own code: nothing cancels in a text."),
    "batch": (
        "By batch",
        "The absolute value is taken of a batch's sum, as in several public codes: texts cancel.",
    ),
    "loss": ("Task loss", "The cross-entropy of the right answer (for a language model, of the next tokens)."),
    "prediction": ("The model's own answer", "The same with the model's answer in place of the label: needs no labels."),
    "logit_norm": ("Norm of the logits", "How large the output is as a whole, whatever the right answer may be."),
    "exact": ("Exact", "In nats, as in the paper: over how many tokens a head spreads its attention."),
    "normalized": (
        "Normalized",
        "Divided by the entropy of even attention over the tokens in sight.",
    ),
    "A": ("Variant A", "The sum of -a log a written out: the same as exact, for comparison."),
    "B": ("Variant B", "The sum of -a log(a + 1e-8), as in some codes: inside the logarithm alone."),
    "C": ("Variant C", "The sum of -(a + 1e-8) log(a + 1e-8), as in other codes: on both sides."),
    True: ("Counted", "Marks such as [CLS] and [SEP] count as tokens that look and are looked at."),
    False: ("Left out", "Entropy is over words alone; what heads park on [CLS] and [SEP] does not count."),
    "float32": ("float32", "The precision that the model is loaded in."),
    "bfloat16": ("bfloat16", "Matrix products with 8 bits of precision: faster where the hardware has them."),
}
FIELDS = {  # option -> what it is called, and why it is there
    "his_reduction": ("HIS", "How products of single tokens become one number for a text"),
    "objective": ("HIS of", "What is differentiated for HIS"),
    "gnorm_objective": ("Gnorm of", "What is differentiated for Gnorm; the paper's is the norm of the logits"),
    "entropy": ("Entropy", "How the spread of a head's attention is measured"),
    "special_tokens": ("Special tokens", "Whether the tokenizer's marks count in the entropy"),
    "dtype": ("Precision", "Of matrix products; scores are added up in double precision either way"),
}
METRICS = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}


def options_panel(loaded: Work) -> None:
    """Options of `loaded`'s scores: the reduction changes at once, the others by scoring again."""
    if words := in_words(loaded.options):
        st.caption(f"Computed otherwise than in the papers · {words}")
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
            st.caption("These are in use." if same else "The scores that are there stay until the new ones are whole.")
        _precision(loaded)
    if runner().busy:
        progress_panel("scores")


def in_words(options: ScoreOptions) -> str:
    """What differs from the papers' own way, in a few words; empty where nothing does."""
    usual = ScoreOptions()
    there = [(FIELDS[name][0], getattr(options, name)) for name in FIELDS if getattr(options, name) != getattr(usual, name)]
    return " · ".join(f"{what}: {NAMES[value][0]}" for what, value in there)


def _reductions(loaded: Work) -> None:
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
        f"{agreement_words(agreement)} At {setting('sparsity'):.0%} sparsity all three remove the same {common} of {total} "
        f"heads. **By batch** depends on the batch size, here {BATCH_SIZE}: other batches give other scores."
    )


def _form(loaded: Work) -> ScoreOptions:
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


def _precision(loaded: Work) -> None:
    """How far the ranking changes with the precision, once both were computed."""
    other = "float32" if loaded.options.dtype == "bfloat16" else "bfloat16"
    scores = loaded.in_precision(other, shared())
    if scores is None:
        return
    same = precision_agreement(loaded.scores, scores.reduced_by(loaded.options.his_reduction))
    values = ", ".join(f"{METRICS[metric]} {value:.3f}" for metric, value in same.items())
    st.markdown(f"Kendall's tau between the rankings in **float32** and in **bfloat16**: {values}.")
