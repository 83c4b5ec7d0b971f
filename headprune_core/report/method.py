"""What a report says that does not depend on what was found: what a criterion is, what removal is, limits, literature."""

from collections.abc import Mapping

from .data import SCALED, Facts
from .html import Block, Points, Section, Text, cite

_HIS = (
    "HIS(h) = mean over texts x of | \N{N-ARY SUMMATION} z(h) · \N{PARTIAL DIFFERENTIAL}L(x)/\N{PARTIAL DIFFERENTIAL}z(h) |"
)
_AE = "AE(h) = mean over texts of (1/t) \N{N-ARY SUMMATION}i (\N{MINUS SIGN}\N{N-ARY SUMMATION}j A(i, j) log A(i, j))"
_GNORM = (
    "S(h) = G(Q) · G(K) · G(V),  G(W) = mean over texts x of "
    "\N{DOUBLE VERTICAL LINE}\N{PARTIAL DIFFERENTIAL}\N{DOUBLE VERTICAL LINE}F(x)\N{DOUBLE VERTICAL LINE} / "
    "\N{PARTIAL DIFFERENTIAL}W(h)\N{DOUBLE VERTICAL LINE}"
)
_MIX = "HIES(h) = \N{GREEK SMALL LETTER ALPHA} · HIS~(h) + (1 \N{MINUS SIGN} \N{GREEK SMALL LETTER ALPHA}) · "
_IMPORTANCE = (
    "Importance (HIS) is how much the loss would move, to first order, if the head's output z were scaled: L is the loss of "
    f"text x, and the sum runs over tokens and dimensions {cite('michel')}."
)
_ENTROPY = (
    "Entropy (AE) is how widely the head spreads its attention A over the t tokens of a text, in nats; a head of low "
    f"entropy looks at few tokens {cite('greedy')}."
)
_SCALED = (
    "Both are scaled to the range from 0 to 1 {scaled}, which the tilde stands for, and mixed by "
    f"\N{GREEK SMALL LETTER ALPHA} {cite('hies')}."
)
_NORMS = (
    "Each G is the norm of the gradient, with respect to the head's block of the query, key or value weights, of the norm "
    f"of the model's logits F {cite('greedy')}."
)
# name in the registry -> formula, what it means, which heads go first
CRITERIA_IN_WORDS: Mapping[str, tuple[str, str, str]] = {
    "his": (_HIS, _IMPORTANCE, "Heads of the lowest importance go first."),
    "ae": (_AE, _ENTROPY, "Heads of the highest entropy go first."),
    "inverse_ae": (_AE, _ENTROPY, "Turned round: heads of the lowest entropy go first."),
    "hies": (
        f"{_MIX}(1 \N{MINUS SIGN} AE~(h))",
        f"{_IMPORTANCE} {_ENTROPY} {_SCALED}",
        "Heads of the lowest value, unimportant and unfocused ones, go first.",
    ),
    "hies_keep_high": (
        f"{_MIX}AE~(h)",
        f"{_IMPORTANCE} {_ENTROPY} {_SCALED}",
        "Heads of the lowest value, unimportant and focused ones, go first.",
    ),
    "gnorm": (_GNORM, _NORMS, "Heads of the smallest product go first, scored once."),
    "inverse_gnorm": (_GNORM, _NORMS, "A control: heads of the largest product go first."),
    "greedy_gnorm": (_GNORM, _NORMS, "The head of the smallest product goes, all others are scored again, and so on."),
    "inverse_greedy_gnorm": (_GNORM, _NORMS, "A control: the largest product goes, all others are scored again, and so on."),
    "leave_one_out": (
        "D(h) = mean over texts x of L(x; without h) \N{MINUS SIGN} L(x)",
        f"Every head is left out alone, and the rise of the loss measured {cite('michel')}.",
        "Heads whose absence raises the loss least go first.",
    ),
    "random": ("", "", "Heads were drawn at random: a control."),
    "custom": ("", "", "The order of the heads was given by hand, not by a score."),
}


