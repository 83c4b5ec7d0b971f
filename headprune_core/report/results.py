"""The results of a report: the heads that are left, answers before and after, classes, scores, curves and the fine-tune."""

import numpy as np
import plotly.graph_objects as go

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
from headprune_core.figures.style import label
from headprune_core.measure.curve_verdicts import describe_verdict
from headprune_core.measure.curves import main_measure
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import McNemar, is_significant, why_not_significant
from headprune_core.scores.hies import min_max
from headprune_core.scores.orthogonality import orthogonality

from .data import SCALED, Facts, agreement, by_class, change, points, same_texts, signed
from .html import Block, Drawing, Heading, Points, Section, Table, Text, cite
from .pruning_record import share

MANY = 12  # classes from which on a figure and the worst are told, not all of them
_SHOWN = {  # criterion -> what its scores are made of, if it was scored
    "his": ("his",),
    "ae": ("ae",),
    "inverse_ae": ("ae",),
    "hies": ("hies", "his", "ae"),
    "hies_keep_high": ("hies", "his", "ae"),
    "gnorm": ("gnorm",),
    "inverse_gnorm": ("gnorm",),
}


def results(facts: Facts) -> Section:
    """All that was found, under a heading each."""
    parts = (_heads, _answers, _classes, _scores, _curves, _recovery)
    return Section("Results", [block for part in parts for block in part(facts)])


def _heads(facts: Facts) -> list[Block]:
    labels = facts.labels
    figure = head_map_figure(facts.kept, facts.present, labels)
    return [Heading("The heads that are left"), Drawing(figure, describe_head_map(facts.kept, facts.present, labels))]


def _answers(facts: Facts) -> list[Block]:
    verification = facts.record.verification
    if verification is None:
        return []
    blocks: list[Block] = [Heading("Answers before and after")]
    if facts.labelled:
        what = "right next tokens" if facts.tokens else "right answers"
        blocks.append(
            Table(
                f"Accuracy, the share of {what}, with 95 % intervals {cite('wilson')}; loss is the mean cross-entropy.",
                ("", "Accuracy", "95 % interval", "Loss", "Change, points"),
                [_line(name, found, verification.unpruned) for name, found in facts.forms.items()],
            )
        )
        blocks += [Text(_change_words(name, verification.unpruned, found)) for name, found in list(facts.forms.items())[1:]]
    same = agreement(verification.masked)
    what = "next tokens" if facts.tokens else "answers"
    blocks.append(
        Text(
            f"With the heads gone, {same} of {same.answers:,} {what} are those that the unpruned model gives"
            + (f" {cite('wilson')}." if not facts.labelled else ".")
        )
    )
    return [*blocks, Text(_same_words(facts))]


def _line(name: str, found: MaskEvaluation, before: MaskEvaluation) -> tuple[str, ...]:
    its = share(found)
    moved = "" if name == "unpruned" else signed(its.value - share(before).value)
    return name, f"{its.value:.1%}", f"{its.low:.1%} to {its.high:.1%}", f"{found.loss[0]:.3f}", moved


def _change_words(name: str, before: MaskEvaluation, after: MaskEvaluation) -> str:
    found = change(before, after)
    told = (
        f"From unpruned to {name} accuracy changes by {points(found)} {cite('newcombe') if _counted(found) else ''}".rstrip()
    )
    if _counted(found):
        told += (
            f": {found.b} texts are right only after, {found.c} only before (McNemar's exact test, "
            f"{_p_value(found.p_value)} {cite('mcnemar')})"
        )
    else:
        told += " in the mean over texts, by a bootstrap in which each text counts alike"
    if is_significant(found):
        return f"{told}. That is more than chance gives."
    return f"{told}. {why_not_significant(found)}, so a change is not shown; it does not show either that there is none."


def _counted(found) -> bool:
    return isinstance(found, McNemar)


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _same_words(facts: Facts) -> str:
    verification = facts.record.verification
    what = "loss of a text" if verification.unpruned.logits is None else "logit"
    forms = "The model with its heads switched off and the pruned one"
    if verification.reloaded is not None:
        forms = "The model with its heads switched off, the pruned one, and that one saved and loaded again"
    apart = (
        "are equal to the last bit"
        if verification.max_logit_difference == 0
        else f"differ by at most {verification.max_logit_difference:.1e} in any {what}"
    )
    alike = f"decide {verification.prediction_match:.1%} of the texts alike"
    if facts.tokens:
        alike = f"have the same share of tokens right in {verification.prediction_match:.1%} of the texts"
    told = f"{forms} {apart}, and {alike}."
    return f"Surgery itself changes no answer. {told}" if verification.prediction_match == 1 else told


