"""How sure a report is: what the numbers of texts allow to be told, what chance does, and what is not shown."""

from headprune_core.figures.pruned import baseline_figure, describe_baseline
from headprune_core.measure.curves import REGIMES
from headprune_core.measure.paired_tests import is_significant

from .data import Facts, agreement, change
from .html import Block, Drawing, Points, Section, Text
from .pruning_record import share

_REGIME_WORDS = {
    "redundancy": "Up to a tenth, heads are mostly redundant, and nearly any choice does well.",
    "transition": "Between a tenth and three tenths, the choice begins to matter.",
    "specialization": "Between three and five tenths, heads that do something of their own begin to go.",
    "collapse": "Beyond half, models tend to collapse, whatever the choice.",
}


def how_sure(facts: Facts) -> Section:
    """Intervals, the control, multiple looks, the regime, and what was not measured."""
    random_baseline, blocks = facts.record.random_baseline, []
    told = _interval_words(facts)
    blocks += [Text(told)] if told else []
    if random_baseline is not None:
        blocks += [Drawing(baseline_figure(random_baseline), describe_baseline(random_baseline)), Text(_verdict(facts))]
    return Section("How sure this is", [*blocks, *_looks(facts), Text(_regime(facts)), *_not_shown(facts)])


def describe_confidence(facts: Facts) -> str:
    """The same in one sentence, for the abstract."""
    told, random_baseline = [], facts.record.random_baseline
    if facts.labelled:
        last = list(facts.forms.values())[-1]
        is_shown = is_significant(change(facts.record.verification.unpruned, last))
        when = "after the fine-tune " if len(facts.forms) > 2 else ""
        told.append(
            f"{when}the change of accuracy is more than chance gives"
            if is_shown
            else f"{when}no change of accuracy is shown"
        )
    if random_baseline is None:
        told.append("that this choice of heads is better than a random one was not tested")
    else:
        masks = len(random_baseline.random_values)
        this = "before it, this choice of heads does" if len(facts.forms) > 2 else "this choice of heads does"
        many = f"{masks} random choices" if masks > 1 else "one random choice"
        if random_baseline.n_beaten == masks:
            few = "" if random_baseline.better_than_random else ", too few to tell that from chance"
            told.append(f"{this} better than {'each of ' if masks > 1 else ''}{many} of as many heads{few}")
        elif random_baseline.n_beaten == 0:
            told.append(f"{this} no better than {many} of as many heads: no better than chance")
        else:
            told.append(
                f"{this} better than {random_baseline.n_beaten} of {many} of as many heads, which does not show that it counts"
            )
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _interval_words(facts: Facts) -> str:
    verification = facts.record.verification
    if verification is None:
        return ""
    its = share(verification.pruned) if facts.labelled else agreement(verification.masked)
    reach = 50 * (its.high - its.low)
    what = "tokens" if facts.tokens else "images" if facts.model.reads_images else "texts"
    told = (
        f"With {its.answers:,} {what} the 95 % interval of {its.name} reaches about {reach:.1f} points to either side, so "
        "smaller differences between two models measured on different texts cannot be told from chance."
    )
    if facts.labelled:
        told += " Two models on the same texts are compared text by text, which is sharper."
    if facts.tokens:
        told += (
            " Tokens of one text depend on each other, so this interval is too narrow; the one of the change is over texts."
        )
    return told


def _verdict(facts: Facts) -> str:
    random_baseline = facts.record.random_baseline
    words = f"{random_baseline.summary[0].upper()}{random_baseline.summary[1:]}"
    if random_baseline.n_beaten == len(random_baseline.random_values):
        return f"{words} One more random choice would lie above all others once in {len(random_baseline.random_values) + 1} times."
    as_good = len(random_baseline.random_values) - random_baseline.n_beaten
    return (
        f"{words} So it is not shown that these heads were chosen well: {as_good} of {len(random_baseline.random_values)} random "
        "choices do as well or better on these texts, and would have made the model as small."
    )


def _looks(facts: Facts) -> list[Block]:
    if facts.record.verification is None:
        return []
    return [
        Text(
            "The intervals hold for one look. Where criterion, mix or share were picked by their accuracy on these same "
            "texts, the best of many tries flatters itself, and a test on texts that nobody has looked at is due before "
            "it is relied on."
        )
    ]


def _regime(facts: Facts) -> str:
    rounding = 0.5 / facts.kept.size  # a share that was asked for is that of a whole number of heads
    name = next((name for _, high, name in REGIMES if facts.sparsity <= high + rounding), REGIMES[-1][2])
    return (
        f"With {facts.sparsity:.0%} of all heads gone this model is in the regime called {name}. {_REGIME_WORDS[name]} "
        "Where one regime ends depends on the model."
    )


def _not_shown(facts: Facts) -> list[Block]:
    """What a reader may take for granted and was not measured."""
    record = facts.record
    missing = [
        (record.verification is None, "what the pruned model answers: no text was run through it"),
        (record.verification is not None and not facts.labelled, "whether its answers are right: the texts have no labels"),
        (
            record.verification is not None and record.verification.reloaded is None,
            "whether the saved files give the same answers",
        ),
        (record.random_baseline is None, "whether as many heads drawn at random would do as well"),
        (record.latency is None, "whether the pruned model is faster"),
        (record.recovery is None, "what a fine-tune would bring back"),
    ]
    points = [f"Not measured: {what}." for is_missing, what in missing if is_missing]
    return [Points(points)] if points else []
