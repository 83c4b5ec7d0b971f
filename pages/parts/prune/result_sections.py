"""Results of a pruned model: heads, accuracy and verification; your own input; model size."""

import streamlit as st

from headprune_core.data.measures import format_difference, format_value, measure_label
from headprune_core.figures.masks import describe_difference
from headprune_core.figures.pruned import baseline_figure, describe_baseline, describe_head_map
from headprune_core.measure.paired_tests import method_text, significance_text
from headprune_core.report.data import change, difference_text
from headprune_core.report.pruning_record import share
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace
from pages.parts.head_grid import difference_map, head_grid, kept_map

from .prune_run import PruneResult, start_logit_comparison, start_pruning

FORMS = {"unpruned": "Unpruned", "masked": "Masked", "pruned": "Pruned", "reloaded": "Reloaded"}


def result_section(loaded: Workspace, result: PruneResult) -> None:
    """Draw heads, parameters and accuracy, the head map, the random baseline and the verification."""
    verification, plan = result.verification, result.cut
    st.header("Pruned model")
    count = f", {result.request.size} evaluation examples" if verification is not None else ""
    st.caption(plain(sentence(f"{result.request.choice.words}{count}")))
    _metrics(result)
    _cancelled(loaded, result)
    map_, random = st.columns(2, gap="large") if result.random_baseline is not None else (st.container(), None)
    names = loaded.model.grid.row_labels
    text = describe_head_map(plan.kept, plan.present, names)
    with map_:
        head_grid([kept_map("Heads of the pruned model", plan.kept, plan.present, description=text)], names, key="head_map")
    map_.caption(text)
    if random is not None:
        text = describe_baseline(result.random_baseline)
        with random:
            figure(baseline_figure(result.random_baseline), "Random masks of the same size", "control", alt=text)
        random.caption(result.random_baseline.summary)
    if verification is not None:
        difference = verification.max_logit_difference
        logits = f"max. logit difference {difference:.1e}" if difference > 0 else "logits are bitwise identical"
        st.markdown(
            "The **masked**, **pruned** and **reloaded** models give identical predictions on "
            f"{verification.prediction_match:.1%} of {result.request.size} examples ({logits})."
        )
    if plan.rounded.any():
        requested, sides = result.request.choice.mask, ("the mask", "the pruned model")
        text = describe_difference(requested, plan.kept, sides, names)
        st.warning(f"KV groups cannot be split, so the mask was adjusted: {text}", icon=":material/group_work:")
        rounded = difference_map("Requested mask and pruned model", requested, plan.kept, sides, description=text)
        head_grid([rounded], names, key="rounded")


def _metrics(result: PruneResult) -> None:
    """Heads, parameters, accuracy and agreement of the masked, pruned and reloaded models."""
    verification, table, kept = result.verification, result.table, result.cut.kept
    before, after = int(table.parameters.iloc[0]), int(table.parameters_after.iloc[0])
    columns = st.columns(2 if verification is None else 4)
    columns[0].metric("Heads", f"{int(kept.sum())} of {kept.size}")
    columns[1].metric("Parameters", f"{after / 1e6:.2f} M", f"{after / before - 1:.1%}", delta_color="inverse")
    if verification is None:
        return
    pruned, unpruned, task = share(verification.pruned), share(verification.unpruned), verification.pruned.task
    delta = format_difference(pruned.name, pruned.value - unpruned.value)
    moved = bool(delta.strip("+-0. p"))
    arrow = {} if moved else {"delta_color": "off", "delta_arrow": "off"}
    delta = delta if moved else "no change"
    columns[2].metric(measure_label(pruned.name), pruned.text, delta, help=f"Unpruned: {unpruned}", **arrow)
    columns[2].caption(f"{labels.CI}: {pruned.interval}; n = {result.request.size}")
    columns[3].metric(
        "Identical predictions",
        f"{verification.prediction_match:.1%}",
        help="Share of examples on which the masked, pruned and reloaded models predict the same "
        + ("class or labels" if task.has_decisions else "number (up to 0.1% of the largest output)"),
    )
    columns[3].caption("Masked, pruned and reloaded models")
    if pruned.name == task.measure:
        test = change(verification.unpruned, verification.pruned)
        further = "".join(
            f" {measure_label(name)}: {format_value(name, values[0])} "
            f"(unpruned: {format_value(name, verification.unpruned.further[name][0])})."
            for name, values in verification.pruned.further.items()
        )
        st.caption(
            f"{measure_label(pruned.name)} changes by {difference_text(test, pruned.name)}, "
            f"{significance_text(test)} ({method_text(test)}).{further}"
        )


