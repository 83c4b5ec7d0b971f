"""The report's section on statistical confidence: intervals, random baseline, selection bias and what was not measured."""

from headprune_core.data.measures import format_difference, sentence_name
from headprune_core.figures.pruned import baseline_figure, describe_baseline
from headprune_core.measure.curves import REGIMES
from headprune_core.measure.paired_tests import is_significant

from .data import Facts, agreement, change
from .html import Block, Drawing, Points, Section, Text, cite
from .pruning_record import share


def statistical_confidence(facts: Facts) -> Section:
    """Return the section on intervals, the random baseline, selection bias, the sparsity regime and missing measurements.

    Args:
        facts: data of the report.

    Returns:
        The section "Statistical confidence".
    """
    baseline, blocks = facts.record.random_baseline, []
    interval = _interval_text(facts)
    blocks += [Text(interval)] if interval else []
    if baseline is not None:
        blocks += [Drawing(baseline_figure(baseline), describe_baseline(baseline)), Text(_baseline_text(facts))]
    regime = Text(_regime_text(facts))
    return Section("Statistical confidence", [*blocks, *_selection_bias(facts), regime, *_not_measured(facts)])


def describe_confidence(facts: Facts) -> str:
    """Summarize the statistical confidence in one sentence, for the abstract.

    Args:
        facts: data of the report.

    Returns:
        One sentence.
    """
    parts, baseline = [], facts.record.random_baseline
    tuned = len(facts.forms) > 2
    if facts.labeled:
        significant = is_significant(change(facts.record.verification.unpruned, list(facts.forms.values())[-1]))
        parts.append(
            f"{'after fine-tuning, ' if tuned else ''}the change in {sentence_name(facts.measure)} is "
            f"{'' if significant else 'not '}significant at the 5% level"
        )
    if baseline is None:
        parts.append("no random baseline was run")
    else:
        count, beaten = len(baseline.random_values), baseline.n_beaten
        masks = f"{count} random masks" if count > 1 else "1 random mask"
        subject = f"{'before fine-tuning, ' if tuned else ''}the mask is better than"
        if beaten == count:
            few = "" if baseline.better_than_random else ", too few for significance at the 5% level"
            parts.append(f"{subject} {'all ' if count > 1 else ''}{masks} of the same size{few}")
        else:
            parts.append(f"{subject} {beaten or 'none'} of {masks} of the same size, which is not significant")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _interval_text(facts: Facts) -> str:
    verification = facts.record.verification
    if verification is None:
        return ""
    measured = share(verification.pruned) if facts.labeled else agreement(verification.masked)
    half_width = (measured.high - measured.low) / 2
    width = format_difference(measured.name, half_width).lstrip("+")
    unit = "predicted tokens" if facts.tokens else "images" if facts.model.reads_images else "examples"
    text = (
        f"With {measured.n:,} {unit}, the 95% CI of {sentence_name(measured.name)} is about ±{width}, so smaller "
        "differences between models evaluated on different examples are not significant."
    )
    if facts.labeled:
        text += " Models evaluated on the same examples are compared with a paired test, which is more sensitive."
    if facts.tokens:
        text += (
            " Tokens of one example depend on each other, so this CI is too narrow; the CI of the change is over examples."
        )
    return text


def _baseline_text(facts: Facts) -> str:
    baseline = facts.record.random_baseline
    count = len(baseline.random_values)
    if baseline.n_beaten == count:
        return f"{baseline.summary} A random mask would rank above {count} others with probability 1/{count + 1}."
    return (
        f"{baseline.summary} {count - baseline.n_beaten} of {count} random masks, which make the model equally small, do as "
        "well or better on these examples."
    )


def _selection_bias(facts: Facts) -> list[Block]:
    if facts.record.verification is None:
        return []
    name = sentence_name(facts.measure)
    return [
        Text(
            f"The intervals assume a single comparison. If criterion, alpha or sparsity were selected by their {name} on "
            f"these examples, the {name} is optimistically biased; confirm it on a fresh test set."
        )
    ]


def _regime_text(facts: Facts) -> str:
    rounding = 0.5 / facts.kept.size  # A target sparsity is rounded to a whole number of heads.
    low, high, name = next((regime for regime in REGIMES if facts.sparsity <= regime[1] + rounding), REGIMES[-1])
    return (
        f"At {facts.sparsity:.0%} sparsity, the model is in the {name} regime ({low:.0%} to {high:.0%}) as defined "
        f"by Choi et al. {cite('hies')}. The bounds may differ for other models."
    )


def _not_measured(facts: Facts) -> list[Block]:
    record, verification = facts.record, facts.record.verification
    missing = [
        (verification is None, "predictions of the pruned model (no evaluation set)"),
        (
            verification is not None and not facts.labeled,
            f"{sentence_name(facts.task.measure)} (the evaluation set has no labels)",
        ),
        (
            verification is not None and verification.reloaded is None,
            "whether the reloaded model gives the same predictions",
        ),
        (record.random_baseline is None, "a random baseline (random masks of the same size)"),
        (record.latency is None, "latency of the pruned model"),
        (record.recovery is None, "the effect of recovery fine-tuning"),
    ]
    points = [f"Not measured: {what}." for is_missing, what in missing if is_missing]
    return [Points(points)] if points else []
