"""The plan of reading in the form: columns, labels and first rows as they will be read; every guess can be changed."""

from collections import Counter
from collections.abc import Callable

import streamlit as st

from headprune_core import HeadPruneError, ReadingPlan, plan_examples
from headprune_core.data.labels import map_labels, suggested_class
from headprune_core.data.limits import no_progress
from headprune_core.data.model_labels import ClassNames, ModelLabels
from headprune_core.data.reading_plan import plan_unmapped
from pages.parts.common.failures import outside, show_error
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.workspace import digest

from .dataset_form import FORM, Dataset
from .form_job import form_value, keep

MOST_PLANS = 4  # a page needs three
MOST_CELLS = 20_000  # of a table that the page plans at once, in less than 0.3 s; a job plans larger tables
PLAN_JOB = "Making the reading plan"
MOST_LABELS = 30  # more distinct labels than can be assigned by hand
EXCLUDE = "Exclude"
_EXCLUDED = {  # what it means to exclude a label, by kind of labels
    "class": "Its examples are left out.",
    "set": "It is dropped from the label sets.",
    "tags": "Words with this tag have no target.",
}
_SEPARATORS = {None: "Detect", ",": "Comma", ";": "Semicolon", "|": "Bar", "": "None"}
_CAPTIONS = {
    "text_column": "Text column",
    "text_pair_column": "Second text column",
    "label_column": "Label column",
}


def plan_form(dataset: Dataset, model: ModelLabels | None) -> ReadingPlan | None:
    """Show how the dataset will be read, and return the plan; None if a question is still open.

    Args:
        dataset: The chosen dataset.
        model: Labels of the chosen model; None if they are not known yet.
    """
    st.markdown("**Reading plan**")
    plans = st.session_state.get("plans", {})
    st.session_state["plans"] = {key: plan for key, plan in plans.items() if key[0] == dataset.key}
    columns = _columns_form(dataset, model)
    if columns is None:
        return None
    try:
        plan = _planned(plan_unmapped, dataset, model=model, **columns)
        if plan is None:
            return None
        if plan.labels and model is not None and model.names:
            mapping, chosen = _labels_form(plan, model.names, dataset.key)
            if mapping is None:
                return None
            plan = _planned(plan_examples, dataset, model=model, label_mapping=mapping if chosen else None, **columns)
            if plan is None:
                return None
    except HeadPruneError as reason:
        show_error(str(reason))
        return None
    lines = plan.describe()
    st.caption("  \n".join(plain(line) for line in lines if not line.startswith("Guess: ")))
    guesses = [line for line in lines if line.startswith("Guess: ")]
    if guesses:
        st.warning("  \n".join(map(plain, guesses)), icon=":material/help:")
    st.dataframe(plan.preview(), hide_index=True)
    return plan


def _planned(plan: Callable[..., ReadingPlan], dataset: Dataset, **arguments) -> ReadingPlan | None:
    """The result of `plan`, which is computed once for the last choices and not each time that the page is drawn.

    Returns:
        The plan; None while a job computes the plan of a large table, and if it was cancelled.

    Raises:
        HeadPruneError: If the dataset cannot be read in this way.
    """
    known = {"split": dataset.splits[0], "subset": dataset.subset, **dict(dataset.reading), **arguments}
    known = {name: value for name, value in known.items() if value is not None}  # None is the default of each argument

    def work(progress) -> ReadingPlan:
        progress(0, 1, "Finding columns and labels")
        made = plan(dataset.found, **{"model": None, **known})
        progress(1, 1, "Finding columns and labels")  # after Cancel there is no plan
        return made

    key = dataset.key, digest(plan.__name__, known)
    rows, columns = dataset.found.table.shape
    if rows * columns <= MOST_CELLS and key not in st.session_state["plans"]:
        try:
            keep("plans", key, work(no_progress), MOST_PLANS)
        except HeadPruneError as reason:
            keep("plans", key, reason, MOST_PLANS)
    waiting = "The reading plan is made when the running job has ended."
    return form_value("plans", key, work, name=PLAN_JOB, button="Make plan", waiting=waiting, most=MOST_PLANS)


