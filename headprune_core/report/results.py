"""The report's results: kept heads, accuracy before and after, per-class recall, scores, sparsity curves and fine-tuning."""

import numpy as np
import plotly.graph_objects as go

from headprune_core.data.measures import format_value, measure_label, sentence_name
from headprune_core.data.tasks import chance_level
from headprune_core.figures.curves import curves_figure, describe_curves
from headprune_core.figures.heatmaps import METRIC_LABELS, describe_heatmap, row_name, score_heatmap
from headprune_core.figures.orthogonality import orthogonality_scatter
from headprune_core.figures.per_class import describe_recall, recall_figure
from headprune_core.figures.pruned import (
    describe_head_map,
    describe_recovery,
    head_map_figure,
    mark_removed,
    recovery_figure,
)
from headprune_core.figures.roles import CHOICE
from headprune_core.figures.style import label
from headprune_core.measure.curve_verdicts import describe_verdict
from headprune_core.measure.curves import main_measure
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import McNemar, is_significant, method_text, why_not_significant
from headprune_core.scores.hies import min_max
from headprune_core.scores.orthogonality import orthogonality

from .data import SCALED, Facts, agreement, by_class, change, difference_text, same_examples, signed
from .html import Block, Drawing, Heading, Points, Section, Table, Text, cite
from .pruning_record import share

OTHER_TITLES = {
    "agreement": "Agreement with the unpruned model",
    "correlation": "Correlation with the unpruned model",
}  # without labels
MAX_CLASSES_SHOWN = 12  # with more classes, only those with the largest drops are drawn
_SCORES_SHOWN = {  # criterion -> scores that it is computed from
    "his": ("his",),
    "ae": ("ae",),
    "inverse_ae": ("ae",),
    "hies": ("hies", "his", "ae"),
    "hies_keep_high": ("hies", "his", "ae"),
    "gnorm": ("gnorm",),
    "inverse_gnorm": ("gnorm",),
}


def results(facts: Facts) -> Section:
    """Return the section with all results, one heading each.

    Args:
        facts: data of the report.

    Returns:
        The section "Results".
    """
    parts = (_heads, _accuracy, _classes, _scores, _curves, _recovery)
    return Section("Results", [block for part in parts for block in part(facts)])


def _heads(facts: Facts) -> list[Block]:
    labels = facts.labels
    figure = head_map_figure(facts.kept, facts.present, labels)
    return [Heading("Kept heads"), Drawing(figure, describe_head_map(facts.kept, facts.present, labels))]


def _accuracy(facts: Facts) -> list[Block]:
    verification = facts.record.verification
    if verification is None:
        return []
    main = share(verification.unpruned)
    name = measure_label(main.name)
    title = f"{name} before and after pruning" if facts.labeled else OTHER_TITLES[main.name]
    blocks: list[Block] = [Heading(title)]
    if facts.labeled:
        wilson = main.method == "Wilson"
        what = f"Accuracy (share of {facts.task.correct})" if wilson else name
        interval = f"95% Wilson confidence interval {cite('wilson')}" if wilson else "95% bootstrap confidence interval"
        others = f" Further measures of the pruned model: {_further(facts)}." if verification.pruned.further else ""
        blocks.append(
            Table(
                f"{what} with {interval}, and mean {facts.task.loss}.{others}",
                ("Model", name, "95% CI", _loss_title(facts), "Change (pp)" if wilson else "Change"),
                [_row(name, evaluation, verification.unpruned) for name, evaluation in facts.forms.items()],
            )
        )
        blocks += [
            Text(_change_text(name, verification.unpruned, evaluation)) for name, evaluation in list(facts.forms.items())[1:]
        ]
    same = agreement(verification.masked)
    what = "next-token predictions" if facts.model.generates else "predictions"
    source = "" if facts.labeled else f" {cite('wilson')}"
    if same.name == "agreement":
        blocks.append(Text(f"Agreement of the pruned with the unpruned model: {same} of {same.n:,} {what}{source}."))
    else:
        blocks.append(Text(f"Correlation of the outputs of the pruned and the unpruned model: {same}, {same.n:,} examples."))
    return [*blocks, Text(_equivalence_text(facts))]