def _cancelled(loaded: Workspace, result: PruneResult) -> None:
    """Say which part of the evaluation is missing after Cancel, and offer to resume it."""
    if loaded.evaluation is None or result.random_baseline is not None or runner().busy:
        return
    done = 0 if result.verification is None else 1
    missing = "verification" if not done else "random baseline"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"The run was cancelled before the {missing} was complete.")
        if st.button(f"Resume ({done} of 2 evaluations)", icon=":material/resume:", key="resume_prune"):
            start_pruning(loaded, result.request)
            st.rerun()


def try_input_section(loaded: Workspace, result: PruneResult) -> None:
    """Draw the form of the logit comparison on the user's own input, and its result."""
    if loaded.model.task == "translation":
        return  # it would need a target too
    st.header("Try your own input")
    with st.form("own_text", border=False):
        left, right = st.columns([7, 2], vertical_alignment="bottom")
        example = loaded.calibration[0]["text"][:200]
        text = left.text_input("Input text", example, key="prune_text", persist_state="session")
        compare = right.form_submit_button("Compare logits", icon=":material/compare_arrows:", disabled=runner().busy)
        if compare and text.strip():
            start_logit_comparison(loaded, result, text)
            st.rerun()
    if result.logit_comparison is None:
        st.caption("Compares the logits of the unpruned, masked, pruned and reloaded models on this input.")
        return
    comparison = result.logit_comparison
    kinds = {"language": "Next token", "multi_label": "Label", "regression": "Output"}
    frame = comparison.frame().rename(columns=FORMS | {"class": kinds.get(loaded.model.task, "Class")})
    st.dataframe(
        frame,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(name, format="%.6f") for name in FORMS.values()},
        key="compare_logits",
    )
    predicted = {form: names[0] for form, names in zip(comparison.forms, comparison.predicted, strict=True)}
    same = len({predicted[form] for form in comparison.forms[1:]}) == 1
    st.caption(
        f"Unpruned model: “{plain(predicted['unpruned'])}”. Pruned model: “{plain(predicted['pruned'])}”. The masked, "
        f"pruned and reloaded models give {'identical' if same else 'different'} predictions (max. logit difference "
        f"{comparison.max_logit_difference:.1e})."
    )


def size_section(result: PruneResult) -> None:
    """Draw the table of parameters and MiB by module."""
    table, number = result.table, st.column_config.NumberColumn
    st.header("Model size")
    name = table.module.where(table.level < 2, "\N{MIDDLE DOT} " + table.module)
    shown = table.assign(module=name.where(table.level > 0, "All modules"))
    st.dataframe(
        shown[["module", "parameters", "parameters_after", "share_after", "size_mib", "size_mib_after"]],
        hide_index=True,
        column_config={
            "module": st.column_config.TextColumn("Module", pinned=True),
            "parameters": number("Parameters, unpruned", format="localized"),
            "parameters_after": number("Parameters, pruned", format="localized"),
            "share_after": number("Share, pruned", format="%.1f%%", help="Share of the parameters of the pruned model"),
            "size_mib": number("MiB, unpruned", format="%.2f", help="MiB (float32, 4 bytes per parameter)"),
            "size_mib_after": number("MiB, pruned", format="%.2f", help="MiB (float32, 4 bytes per parameter)"),
        },
        key="sizes",
    )
