"""Model card of a pruned model: README.md of its folder, with the section names of the Hugging Face Hub.

Values that are not known are omitted, user text is escaped, and no license is stated. `card_evaluation` writes the
evaluation section, `card_code` the code, `card_text` escaping and front matter.
"""

import re

import pandas as pd

from headprune_core.data.tasks import task_of
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.model.formats.standalone_sizes import unpruned_architecture
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.flops import flops_before, flops_per_token
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.parameter_table import parameter_table

from .card_code import block, final_evaluation, load_section
from .card_evaluation import evaluation_section, examples_text, measure_name
from .card_text import describe_picture, escaped, front_matter, model_title, references, table, text_map
from .head_map_png import head_map_png
from .pruning_record import PruningRecord, share

PICTURE = "head_map.png"
MAX_CLASSES_LISTED = 12
BUILTIN_NOTE = "The base model ships with HeadPrune: MiniLM-L6 fine-tuned for English tweet sentiment."
ACRONYMS = {  # expanded after the label of a criterion
    "HIS": "head importance score",
    "AE": "attention entropy",
    "HIES": "head importance–entropy score",
    "Gnorm": "gradient-norm score",
}
TOKENS = 128  # sequence length of the FLOPs per token


def card_files(model: PrunableModel, record: PruningRecord | None = None) -> dict[str, bytes]:
    """Return the model card and its picture for the folder of a pruned model.

    Args:
        model: pruned model.
        record: how it was pruned and evaluated.

    Returns:
        Contents by file name: README.md and head_map.png.
    """
    grid = model.grid
    picture = head_map_png(grid.kept, grid.row_labels, grid.present)
    return {PICTURE: picture, "README.md": model_card(model, record).encode()}