def _classes(facts: Facts) -> list[Block]:
    if not facts.labelled:
        return []
    names = list(facts.forms)
    found = by_class(facts.record.verification.unpruned, facts.forms[names[-1]], facts.model.labels)
    if len(found) < 2:
        return []
    worst_first = sorted(found, key=lambda one: one.change.difference)
    drawn = found if len(found) <= MANY else worst_first[:MANY]
    before, after = ([getattr(one, when) for one in drawn] for when in ("before", "after"))
    called_ = [one.name for one in drawn]
    figure = recall_figure(before, after, called_)
    words = describe_recall(before, after, called_)
    words += " After is after the fine-tune." if len(names) > 2 else ""
    words += f" The {MANY} of {len(found)} classes that lose most are drawn." if len(found) > MANY else ""
    blocks: list[Block] = [Heading("Class by class"), Drawing(figure, words)]
    worst = worst_first[0]
    if worst.change.difference < 0:
        told = (
            f"Most is lost by {worst.name}: {worst.before:.1%} to {worst.after:.1%} of its {worst.texts} texts, "
            f"{points(worst.change)}. "
        )
        told += (
            "That is more than chance gives"
            if is_significant(worst.change)
            else f"{why_not_significant(worst.change)}, so this loss is not shown"
        )
        blocks.append(Text(f"{told}; as the worst of {len(found)}, it would look large by chance as well."))
    return blocks


def _scores(facts: Facts) -> list[Block]:
    scores, kept = facts.scores, facts.kept
    if scores is None:
        return []
    wanted = _SHOWN.get(facts.criterion, tuple(scores.per_example))
    values = {name: getattr(scores, name) for name in wanted if name in scores.per_example}
    if "hies" in wanted and {"his", "ae"} <= scores.per_example.keys() and facts.record.alpha is not None:
        direction = "high" if facts.criterion == "hies_keep_high" else "low"
        mixed = scores.hies(facts.record.alpha, normalize=facts.scaled, entropy_direction=direction)
        values = {"hies": mixed} | values
    blocks: list[Block] = []
    for name, found in values.items():
        metric = METRIC_LABELS[name].replace(" · ", ", ")
        labels = facts.labels
        hover = [
            f"{row_name(labels[row])}, head {head}: {value:.4g}{'' if kept[row, head] else ', removed'}"
            for (row, head), value in np.ndenumerate(found)
        ]
        figure = mark_removed(score_heatmap(found, "", hover, labels=labels), kept)
        figure.update_layout(margin={"t": 16})
        words = describe_heatmap(found, metric, facts.labels)
        blocks.append(Drawing(figure, f"{words} Heads with a cross were removed; they have {_mean_words(found, kept)}"))
    if {"his", "ae"} <= scores.per_example.keys():
        his, ae = scores.per_example["his"], scores.per_example["ae"]
        check = orthogonality(his, ae, normalize=facts.scaled)
        scaled = (min_max(values.mean(0), facts.scaled) for values in (his, ae))
        scatter, where = orthogonality_scatter(*scaled, check), SCALED[facts.scaled]
        low, high = (f"{end:.2f}".replace("-", "\N{MINUS SIGN}") for end in check.ci)
        interval = f" The 95 % interval of r over texts is {low} to {high}." if len(his) > 1 else ""
        blocks.append(
            Drawing(
                scatter,
                f"Importance against entropy, both scaled {where}, a point a head. {check.verdict}{interval}",
            )
        )
    return [Heading("What the heads were worth"), *blocks] if blocks else []


def _mean_words(values: np.ndarray, kept: np.ndarray) -> str:
    if kept.all():
        return "no part in this model."
    return f"a mean of {values[~kept].mean():.3g}, the others {values[kept].mean():.3g}."


def _curves(facts: Facts) -> list[Block]:
    curves = facts.curves
    if curves is None or curves.empty:
        return []
    measure = main_measure(curves)
    chance = 1 / len(facts.model.labels) if facts.model.labels else None
    figure = curves_figure(curves, measure, chance)
    if facts.removed:
        _mark_sparsity(figure, facts.sparsity)
    words = f"{describe_curves(curves, facts.sparsity)} Bars are 95 % intervals; the line marks the share removed here."
    told = [f"{label(method)}: {sentence}" for method, sentence in describe_verdict(curves).items()]
    return [Heading("Accuracy against the share removed"), Drawing(figure, words), Points(told)]


def _mark_sparsity(figure: go.Figure, sparsity: float) -> None:
    figure.add_vline(
        x=sparsity, line={"color": "#d55e00", "width": 2}, annotation_text="here", annotation_position="bottom right"
    )


def _recovery(facts: Facts) -> list[Block]:
    recovery = facts.record.recovery
    if recovery is None:
        return []
    blocks: list[Block] = [Heading("The fine-tune")]
    if len(recovery.loss):
        blocks.append(Drawing(recovery_figure(recovery), describe_recovery(recovery)))
    before, after = recovery.before, recovery.after
    if before is None or after is None or np.isnan(before.accuracy[0]) or before.right.shape != after.right.shape:
        return blocks if len(blocks) > 1 else []
    found = change(before, after)
    told = f"Accuracy of the pruned model is {share(before)} before it and {share(after)} after it, {points(found)}. "
    if not is_significant(found):
        told += f"{why_not_significant(found)}, so a gain is not shown."
    else:
        told += "The gain is more than chance gives." if found.difference > 0 else "The loss is more than chance gives."
    verification = facts.record.verification
    if verification is not None and not same_texts(before, verification.pruned):
        told += " It was measured on other texts than the table above."
    return [*blocks, Text(told)]
