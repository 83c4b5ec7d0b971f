"""The model card of a pruned model: README.md in its folder, as the Hub shows it.

It says what was done, what was found on which texts and how sure that is, and how to load and measure the model again. What
is not known is left out; user text is escaped; no licence is named that nobody gave.
"""

import re

import pandas as pd

from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import mcnemar, share_difference, significance_text
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.model.standalone_sizes import unpruned_architecture
from headprune_core.prune.flops import flops_before, flops_per_token
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.parameter_table import parameter_table
from headprune_core.prune.recovery import Recovery

from .card_code import block, final, load_section
from .card_text import describe_picture, escaped, front_matter, named, sources, table, text_map
from .head_map_png import head_map_png
from .pruning_record import PruningRecord, share

PICTURE = "head_map.png"
MANY = 12  # names of classes, at most
CARRIED = "The original comes with HeadPrune: a MiniLM-L6 encoder, tuned for the sentiment of English tweets."
TOKENS = 128  # of a text, for operations per token


def card_files(model: PrunableModel, record: PruningRecord | None = None) -> dict[str, bytes]:
    """Return the model card and its picture by file name, for the folder of a pruned model."""
    grid = model.grid
    picture = head_map_png(grid.kept, grid.row_labels, grid.present)
    return {PICTURE: picture, "README.md": model_card(model, record).encode()}