def _row(name: str, evaluation: MaskEvaluation, unpruned: MaskEvaluation) -> tuple[str, ...]:
    measured = share(evaluation)
    difference = "–" if name == "unpruned" else signed(measured.value - share(unpruned).value, measured.name)
    return name.capitalize(), measured.text, measured.interval, f"{evaluation.loss[0]:.3f}", difference


def _loss_title(facts: Facts) -> str:
    return "Loss (nats)" if facts.task.loss.endswith("(nats)") else "Squared error"


def _further(facts: Facts) -> str:
    """Return the further measures of the task before and after pruning."""
    verification = facts.record.verification
    parts = []
    for name, values in verification.pruned.further.items():
        before = verification.unpruned.further[name]
        parts.append(f"{sentence_name(name)} {format_value(name, values[0])} ({format_value(name, before[0])} unpruned)")
    return ", ".join(parts)


def _change_text(name: str, before: MaskEvaluation, after: MaskEvaluation) -> str:
    test = change(before, after)
    measure = before.measure
    text = f"Change in {sentence_name(measure)}, unpruned to {name}: {difference_text(test, measure)}"
    if isinstance(test, McNemar):
        text += (
            f" {cite('newcombe')}; {test.b} examples correct only after, {test.c} only before (exact McNemar test, "
            f"{_p_value(test.p_value)} {cite('mcnemar')})"
        )
    else:
        text += f", by a bootstrap over examples ({method_text(test)})"
    if is_significant(test):
        return f"{text}. The difference is significant at the 5% level."
    return (
        f"{text}. {why_not_significant(test)}, so the difference is not significant. This does not show that the models are "
        "equivalent."
    )


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _equivalence_text(facts: Facts) -> str:
    verification = facts.record.verification
    loss = facts.model.generates
    forms = "masked vs. pruned model" if verification.reloaded is None else "masked vs. pruned vs. reloaded model"
    if verification.max_logit_difference == 0:
        difference = f"{'losses' if loss else 'logits'} are bitwise identical"
    else:
        difference = f"max. {'loss' if loss else 'logit'} difference {verification.max_logit_difference:.1e}"
    identical = "the same token accuracy" if loss else "identical predictions"
    identical = identical if facts.task.has_decisions else "the same output"
    text = f"Equivalence check, {forms}: {difference}, {identical} on {verification.prediction_match:.1%} of examples."
    if verification.prediction_match == 1:
        return f"{text} Removing the heads does not change any prediction compared with masking them."
    return text


def _classes(facts: Facts) -> list[Block]:
    if not facts.labeled:
        return []
    forms = list(facts.forms)
    changes = by_class(facts.record.verification.unpruned, facts.forms[forms[-1]], facts.model.labels)
    if len(changes) < 2:
        return []
    worst_first = sorted(changes, key=lambda one: one.change.difference)
    drawn = changes if len(changes) <= MAX_CLASSES_SHOWN else worst_first[:MAX_CLASSES_SHOWN]
    before, after = ([getattr(one, when) for one in drawn] for when in ("before", "after"))
    names = [one.name for one in drawn]
    figure = recall_figure(before, after, names, "Pruned + fine-tuned" if len(forms) > 2 else "Pruned")
    caption = describe_recall(before, after, names)
    caption += " The pruned model is the fine-tuned one." if len(forms) > 2 else ""
    if len(changes) > MAX_CLASSES_SHOWN:
        caption += f" Shown: the {MAX_CLASSES_SHOWN} of {len(changes)} classes with the largest drops."
    blocks: list[Block] = [Heading("Per-class recall"), Drawing(figure, caption)]
    worst = worst_first[0]
    if worst.change.difference < 0:
        text = (
            f"Largest drop: {worst.name}, {worst.before:.1%} to {worst.after:.1%} "
            f"({worst.n} {'tokens' if facts.tokens else 'examples'}), "
            f"{difference_text(worst.change)}. "
        )
        text += (
            "The drop is significant at the 5% level"
            if is_significant(worst.change)
            else f"{why_not_significant(worst.change)}, so the drop is not significant"
        )
        blocks.append(Text(f"{text}; as the largest of {len(changes)} classes, it is subject to selection bias."))
    return blocks


