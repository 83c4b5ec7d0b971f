"""The report's sections that do not depend on results: method, data and limitations."""

from collections.abc import Mapping

from headprune_core.data.measures import sentence_name

from .data import SCALED, Facts
from .html import Block, Points, Section, Text, cite

MAX_CLASSES_LISTED = 12
_HIS = (
    "HIS(h) = mean over examples x of | \N{N-ARY SUMMATION} z(h) · "
    "\N{PARTIAL DIFFERENTIAL}L(x)/\N{PARTIAL DIFFERENTIAL}z(h) |"
)
_AE = "AE(h) = mean over examples of (1/t) \N{N-ARY SUMMATION}i (\N{MINUS SIGN}\N{N-ARY SUMMATION}j A(i, j) log A(i, j))"
_GNORM = (
    "S(h) = G(Q) · G(K) · G(V),  G(W) = mean over examples x of "
    "\N{DOUBLE VERTICAL LINE}\N{PARTIAL DIFFERENTIAL}\N{DOUBLE VERTICAL LINE}F(x)\N{DOUBLE VERTICAL LINE} / "
    "\N{PARTIAL DIFFERENTIAL}W(h)\N{DOUBLE VERTICAL LINE}"
)
_HIES = "HIES(h) = \N{GREEK SMALL LETTER ALPHA} · HIS~(h) + (1 \N{MINUS SIGN} \N{GREEK SMALL LETTER ALPHA}) · "
_IMPORTANCE = (
    "The head importance score (HIS) is a first-order estimate of the change in loss when the head's output z is scaled. L "
    f"is the loss of example x; the sum runs over tokens and dimensions {cite('michel')}."
)
_ENTROPY = (
    "Attention entropy (AE) is the mean entropy of the head's attention distribution A over the t tokens of an example, in "
    f"nats. Low entropy means focused attention, high entropy diffuse attention {cite('greedy')}."
)
_SCALED = (
    "Both scores are scaled to the range from 0 to 1 {scaled} (marked by a tilde) and combined with weight "
    f"\N{GREEK SMALL LETTER ALPHA} {cite('hies')}."
)
_NORMS = (
    "Each G is the norm of the gradient of the logit norm \N{DOUBLE VERTICAL LINE}F\N{DOUBLE VERTICAL LINE} with respect to "
    f"the head's block of the query, key or value weights {cite('greedy')}."
)
# registered name -> formula, explanation, pruning order
CRITERION_TEXTS: Mapping[str, tuple[str, str, str]] = {
    "his": (_HIS, _IMPORTANCE, "Heads with the lowest importance are pruned first."),
    "ae": (_AE, _ENTROPY, "Heads with the highest entropy are pruned first."),
    "inverse_ae": (_AE, _ENTROPY, "Inverted: heads with the lowest entropy are pruned first."),
    "hies": (
        f"{_HIES}(1 \N{MINUS SIGN} AE~(h))",
        f"{_IMPORTANCE} {_ENTROPY} {_SCALED}",
        "Heads with the lowest score, unimportant and diffuse ones, are pruned first.",
    ),
    "hies_keep_high": (
        f"{_HIES}AE~(h)",
        f"{_IMPORTANCE} {_ENTROPY} {_SCALED}",
        "Heads with the lowest score, unimportant and focused ones, are pruned first.",
    ),
    "gnorm": (_GNORM, _NORMS, "Heads with the smallest product are pruned first; scores are computed once."),
    "inverse_gnorm": (_GNORM, _NORMS, "Inverse control: heads with the largest product are pruned first."),
    "greedy_gnorm": (
        _GNORM,
        _NORMS,
        "The head with the smallest product is pruned, the remaining heads are rescored, and so on.",
    ),
    "inverse_greedy_gnorm": (
        _GNORM,
        _NORMS,
        "Inverse control: the head with the largest product is pruned, the remaining heads are rescored, and so on.",
    ),
    "leave_one_out": (
        "D(h) = mean over examples x of L(x; h masked) \N{MINUS SIGN} L(x)",
        f"Leave-one-out ablation: each head is masked alone and the change in loss is measured {cite('michel')}.",
        "Heads whose removal increases the loss least are pruned first.",
    ),
    "random": ("", "", "The pruning order is random: a control."),
    "custom": ("", "", "The ranking was set manually, not computed from a score."),
}