def _columns_form(dataset: Dataset, model: ModelLabels | None) -> dict[str, object] | None:
    """Columns of the plan: those found are preselected; None before they are found or if no text column is chosen."""
    try:
        plan = _planned(plan_unmapped, dataset, model=model)
        if plan is None:
            return None
        found = plan.columns
        start = {"text_column": found.text, "text_pair_column": found.pair, "label_column": found.label}
    except HeadPruneError as reason:
        found, start = None, dict.fromkeys(_CAPTIONS)
        st.warning(outside(sentence(str(reason))), icon=":material/help:")
    names, sets = list(dataset.found.table.columns), model is not None and model.task == "multi_label"
    places, chosen = st.columns(4 if sets else 3), {}
    for place, (setting, caption) in zip(places, _CAPTIONS.items(), strict=False):
        options, key = [None, *names], f"{setting} {dataset.key[:12]}"
        if sets and setting == "label_column":
            first = start[setting] if isinstance(start[setting], tuple) else [start[setting]] if start[setting] else []
            picked = place.multiselect(f"{caption}s", names, first, key=f"{key} {'|'.join(model.names)}", **FORM)
            chosen[setting] = picked[0] if len(picked) == 1 else tuple(picked) or None
            continue
        chosen[setting] = place.selectbox(
            caption, options, options.index(start[setting]), format_func=lambda name: name or "none", key=key, **FORM
        )
    if chosen["text_column"] is None:
        return None
    # What is still as it was found stays a guess that the plan states; none is False, because None would be found again.
    decided = {
        setting: None if found is not None and column == start[setting] else column or False
        for setting, column in chosen.items()
    }
    if sets:
        decided["label_separator"] = places[3].selectbox(
            "Label separator",
            list(_SEPARATORS),
            format_func=_SEPARATORS.get,
            key=f"label_separator {dataset.key[:12]}",
            help="Separates the labels of a set in one cell.",
            **FORM,
        )
    return decided


def _labels_form(plan: ReadingPlan, classes: tuple[str, ...], key: str) -> tuple[dict[str, int | None] | str | None, bool]:
    """The class of each label, prefilled by name, and whether the user has decided; None while a label is open."""
    labels = [planned.label for planned in plan.labels]
    number = ClassNames(classes).number
    if len(labels) > max(MOST_LABELS, len(classes)) and any(number(label) is None for label in labels):
        _show_too_many(plan)
        return None, False
    try:
        found = map_labels(labels, classes, ordered=plan.class_names, in_lists=plan.label_kind != "class").classes
        unknown: list[str] = []
    except HeadPruneError:
        found = {label: number(label) for label in labels}
        unknown = [label for label in labels if found[label] is None]
    numbered = plan.label_kind != "class" and {*labels} <= {*map(str, range(len(classes)))}
    said = "The labels are class numbers of the model, counted from 0"
    box = f"numbers {plan.columns.label} {'|'.join(classes)} {key[:12]}"
    if unknown and numbered and st.checkbox(said, key=box, **FORM):
        return "numbers", True
    if unknown and len(labels) > MOST_LABELS:
        _show_too_many(plan)
        return None, False
    if len(labels) > MOST_LABELS:
        return found, False
    if unknown:
        problem = f"{len(unknown)} of {len(labels)} labels are not classes of the model."
        if numbered:
            problem = "The labels are numbers, but the classes of the model have names."
        st.warning(
            f"{problem} Assign each to a class or exclude it. To score without labels, choose no label column.",
            icon=":material/help:",
        )
    options: list[int | None] = [*range(len(classes)), -1]
    counts = Counter({planned.label: planned.count for planned in plan.labels})
    mapping: dict[str, int | None] = {}
    open_labels = 0
    for start in range(0, len(labels), 3):
        for column, label in zip(st.columns(3), labels[start : start + 3], strict=False):
            guess = found[label] if found[label] is not None else suggested_class(label, classes)
            picked = column.selectbox(
                f"{plain(label)} ({counts[label]:,})",
                options,
                None if guess is None else options.index(guess),
                format_func=lambda one: EXCLUDE if one == -1 else classes[one],
                placeholder="Choose a class",
                help=f"{EXCLUDE}: {_EXCLUDED[plan.label_kind]}",
                key=f"label {label} {plan.columns.label} {'|'.join(classes)} {key[:12]}",
                **FORM,
            )
            open_labels += picked is None
            mapping[label] = None if picked in (None, -1) else picked
    if open_labels:
        return None, False
    return mapping, bool(unknown) or mapping != found


def _show_too_many(plan: ReadingPlan) -> None:
    st.error(
        f"Column {plain(str(plan.columns.label))} has {len(plan.labels):,} distinct labels, which the model does not have. "
        "Choose another label column, or none to score without labels.",
        icon=":material/error:",
    )
