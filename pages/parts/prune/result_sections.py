"""A pruned model on the page: what is left of it, the proof that nothing else changed, and what it weighs."""

import streamlit as st

from headprune_core.figures.masks import describe_difference, mask_difference
from headprune_core.figures.pruned import baseline_figure, describe_baseline, describe_head_map, head_map_figure
from headprune_core.measure.paired_tests import significance_text
from headprune_core.report.data import change, points
from headprune_core.report.pruning_record import share
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import plain
from pages.parts.common.workspace import Workspace

from .prune_run import PruneResult, start_logit_comparison

PLAIN = {"displaylogo": False}
ANSWERED = {"unpruned": "whole", "masked": "switched off", "pruned": "cut out", "reloaded": "saved and loaded again"}


def result_section(loaded: Workspace, result: PruneResult) -> None:
    """Heads, parameters and accuracy; the map; masked = pruned = reloaded; and what chance would have done."""
    verification, table, cut = result.verification, result.table, result.cut
    st.subheader("What is left")
    words = result.request.choice.words
    st.caption(f"{plain(words[0].upper() + words[1:])}.")
    before, after = int(table.parameters.iloc[0]), int(table.parameters_after.iloc[0])
    columns = st.columns(2 if verification is None else 4)
    columns[0].metric("Heads", f"{int(cut.kept.sum())} of {cut.kept.size}")
    columns[1].metric("Parameters", f"{after / 1e6:.2f} M", f"{after / before - 1:.1%}", delta_color="inverse")
    if verification is not None:
        now, whole = share(verification.pruned), share(verification.unpruned)
        moved = round(100 * (now.value - whole.value), 1)
        told = f"{moved:+.1f} points" if moved else "as before"
        arrow = {} if moved else {"delta_color": "off", "delta_arrow": "off"}
        columns[2].metric(now.name.capitalize(), f"{now.value:.1%}", told, help=f"Before: {whole}", **arrow)
        columns[2].caption(f"95 % interval {now.low:.1%} to {now.high:.1%}, {result.request.size} texts")
        columns[3].metric(
            "Decided alike",
            f"{verification.prediction_match:.1%}",
            help="Texts on which masked, pruned and reloaded decide the same",
        )
        columns[3].caption("masked, pruned and reloaded")
        if now.name == "accuracy":
            found = change(verification.unpruned, verification.pruned)
            st.caption(f"Accuracy changes by {points(found)}, {significance_text(found)}.")
    map_, chance = st.columns(2, gap="large") if result.random_baseline is not None else (st.container(), None)
    labels = loaded.model.grid.row_labels
    told = describe_head_map(cut.kept, cut.present, labels)
    map_.plotly_chart(head_map_figure(cut.kept, cut.present, labels), alt=told, key="head_map", config=PLAIN)
    map_.caption(told)
    if chance is not None:
        told = describe_baseline(result.random_baseline)
        chance.plotly_chart(baseline_figure(result.random_baseline), alt=told, key="control", config=PLAIN)
        chance.caption(result.random_baseline.summary)
    elif verification is not None:
        st.caption("Measuring random choices was cancelled, so chance does not stand beside it. Prune again to have it.")
    if verification is not None:
        apart = "their answers are equal to the last bit"
        if verification.max_logit_difference > 0:
            apart = f"no answer differs by more than {verification.max_logit_difference:.1e}"
        st.markdown(
            "The model with its heads **switched off**, the one with its heads **cut out**, and that one **saved and loaded "
            f"again** decide alike on {verification.prediction_match:.1%} of {result.request.size} texts, and {apart}."
        )
    elif loaded.evaluation is not None:
        st.caption("Measuring was cancelled, so there is no proof on your texts. Prune again to have it.")
    if cut.rounded.any():
        asked, names = result.request.choice.mask, ("the mask", "the pruned model")
        told = describe_difference(asked, cut.kept, names, labels)
        st.warning(f"Whole groups had to go or stay: {told}", icon=":material/group_work:")
        st.plotly_chart(mask_difference(asked, cut.kept, names, labels), alt=told, key="rounded", config=PLAIN)


def try_input_section(loaded: Workspace, result: PruneResult) -> None:
    """Logits of every form, side by side, on a text of the user's own."""
    if loaded.model.task == "translation":
        return  # it would need a target too
    st.subheader("See it on a text of your own")
    with st.form("own_text", border=False):
        left, right = st.columns([5, 1], vertical_alignment="bottom")
        text = left.text_input("Text", loaded.calibration[0]["text"][:200], key="prune_text")
        if right.form_submit_button("Compare", icon=":material/compare_arrows:", disabled=runner().busy) and text.strip():
            start_logit_comparison(loaded, result, text)
            st.rerun()
    if result.said is None:
        st.caption("Every form of the model answers it, and their logits stand side by side.")
        return
    said, classes = result.said, loaded.model.task == "classification"
    frame = said.frame().rename(columns=ANSWERED | {"class": "class" if classes else "next token"})
    st.dataframe(
        frame,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(name, format="%.6f") for name in ANSWERED.values()},
        key="compare_logits",
    )
    decided = {form: answers[0] for form, answers in zip(said.forms, said.predicted, strict=True)}
    same = len({decided[form] for form in said.forms[1:]}) == 1
    agree = "all three decide alike" if same else "they do not all decide alike"
    whole, smaller = plain(decided["unpruned"]), plain(decided["pruned"])
    st.caption(
        f"The whole model decides on “{whole}”, the smaller one on “{smaller}”. Switched off, cut out, and loaded again: "
        f"{agree}, and no logit differs by more than {said.difference:.1e}."
    )


def size(result: PruneResult) -> None:
    """Parameters, shares and megabytes by module."""
    table, number = result.table, st.column_config.NumberColumn
    st.subheader("What it weighs")
    name = table.module.where(table.level < 2, "\N{MIDDLE DOT} " + table.module)
    shown = table.assign(module=name.where(table.level > 0, "the whole model"))
    st.dataframe(
        shown[["module", "parameters", "parameters_after", "share_after", "size_mib", "size_mib_after"]],
        hide_index=True,
        column_config={
            "module": st.column_config.TextColumn("Part", pinned=True),
            "parameters": number("Parameters", format="localized"),
            "parameters_after": number("Parameters after", format="localized"),
            "share_after": number("Share after", format="%.1f %%"),
            "size_mib": number("MB", format="%.2f", help="4 bytes a parameter (float32), in units of 2^20 bytes."),
            "size_mib_after": number("MB after", format="%.2f"),
        },
        key="sizes",
    )
