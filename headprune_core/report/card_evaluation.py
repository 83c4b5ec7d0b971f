"""The evaluation section of a model card: accuracy, equivalence check, random baseline and recovery fine-tuning."""

import re

from headprune_core.data.measures import format_difference, format_value, measure_label, sentence_name
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import McNemar, method_text, significance_text
from headprune_core.prune.recovery import Recovery

from .card_text import escaped, table
from .data import change
from .pruning_record import PruningRecord, share


def evaluation_section(record: PruningRecord) -> str | None:
    """Return the section "Evaluation" of a model card.

    Args:
        record: how the model was pruned and evaluated.

    Returns:
        Markdown, or None if nothing was evaluated.
    """
    parts = [] if record.verification is None else _verification(record)
    if record.random_baseline is not None:
        when = "" if record.recovery is None else " (before fine-tuning)"
        parts.append(f"Random baseline{when}: {record.random_baseline.summary}")
    if record.recovery is not None:
        parts += _recovery(record.recovery, record.training_data)
    return "\n\n".join(["## Evaluation", *parts]) if parts else None


def measure_name(name: str) -> str:
    """Return the display name of a measure."""
    return "Agreement with the unpruned model" if name == "agreement" else measure_label(name)


def examples_text(record: PruningRecord, evaluation: MaskEvaluation) -> str:
    """Describe the evaluation set with its number of examples.

    Args:
        record: its `evaluation_data` describes the set.
        evaluation: evaluation on the set.

    Returns:
        Text such as "96 examples (tweets)"; the number is not repeated if the description contains it.
    """
    count, description = str(evaluation.losses.shape[1]), escaped(record.evaluation_data or "")
    if count in re.findall(r"\d+", description):
        return description
    return f"{count} examples ({description})" if description else f"{count} examples"


def _verification(record: PruningRecord) -> list[str]:
    verification = record.verification
    forms = {"Unpruned": verification.unpruned, "Masked": verification.masked, "Pruned": verification.pruned}
    forms |= {} if verification.reloaded is None else {"Reloaded": verification.reloaded}
    reading = ["\n".join(f"- {escaped(sentence)}" for sentence in record.reading)] if record.reading else []
    parts = [f"Evaluation set: {examples_text(record, verification.unpruned)}.", *reading, _table(forms)]
    if share(verification.pruned).name == verification.pruned.task.measure:
        parts.append(_difference(verification.unpruned, verification.pruned, "unpruned to pruned"))
    compared = "masked vs. pruned" if verification.reloaded is None else "masked vs. pruned vs. reloaded"
    loss = verification.unpruned.task.generates
    difference = (
        f"max. {'loss' if loss else 'logit'} difference {verification.max_logit_difference:.1e}"
        if verification.max_logit_difference
        else f"{'losses' if loss else 'logits'} are bitwise identical"
    )
    identical = "the same token accuracy" if loss else "identical predictions"
    identical = identical if verification.pruned.task.has_decisions else "the same output"
    parts.append(
        f"Equivalence check, {compared}: {difference}, {identical} on {verification.prediction_match:.1%} of examples."
    )
    if record.recovery is not None:
        parts[-1] += " Verified before fine-tuning."
    return parts


def _recovery(recovery: Recovery, training_data: str | None) -> list[str]:
    target = "labels" if recovery.objective == "labels" else "outputs of the unpruned model (distillation)"
    dataset = "" if training_data is None else f" ({escaped(training_data)})"
    parts = [
        "### Recovery fine-tuning",
        f"The weights include recovery fine-tuning: {recovery.steps} of {recovery.planned} steps, batch size "
        f"{recovery.batch_size}, {recovery.examples} training examples{dataset}, training target {target}, peak learning "
        f"rate {recovery.learning_rate:.1e}, {recovery.seconds:.0f} s.",
    ]
    if recovery.before is not None and recovery.after is not None:
        parts.append(_table({"Before fine-tuning": recovery.before, "After fine-tuning": recovery.after}))
        if share(recovery.after).name == recovery.after.task.measure:
            parts.append(_difference(recovery.before, recovery.after, "before to after fine-tuning"))
    return parts


def _table(forms: dict[str, MaskEvaluation]) -> str:
    shares = {name: share(evaluation) for name, evaluation in forms.items()}
    first = next(iter(shares.values()))
    further = list(next(iter(forms.values())).further)
    rows = []
    for name, evaluation in forms.items():
        one = shares[name]
        more = (format_value(other, evaluation.further[other][0]) for other in further)
        rows.append((name, one.text, one.interval, *more, one.n))
    more = (measure_label(name) for name in further)
    return table(("Model", measure_name(first.name), f"95% CI ({first.method})", *more, "n"), *rows)


def _difference(before: MaskEvaluation, after: MaskEvaluation, which: str) -> str:
    """Return the paired difference of two evaluations on the same examples, with its confidence interval."""
    test, n, name = change(before, after), after.losses.shape[1], before.measure
    if isinstance(test, McNemar):
        method = (
            f"exact McNemar p = {test.p_value:.2g}; {test.b} examples correct only after, {test.c} only before; n = {n:,}"
        )
    else:
        method = f"bootstrap over examples; {method_text(test)}"
    difference, low, high = (format_difference(name, value) for value in (test.difference, test.low, test.high))
    low, high = low.removesuffix(" pp"), high.removesuffix(" pp")
    return (
        f"Change in {sentence_name(name)}, {which}: {difference} (95% CI {low} to {high}; {method}), "
        f"{significance_text(test)}."
    )