def model_card(model: PrunableModel, record: PruningRecord | None = None) -> str:
    """Return the model card of a pruned model, in the format of the Hugging Face Hub.

    Args:
        model: pruned model.
        record: how it was pruned and evaluated; without it, the card describes kept heads, size and loading only.

    Returns:
        Markdown with YAML front matter.

    Raises:
        HeadPruneError: if the model has all its heads.

    Example:
        >>> print(model_card(pruned))
    """
    if model.grid.kept.all():
        raise HeadPruneError(
            "the model card requires a pruned model, but this model has all its heads; use prune_heads first"
        )
    sizes, final = parameter_table(unpruned_architecture(model.model), model), final_evaluation(record)
    parts = [
        front_matter(model, record, None if final is None else share(final)),
        f"# {_title(model, record)}, pruned",
        _summary(model, record, sizes),
        _details(model, record),
    ]
    if record is not None:
        parts += [_pruning_details(record), evaluation_section(record)]
    parts += [
        _sizes(model, sizes),
        _latency(record),
        load_section(model, record),
        _upload(),
        _limitations(record),
        _references(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(model: PrunableModel, record: PruningRecord | None) -> str:
    return model_title(model.name if record is None else record.source)


def _summary(model: PrunableModel, record: PruningRecord | None, sizes: pd.DataFrame) -> str:
    kept, total = model.grid.kept, sizes.iloc[0]
    recovery = None if record is None else record.recovery
    tuned = "" if recovery is None else f", then fine-tuned for {recovery.steps} steps"
    sentences = [
        f"Pruned version of {_title(model, record)}: {int((~kept).sum())} of {kept.size} attention heads removed, "
        f"{1 - total.parameters_after / total.parameters:.1%} fewer parameters{tuned}."
    ]
    final = final_evaluation(record)
    if final is not None:
        sentences.append(_result(record, final))
    if record is not None and record.source == "embedded":
        sentences.append(BUILTIN_NOTE)
    return " ".join(sentences)


def _result(record: PruningRecord, final: MaskEvaluation) -> str:
    measured = share(final)
    unpruned = None if record.verification is None else share(record.verification.unpruned)
    own = unpruned is None or unpruned.name in ("agreement", "correlation")
    compared = "" if own else f" (unpruned: {unpruned.text})"
    name = measure_name(measured.name)
    return f"{name}: {measured.text}{compared} on {examples_text(record, final)}."


def _details(model: PrunableModel, record: PruningRecord | None) -> str:
    revision = f", revision {escaped(record.revision)}" if record is not None and record.revision else ""
    lines = [f"- Base model: {_title(model, record)}{revision}"]
    task = task_of(model)
    images = task.name == "classification" and model.reads_images
    lines.append(f"- Task: {'image classification' if images else task.title}")
    if model.labels:
        names = [escaped(name) for name in model.labels]
        more = f" and {len(names) - MAX_CLASSES_LISTED} more" if len(names) > MAX_CLASSES_LISTED else ""
        kind = "Labels" if task.name == "multi_label" else "Classes"
        lines.append(f"- {kind} ({len(names)}): {', '.join(names[:MAX_CLASSES_LISTED])}{more}")
    lines.append(f"- Attention heads: {int(model.grid.kept.sum())} of {model.grid.kept.size} kept")
    return "\n\n".join(["## Model details", "\n".join(lines), _kept_heads(model)])


def _kept_heads(model: PrunableModel) -> str:
    legend = "■ kept, · removed" + (", ▨ zeroed" if (model.grid.present & ~model.grid.kept).any() else "")
    text = f"Rows are layers, columns are heads (original indices): {legend}."
    if "▨" in legend:
        text += " Zeroed heads share a KV head with a kept head, so their weights remain in the file."
    if any(not row.any() for row in model.grid.kept):
        text += " A layer with no heads contributes only its output bias (plus the residual connection)."
    picture = f"![{describe_picture(model)}]({PICTURE})"
    return "\n\n".join(["### Kept heads", picture, text, block(text_map(model), "text")])


def _pruning_details(record: PruningRecord) -> str:
    values = {
        "Mask": escaped(record.mask_description),
        "Criterion": record.criterion and escaped(f"{record.criterion}{_expansion(record.criterion)}"),
        "Alpha (α)": None if record.alpha is None else f"{record.alpha:g}",
        "Target sparsity": None if record.sparsity is None else f"{record.sparsity:.1%} of heads",
        "Calibration set": record.calibration_data and escaped(record.calibration_data),
        "Settings": escaped("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in record.settings.items())),
    }
    lines = [f"- {name}: {value}" for name, value in values.items() if value]
    return "\n\n".join(["## Pruning details", "\n".join(lines)])


def _expansion(criterion: str) -> str:
    """Return the expansion of the acronym in the label of a criterion, in parentheses."""
    return next((f" ({text})" for acronym, text in ACRONYMS.items() if re.search(rf"\b{acronym}\b", criterion)), "")


def _sizes(model: PrunableModel, sizes: pd.DataFrame) -> str:
    total = sizes.iloc[0]
    rows = [
        ("Parameters", f"{total.parameters:,}", f"{total.parameters_after:,}", total.parameters_after / total.parameters),
        (
            "Size in float32 (MiB)",
            f"{total.size_mib:.2f}",
            f"{total.size_mib_after:.2f}",
            total.size_mib_after / total.size_mib,
        ),
    ]
    tokens = None if model.reads_images else min(TOKENS, model.max_tokens or TOKENS)
    before, after = flops_before(model, tokens), flops_per_token(model, tokens)
    length = "" if tokens is None else f" (sequence length {tokens})"
    rows.append((f"FLOPs per token{length}", f"{before:,.0f}", f"{after:,.0f}", after / before))
    cells = [(name, unpruned, pruned, f"{ratio - 1:+.1%}") for name, unpruned, pruned, ratio in rows]
    return "\n\n".join(["## Model size", table(("Measure", "Unpruned", "Pruned", "Change"), *cells)])


def _latency(record: PruningRecord | None) -> str | None:
    frame = None if record is None else record.latency
    if frame is None or not len(frame):
        return None
    compared = "speedup" in frame
    extra = ("Latency, unpruned (ms)", "Speedup, ×, median (IQR)", "Theoretical speedup, ×") if compared else ()
    header = ("Batch size", "Tokens", "Device", "Latency (ms)", *extra)
    rows = []
    for row in frame.itertuples(index=False):
        cells = [row.batch_size, row.sequence_length, escaped(row.device), f"{1000 * row.seconds:.2f}"]
        if compared:
            speedup = f"{row.speedup:.2f} ({row.speedup_low:.2f} to {row.speedup_high:.2f})"
            cells += [f"{1000 * row.compare_seconds:.2f}", speedup, f"{row.flops_ratio:.2f}"]
        rows.append(tuple(cells))
    sentences = "\n".join(f"- {sentence}" for sentence in describe_latency(frame))
    return "\n\n".join(["## Latency", table(header, *rows), sentences])


def _upload() -> str:
    text = (
        "Add the base model's license to the metadata at the top of this file (`license:`); it also applies to this model. "
        "Then, from the parent folder of `pruned-model`, run:"
    )
    return "\n\n".join(["## Upload to the Hub", text, block("hf upload <user>/<name> pruned-model", "bash")])


def _limitations(record: PruningRecord | None) -> str:
    identical = "identical to those of the original model with these heads masked, up to floating-point rounding"
    outputs = f"Outputs are {identical}."
    if record is not None and record.recovery is not None:
        outputs = f"Before fine-tuning, outputs were {identical}."
    final = final_evaluation(record)
    evaluated = "This model was not evaluated; evaluate it on your own data before use."
    if final is not None:
        evaluated = f"Evaluated only on {examples_text(record, final)}; evaluate it on your own data before use."
    inherited = "License, training data and biases are inherited from the base model."
    return f"## Limitations\n\n{outputs} {evaluated} {inherited}"


def _references(record: PruningRecord | None) -> str | None:
    papers = [] if record is None else references(record.criterion)
    return "\n\n".join(["## References", "\n".join(f"- {paper}" for paper in papers)]) if papers else None