def method(facts: Facts) -> Section:
    """How the heads were chosen and what became of them."""
    record = facts.record
    blocks: list[Block] = [Text(f"The heads were chosen so: {ended(record.mask_description)}")]
    formula, meaning, order = CRITERIA_IN_WORDS.get(facts.criterion, ("", "", ""))
    if record.criterion and not order:
        blocks.append(Text(f"The criterion was {ended(record.criterion)}"))
    if order:
        name = record.criterion if facts.criterion != "custom" else "the user's own"
        blocks.append(Text(f"The criterion was {name}. {order}"))
    blocks += [Text(formula, "formula")] if formula else []
    blocks += [Text(meaning.replace("{scaled}", SCALED[facts.scaled]))] if meaning else []
    told = []
    if record.alpha is not None:
        told.append(f"Here \N{GREEK SMALL LETTER ALPHA} was {record.alpha:g} (1 is importance alone, 0 entropy alone).")
    if record.sparsity is not None:
        told.append(f"A share of {record.sparsity:.1%} of the heads was to go; {facts.removed} of {facts.there} went.")
    blocks += [Text(" ".join(told))] if told else []
    blocks.append(Text(_removal(facts)))
    recovery = record.recovery
    if recovery is not None:
        goal = "the unpruned model's answers" if recovery.objective == "teacher" else "the labels"
        many = "update" if recovery.steps == 1 else "updates"
        blocks.append(
            Text(
                f"Then the smaller model was fine-tuned: {recovery.steps} {many} of {recovery.batch_size} examples each, "
                f"from {recovery.examples}, towards {goal}, at a learning rate of at most {recovery.learning_rate:g}, in "
                f"{recovery.seconds:,.0f} seconds. The weights handed out are those after it."
            )
        )
    return Section("Method", blocks)


def data(facts: Facts) -> Section:
    """Which texts the heads were scored and the results measured on, and whether these are apart."""
    record, verification, told = facts.record, facts.record.verification, []
    if record.calibration_data:
        told.append(f"The heads were scored on {ended(record.calibration_data)}")
    if record.evaluation_data:
        told.append(f"Results were measured on {ended(record.evaluation_data)}")
    if record.recovery is not None and record.training_data:
        told.append(f"The fine-tune learned from {ended(record.training_data)}")
    if verification is not None:
        examples, kind = verification.unpruned.losses.shape[1], "images" if facts.model.reads_images else "texts"
        every = f"{examples:,} {kind if examples != 1 else kind[:-1]}"
        what = f", in which {verification.unpruned.trials:,} tokens are predicted" if facts.tokens else ""
        told.append(f"Results {'are those of' if record.evaluation_data else 'were measured on'} {every}{what}.")
    if facts.model.labels and told:
        names = facts.model.labels
        listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        told.append(f"There are {len(names)} classes: {listed}.")
    if facts.n_overlap == 0:
        told.append("No text was both scored and measured on, so the scores had no part in how the result was judged.")
    elif facts.n_overlap is not None:
        told.append(
            f"{facts.n_overlap:,} of the texts measured on were scored on too, so the result may flatter the choice."
        )
    elif record.calibration_data and record.evaluation_data:
        told.append("Whether the two share texts was not recorded.")
    return Section("Data", [Text(" ".join(told))] if told else [])


def limits(facts: Facts) -> Section:
    """What the results do not say, whatever they are."""
    points = [
        "One model and one set of texts: other texts, another language or another task may need the heads that went.",
        "One number for each head: heads that can stand in for each other look unimportant one by one, and are missed "
        "together.",
        "Accuracy is not all that a model is: calibration, robustness and fairness were not measured.",
    ]
    if facts.criterion not in (None, "custom", "random", "leave_one_out"):
        points.append("Scores are taken at the unpruned model; what a head is worth changes when others go.")
    return Section("Limits", [Points(points)])


def ended(text: str) -> str:
    """A sentence's end with one full stop."""
    text = " ".join(str(text).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _removal(facts: Facts) -> str:
    told = (
        "A head that is removed gives nothing to the layer's output projection. So its rows of the query, key and value "
        "weights, with their biases, and its columns of the output projection can be cut out: the answers stay those of the "
        f"model with the head switched off, up to rounding {cite('michel')}."
    )
    gated = int((facts.present & ~facts.kept).sum())
    if gated:
        which = "head has" if gated == 1 else "heads have"
        told += f" {gated} removed {which} no effect but keep{'s' * (gated == 1)} weights, which others share."
    earlier = facts.kept.size - facts.there
    if earlier:
        told += f" {earlier} of {facts.kept.size} heads had been removed before; all counts below are in original numbers."
    return told
