"""Prune & export: heads cut out for good, the proof that nothing else changed, sizes, speed, and the model as a zip."""

import numpy as np
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.curves import wilson
from headprune_core.figures_masks import difference_words, mask_difference
from headprune_core.latency_words import latency_words
from headprune_core.surgery import plan_cut
from pages.parts.lab import lab
from pages.parts.panels import progress_panel
from pages.parts.pins import pins, words
from pages.parts.prune_run import PruneRequest, pruned_result, start_pruning, start_timing
from pages.parts.rules import grouped
from pages.parts.session import ALPHA, publish, runner, work

INSIDE = {
    "gate": "Without effect, weights stay",
    "keep": "Kept with its group",
    "remove": "Removed with its group",
}
loaded = work()
grid = loaded.model.grid
publish(*ALPHA)

st.title("Take the smaller model home")
st.markdown(
    "Until now heads were only switched off. Here they are cut out of the weights **for good**: the file gets smaller, the "
    "answers stay those of the model with its heads switched off, and that is shown."
)


def masks() -> dict[str, tuple[str, np.ndarray]]:
    """The masks at hand: name -> (in words, (R, H))."""
    found = {}
    try:
        now = lab(loaded)
        found["Alpha, as set"] = words(loaded, now), now.mask
    except HeadPruneError as error:
        st.warning(f"The rules under Alpha give no mask: {error}.", icon=":material/block:")
    found |= {f"Pin {name}": (pin.words, pin.mask) for name, pin in pins(loaded).items()}
    for method, result in st.session_state.get("greedy", {}).items():
        if result.key == loaded.key and result.trajectory is not None and result.trajectory.steps:
            step = min(st.session_state.get("greedy_step", 0), result.trajectory.steps)
            name = "Greedy-Gnorm" if method == "greedy_gnorm" else "Greedy-Gnorm, inverse"
            found[f"{name}, step {step}"] = f"{name} after {step} steps", result.trajectory.mask(step)
    return found


there = masks()
if not there:
    st.info("There is no mask yet. Set one under **Alpha**.", icon=":material/ads_click:")
    st.stop()
with st.container(border=True):
    chosen = st.segmented_control("Mask", list(there), default=next(iter(there)), required=True, key="prune_mask", wrap=True)
    told, mask = there[chosen if chosen in there else next(iter(there))]
    inside = "gate"
    if grouped(grid):
        inside = st.segmented_control(
            "A head whose key-value group stays",
            list(INSIDE),
            default="gate",
            required=True,
            format_func=INSIDE.get,
            key="prune_inside",
            wrap=True,
            help="Query heads that share keys and values can go for good only together.",
        )
    size = 0
    if loaded.evaluation is not None:
        most = len(loaded.evaluation)
        size = st.slider("Texts to compare on", 1, most, min(240, most), key="prune_size") if most > 1 else most
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Prune for good", type="primary", icon=":material/content_cut:", disabled=runner().busy):
            try:
                plan_cut(grid, mask, inside_groups=inside)
            except HeadPruneError as error:
                st.session_state["failure"] = f"The heads could not be removed: {error}."
                st.rerun()
            start_pruning(loaded, PruneRequest(loaded.key, told, tuple(map(tuple, mask.tolist())), inside, size))
            st.rerun()
        st.caption(
            f"{told[0].upper()}{told[1:]}: {int(mask.sum())} of {mask.size} heads stay. The loaded model is untouched."
        )
if runner().busy:
    progress_panel("prune")
result = pruned_result(loaded)
if result is None:
    if not runner().busy:
        st.info("Nothing has been removed yet. Click **Prune for good**.", icon=":material/ads_click:")
    st.stop()

request, proof, table = result.request, result.proof, result.table
st.subheader("What is left")
st.caption(f"{request.words[0].upper()}{request.words[1:]}.")
before, after = int(table.parameters.iloc[0]), int(table.parameters_after.iloc[0])
columns = st.columns(4 if proof is not None else 2)
columns[0].metric("Heads", f"{int(result.cut.kept.sum())} of {result.cut.kept.size}")
columns[1].metric("Parameters", f"{after / 1e6:.2f} M", f"{(after - before) / 1e6:.2f} M", delta_color="inverse")
if proof is not None:
    measure = "agreement" if np.isnan(proof.before.accuracy[0]) else "accuracy"
    value, whole = (float(getattr(found, measure)[0]) for found in (proof.pruned, proof.before))
    low, high = wilson(value * proof.pruned.trials, proof.pruned.trials)
    columns[2].metric(
        measure.capitalize(), f"{value:.1%}", f"{100 * (value - whole):+.1f} points", help=f"Before: {whole:.1%}"
    )
    columns[2].caption(f"95 % interval {low:.1%} to {high:.1%}, {request.size} texts")
    columns[3].metric(
        "Decided alike", f"{proof.equal:.1%}", help="Texts on which masked, pruned and reloaded decide the same"
    )
    columns[3].caption("masked, pruned and reloaded")
    apart = "their answers are equal to the last bit"
    if proof.difference > 0:
        apart = f"no answer differs by more than {proof.difference:.1e}"
    st.markdown(
        "The model with its heads **switched off**, the one with its heads **cut out**, and that one **saved and loaded "
        f"again** decide alike on {proof.equal:.1%} of {request.size} texts, and {apart}."
    )
if result.cut.rounded.any():
    asked, kept = request.array, result.cut.kept
    st.warning(
        f"Whole groups had to go or stay: {difference_words(asked, kept, ('the mask', 'the pruned model'))}",
        icon=":material/group_work:",
    )
    figure = mask_difference(asked, kept, ("the mask", "the pruned model"), grid.row_labels)
    st.plotly_chart(figure, key="rounded", config={"displaylogo": False})

st.subheader("What it weighs")
name = table.module.where(table.level < 2, "\N{MIDDLE DOT} " + table.module)
shown = table.assign(module=name.where(table.level > 0, "the whole model"))
number = st.column_config.NumberColumn
st.dataframe(
    shown[["module", "parameters", "parameters_after", "share_after", "mb", "mb_after"]],
    hide_index=True,
    column_config={
        "module": st.column_config.TextColumn("Part", pinned=True),
        "parameters": number("Parameters", format="localized"),
        "parameters_after": number("after", format="localized"),
        "share_after": number("Share after", format="%.1f %%"),
        "mb": number("MB", format="%.2f", help="4 bytes a parameter (float32), in units of 2^20 bytes."),
        "mb_after": number("MB after", format="%.2f"),
    },
    key="sizes",
)

st.subheader("Is it faster?")
if result.speed is None:
    if st.button("Time both models", icon=":material/timer:", key="time_models", disabled=runner().busy):
        start_timing(loaded, result)
        st.rerun()
    st.caption("The whole and the smaller model in turn, warm, on this machine. Attention is a part of the work only.")
else:
    st.markdown("\n".join(f"- {sentence}" for sentence in latency_words(result.speed)))

st.subheader("Take it with you")
st.download_button(
    "The smaller model (zip)",
    lambda: result.zip.read_bytes(),
    "pruned-model.zip",
    "application/zip",
    icon=":material/download:",
    on_click="ignore",
    key="download_model",
    type="primary",
)
st.caption(
    "Safetensors, configuration, tokenizer, and the map of the heads that are left. Unpacked into a folder, it is loaded by:"
)
st.code('import headprune_core as hp\n\nmodel = hp.PrunableModel.from_pretrained("pruned-model")', "python")