def method(facts: Facts) -> Section:
    """Return the section on how heads were selected and removed.

    Args:
        facts: data of the report.

    Returns:
        The section "Method".
    """
    record = facts.record
    blocks: list[Block] = [Text(f"Mask: {with_full_stop(record.mask_description)}")]
    formula, explanation, order = CRITERION_TEXTS.get(facts.criterion, ("", "", ""))
    if record.criterion and not order:
        blocks.append(Text(f"Criterion: {with_full_stop(record.criterion)}"))
    if order:
        name = record.criterion if facts.criterion != "custom" else "custom"
        blocks.append(Text(f"Criterion: {name}. {order}"))
    blocks += [Text(formula, "formula")] if formula else []
    blocks += [Text(explanation.replace("{scaled}", SCALED[facts.scaled]))] if explanation else []
    settings = []
    if record.alpha is not None:
        settings.append(f"\N{GREEK SMALL LETTER ALPHA} = {record.alpha:g} (1 = HIS only, 0 = AE only).")
    if record.sparsity is not None:
        settings.append(f"Target sparsity: {record.sparsity:.1%}; heads removed: {facts.n_removed} of {facts.n_heads}.")
    blocks += [Text(" ".join(settings))] if settings else []
    blocks.append(Text(_removal(facts)))
    recovery = record.recovery
    if recovery is not None:
        target = "outputs of the unpruned model (distillation)" if recovery.objective == "teacher" else "labels"
        blocks.append(
            Text(
                f"The pruned model was then fine-tuned: {recovery.steps} {'step' if recovery.steps == 1 else 'steps'}, "
                f"batch size {recovery.batch_size}, {recovery.examples} training examples, training target {target}, peak "
                f"learning rate {recovery.learning_rate:g}, {recovery.seconds:,.0f} seconds. The exported weights include "
                "this fine-tuning."
            )
        )
    return Section("Method", blocks)


def data(facts: Facts) -> Section:
    """Return the section on the calibration, evaluation and training sets and their overlap.

    Args:
        facts: data of the report.

    Returns:
        The section "Data", without blocks if no dataset is known.
    """
    record, verification, sentences = facts.record, facts.record.verification, []
    if record.calibration_data:
        sentences.append(f"Calibration set: {with_full_stop(record.calibration_data)}")
    if record.evaluation_data:
        sentences.append(f"Evaluation set: {with_full_stop(record.evaluation_data)}")
    sentences += record.reading
    if record.recovery is not None and record.training_data:
        sentences.append(f"Training set: {with_full_stop(record.training_data)}")
    if verification is not None:
        count, unit = verification.unpruned.losses.shape[1], "images" if facts.model.reads_images else "examples"
        predicted = f" with {verification.unpruned.trials:,} predicted tokens" if facts.tokens else ""
        sentences.append(f"The evaluation used {count:,} {unit if count != 1 else unit[:-1]}{predicted}.")
    if facts.model.labels and sentences:
        names = facts.model.labels
        more = f" and {len(names) - MAX_CLASSES_LISTED} more" if len(names) > MAX_CLASSES_LISTED else ""
        sentences.append(f"Classes ({len(names)}): {', '.join(names[:MAX_CLASSES_LISTED])}{more}.")
    if facts.n_overlap == 0:
        sentences.append("The calibration and evaluation sets do not overlap.")
    elif facts.n_overlap is not None:
        examples = "example is" if facts.n_overlap == 1 else "examples are"
        sentences.append(
            f"{facts.n_overlap:,} evaluation {examples} also in the calibration set, so the result may be "
            "optimistically biased."
        )
    elif record.calibration_data and record.evaluation_data:
        sentences.append("Whether the calibration and evaluation sets overlap was not recorded.")
    return Section("Data", [Text(" ".join(sentences))] if sentences else [])


def limitations(facts: Facts) -> Section:
    """Return the section on what the results do not show.

    Args:
        facts: data of the report.

    Returns:
        The section "Limitations".
    """
    points = [
        "Results are for one model and one dataset. Other data, languages or tasks may depend on the removed heads.",
        "Scores treat heads independently: redundant heads can each look unimportant but matter jointly.",
        f"Only {sentence_name(facts.task.measure)} was measured. Confidence calibration, robustness and fairness were not.",
    ]
    if facts.criterion not in (None, "custom", "random", "leave_one_out"):
        points.append("Scores are computed on the unpruned model; the importance of a head changes when others are removed.")
    return Section("Limitations", [Points(points)])


def with_full_stop(text: str) -> str:
    """Return the text on one line, ending with exactly one full stop unless it ends a sentence already."""
    text = " ".join(str(text).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _removal(facts: Facts) -> str:
    text = (
        "A removed head contributes nothing to the output projection. Its rows of the query, key and value weights (with "
        "their biases) and its columns of the output projection are therefore deleted. The logits equal those of the masked "
        f"model up to floating-point rounding {cite('michel')}."
    )
    zeroed = int((facts.present & ~facts.kept).sum())
    if zeroed:
        heads, weights = ("head is", "its weights") if zeroed == 1 else ("heads are", "their weights")
        text += f" {zeroed} pruned {heads} zeroed instead: a kept head shares the KV head, so {weights} remain."
    earlier = facts.kept.size - facts.n_heads
    if earlier:
        text += (
            f" {earlier} of {facts.kept.size} heads had been removed earlier; head numbers are those of the original model."
        )
    return text