def model_card(model: PrunableModel, record: PruningRecord | None = None) -> str:
    """Markdown with front matter for the folder to which the pruned `model` is saved.

    record: what is known of how the model came about; without one the card tells what the model itself shows: the heads that
    are left, sizes, and how to load it. Raises HeadPruneError for a model that has all its heads.
    """
    if model.grid.kept.all():
        raise HeadPruneError("the model has all its heads; expected one from which prune_heads removed some")
    weights, found = parameter_table(unpruned_architecture(model.model), model), final(record)
    parts = [
        front_matter(model, record, None if found is None else share(found)),
        f"# {_name(model, record)}, pruned",
        _summary(model, record, weights),
        _heads(model),
    ]
    if record is not None:
        parts += [_choice(record), _accuracy(record)]
    parts += [
        _sizes(model, weights),
        _speed(record),
        load_section(model, record),
        _share(),
        _limits(record),
        _sources(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _name(model: PrunableModel, record: PruningRecord | None) -> str:
    return named(model.name if record is None else record.source)


def _summary(model: PrunableModel, record: PruningRecord | None, weights: pd.DataFrame) -> str:
    kept, line = model.grid.kept, weights.iloc[0]
    told = (
        f"This is {_name(model, record)} without {int((~kept).sum())} of its {kept.size} attention heads, which makes it "
        f"{1 - line.parameters_after / line.parameters:.1%} smaller"
    )
    found, recovery = final(record), None if record is None else record.recovery
    told += "" if recovery is None else f", and with a short fine-tune of {recovery.steps} steps after that"
    about = [CARRIED] if record is not None and record.source == "embedded" else []
    about += [_classes(model)] if model.labels else []
    if found is None:
        return " ".join([f"{told}.", *about])
    after, before = share(found), None if record.verification is None else share(record.verification.unpruned)
    compared = "" if before is None or before.name == "agreement" else f" ({before.value:.1%} with all heads)"
    measured = f"{_measure_words(after.name)} is {after.value:.1%}{compared} on {_texts(record, found)}"
    return " ".join([f"{told}; {measured}.", *about])


def _classes(model: PrunableModel) -> str:
    names = [escaped(name) for name in model.labels]
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    of = f"one of {len(names)} classes" if len(names) > 1 else "one class"
    return f"It answers with {of}: {', '.join(names[:MANY])}{more}."


def _measure_words(name: str) -> str:
    return "agreement with the unpruned model" if name == "agreement" else name


def _texts(record: PruningRecord, found: MaskEvaluation) -> str:
    """How many examples, and which."""
    count, told = str(found.right.shape[1]), escaped(record.evaluation_data or "")
    if count in re.findall(r"\d+", told):
        return told
    return f"{count} examples ({told})" if told else f"{count} examples"


def _heads(model: PrunableModel) -> str:
    signs = "■ kept, · removed" + (", ▨ without effect" if (model.grid.present & ~model.grid.kept).any() else "")
    words = f"Layers go down and heads across, in the numbers that they had before any was removed: {signs}."
    if "▨" in signs:
        words += " Heads without effect share keys and values with one that is kept, so their weights had to stay."
    if any(not row.any() for row in model.grid.kept):
        words += " A layer without heads passes on its output bias, and what goes round it."
    picture = f"![{describe_picture(model)}]({PICTURE})"
    return "\n\n".join(["## Which heads are left", picture, words, block(text_map(model), "text")])


def _choice(record: PruningRecord) -> str:
    known = {
        "Original model": named(record.source) + (f", revision {escaped(record.revision)}" if record.revision else ""),
        "Criterion": record.criterion and escaped(record.criterion),
        "Alpha": None if record.alpha is None else f"{record.alpha:g}",
        "Sparsity asked for": None if record.sparsity is None else f"{record.sparsity:.1%} of the heads",
        "Scored on": record.calibration_data and escaped(record.calibration_data),
        "Settings": escaped("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in record.settings.items())),
    }
    lines = [f"- {name}: {value}" for name, value in known.items() if value]
    return "\n\n".join(
        ["## How they were chosen", f"Chosen: {escaped(record.mask_description).rstrip('.')}.", "\n".join(lines)]
    )


def _accuracy(record: PruningRecord) -> str | None:
    parts = [] if record.verification is None else _proof_words(record)
    if record.random_baseline is not None:
        when = "" if record.recovery is None else ", before the fine-tune"
        parts.append(f"Control{when}: {record.random_baseline.summary}")
    if record.recovery is not None:
        parts += _recovery_words(record.recovery, record.training_data)
    return "\n\n".join(["## What it gets right", *parts]) if parts else None


def _proof_words(record: PruningRecord) -> list[str]:
    verification = record.verification
    forms = {
        "with all heads": verification.unpruned,
        "heads masked": verification.masked,
        "heads removed": verification.pruned,
    }
    forms |= {} if verification.reloaded is None else {"saved and loaded again": verification.reloaded}
    parts = [f"Measured on {_texts(record, verification.unpruned)}.", _measures(forms)]
    if share(verification.pruned).name == "accuracy":
        parts.append(_difference(verification.unpruned, verification.pruned, "all heads to the heads that are left"))
    compared = "Masked and removed" if verification.reloaded is None else "Masked, removed, and saved and loaded again"
    what = "losses" if verification.unpruned.logits is None else "logits"
    apart = (
        f"{what} differ by {verification.max_logit_difference:.1e} at most"
        if verification.max_logit_difference
        else f"{what} are equal to the last bit"
    )
    parts.append(f"{compared}: {apart}, and {verification.prediction_match:.1%} of the examples are decided alike.")
    if record.recovery is not None:
        parts[-1] += " This was shown before the fine-tune, which changed the weights."
    return parts


def _recovery_words(recovery: Recovery, training_data: str | None) -> list[str]:
    teacher = "their labels" if recovery.objective == "labels" else "the unpruned model"
    of = "" if training_data is None else f" ({escaped(training_data)})"
    parts = [
        "The weights in this folder are those after a short fine-tune of the pruned model (recovery): "
        f"{recovery.steps} of {recovery.planned} steps of {recovery.batch_size} examples, {recovery.examples} examples to "
        f"learn from{of}, taught by {teacher}, learning rate {recovery.learning_rate:.1e} at most, {recovery.seconds:.0f} seconds."
    ]
    if recovery.before is not None and recovery.after is not None:
        parts.append(_measures({"before recovery": recovery.before, "after recovery": recovery.after}))
        if share(recovery.after).name == "accuracy":
            parts.append(_difference(recovery.before, recovery.after, "before recovery to after it"))
    return parts


def _measures(forms: dict[str, MaskEvaluation]) -> str:
    shares = {name: share(found) for name, found in forms.items()}
    first = next(iter(shares.values()))
    lines = [(name, f"{s.value:.1%}", f"{s.low:.1%} to {s.high:.1%}", s.answers) for name, s in shares.items()]
    return table(("", _measure_words(first.name), "95 % interval (Wilson)", "answers"), *lines)


def _difference(before: MaskEvaluation, after: MaskEvaluation, words: str) -> str:
    """The paired difference of two forms on the same examples, with its interval."""
    a, b = after.right[0], before.right[0]
    if before.logits is not None:  # an example is one answer
        found = mcnemar(a.astype(bool), b.astype(bool))
        test = f"McNemar's exact p = {found.p_value:.2g}: {found.b} right only after, {found.c} only before"
    else:
        found, test = share_difference(a, b), "bootstrap over examples, which count alike however long they are"
    low, high = (f"{100 * value:+.1f}" for value in (found.low, found.high))
    return f"From {words}: {100 * found.difference:+.1f} points (95 % interval {low} to {high}; {test}), {significance_text(found)}."


def _sizes(model: PrunableModel, weights: pd.DataFrame) -> str:
    line = weights.iloc[0]
    rows = [
        ("parameters", f"{line.parameters:,}", f"{line.parameters_after:,}", line.parameters_after / line.parameters),
        (
            "MB in float32 (2^20 bytes)",
            f"{line.size_mib:.2f}",
            f"{line.size_mib_after:.2f}",
            line.size_mib_after / line.size_mib,
        ),
    ]
    tokens = None if model.reads_images else min(TOKENS, model.max_tokens or TOKENS)
    before, after = flops_before(model, tokens), flops_per_token(model, tokens)
    where = "" if tokens is None else f", texts of {tokens}"
    rows.append((f"operations per token{where}", f"{before:,.0f}", f"{after:,.0f}", after / before))
    lines = [(name, whole, left, f"{ratio - 1:+.1%}") for name, whole, left, ratio in rows]
    return "\n\n".join(["## What it weighs", table(("", "with all heads", "pruned", "change"), *lines)])


def _speed(record: PruningRecord | None) -> str | None:
    frame = None if record is None else record.latency
    if frame is None or not len(frame):
        return None
    compared = "speedup" in frame
    head = (
        "examples in a batch",
        "tokens",
        "device",
        "ms",
        *(("ms before", "times as fast", "by arithmetic") if compared else ()),
    )
    lines = []
    for line in frame.itertuples(index=False):
        cells = [line.batch_size, line.sequence_length, escaped(line.device), f"{1000 * line.seconds:.2f}"]
        if compared:
            speed = f"{line.speedup:.2f} ({line.speedup_low:.2f} to {line.speedup_high:.2f})"
            cells += [f"{1000 * line.compare_seconds:.2f}", speed, f"{line.flops_ratio:.2f}"]
        lines.append(tuple(cells))
    told = "\n".join(f"- {sentence}" for sentence in describe_latency(frame))
    return "\n\n".join(["## How fast it is", table(head, *lines), told])


def _share() -> str:
    told = (
        "From beside this folder, here called `pruned-model`. Before that, name the original model's licence in the first "
        "lines of this file (`license:`): it holds for this model too."
    )
    return "\n\n".join(["## Share it", told, block("hf upload <user>/<name> pruned-model", "bash")])


def _limits(record: PruningRecord | None) -> str:
    exact = "The model answers as the original with those heads switched off, exactly up to rounding"
    if record is not None and record.recovery is not None:
        exact = "Before its fine-tune the model answered as the original with those heads switched off, up to rounding"
    found = final(record)
    measured = "What that does to its answers was not measured here; measure it on texts of your own before you use it."
    if found is not None:
        measured = (
            f"What it gets right was measured on {_texts(record, found)} and nothing else; measure it on your own texts."
        )
    return f"## Limits\n\n{exact}. {measured} Its licence, its data and its biases are as the original model's."


def _sources(record: PruningRecord | None) -> str | None:
    found = [] if record is None else sources(record.criterion)
    return "\n\n".join(["## Sources", "\n".join(f"- {paper}" for paper in found)]) if found else None