def _scores(facts: Facts) -> list[Block]:
    scores, kept = facts.scores, facts.kept
    if scores is None:
        return []
    wanted = _SCORES_SHOWN.get(facts.criterion, tuple(scores.per_example))
    values = {name: getattr(scores, name) for name in wanted if name in scores.per_example}
    if "hies" in wanted and {"his", "ae"} <= scores.per_example.keys() and facts.record.alpha is not None:
        direction = "high" if facts.criterion == "hies_keep_high" else "low"
        combined = scores.hies(facts.record.alpha, normalize=facts.scaled, entropy_direction=direction)
        values = {"hies": combined} | values
    blocks: list[Block] = []
    for name, score in values.items():
        labels = facts.labels
        hover = [
            f"{row_name(labels[row])}, head {head}: {value:.4g}{'' if kept[row, head] else ', removed'}"
            for (row, head), value in np.ndenumerate(score)
        ]
        figure = mark_removed(score_heatmap(score, "", hover, labels=labels, role=name), kept)
        figure.update_layout(margin={"t": 16})
        dark = " (low entropy)" if name == "ae" else ""
        caption = f"{describe_heatmap(score, METRIC_LABELS[name], facts.labels)} Dark{dark}: pruned last by this criterion."
        blocks.append(Drawing(figure, f"{caption} {_removed_heads_text(score, kept)}"))
    if {"his", "ae"} <= scores.per_example.keys():
        blocks.append(_orthogonality(facts))
    return [Heading("Head scores"), *blocks] if blocks else []


def _orthogonality(facts: Facts) -> Drawing:
    his, ae = facts.scores.per_example["his"], facts.scores.per_example["ae"]
    check = orthogonality(his, ae, normalize=facts.scaled)
    scaled = (min_max(values.mean(0), facts.scaled) for values in (his, ae))
    low, high = (f"{end:.2f}".replace("-", "\N{MINUS SIGN}") for end in check.ci)
    interval = f" 95% CI of r over examples: {low} to {high}." if len(his) > 1 else ""
    return Drawing(
        orthogonality_scatter(*scaled, check),
        f"HIS and AE of each head, both scaled {SCALED[facts.scaled]}. {check.verdict}{interval}",
    )


def _removed_heads_text(values: np.ndarray, kept: np.ndarray) -> str:
    if kept.all():
        return "No head was removed."
    return f"Crosses mark removed heads (mean {values[~kept].mean():.3g}; mean of kept heads {values[kept].mean():.3g})."


def _curves(facts: Facts) -> list[Block]:
    curves = facts.curves
    if curves is None or curves.empty:
        return []
    measure = main_measure(curves)
    chance = chance_level(facts.model)
    figure = curves_figure(curves, measure, chance)
    if facts.n_removed:
        _mark_sparsity(figure, facts.sparsity)
    caption = f"{describe_curves(curves, facts.sparsity)} Bars: 95% CI. Vertical line: sparsity of this model."
    points = [f"{label(method)}: {sentence}" for method, sentence in describe_verdict(curves).items()]
    title = f"{measure_label(measure)} vs. sparsity"
    return [Heading(title), Drawing(figure, caption), Points(points)]


def _mark_sparsity(figure: go.Figure, sparsity: float) -> None:
    line = {"color": CHOICE, "width": 2}
    figure.add_vline(x=sparsity, line=line, annotation_text="This model", annotation_position="bottom right")


def _recovery(facts: Facts) -> list[Block]:
    recovery = facts.record.recovery
    if recovery is None:
        return []
    blocks: list[Block] = [Heading("Recovery fine-tuning")]
    if len(recovery.loss):
        blocks.append(Drawing(recovery_figure(recovery), describe_recovery(recovery)))
    before, after = recovery.before, recovery.after
    if before is None or after is None or not before.labeled or before.losses.shape != after.losses.shape:
        return blocks if len(blocks) > 1 else []
    test = change(before, after)
    text = (
        f"{measure_label(before.measure)} of the pruned model: {share(before)} before fine-tuning, {share(after)} after; "
        f"change {difference_text(test, before.measure)}. "
    )
    if is_significant(test):
        text += f"The {'gain' if test.difference > 0 else 'loss'} is significant at the 5% level."
    else:
        text += f"{why_not_significant(test)}, so the change is not significant."
    verification = facts.record.verification
    if verification is not None and not same_examples(before, verification.pruned):
        text += " This comparison used other examples than the table above."
    return [*blocks, Text(text)]
