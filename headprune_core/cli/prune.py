"""The command `prune`: removes heads from the weights, verifies the result, and writes folder, zip, report and ONNX file."""

import json
import os
import shlex
from pathlib import Path

import numpy as np

from headprune_core.arguments import whole_number
from headprune_core.data.examples import describe_overlap, overlap
from headprune_core.data.measures import sentence_name
from headprune_core.data.tasks import has_targets
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import get_criterion
from headprune_core.masks.mask_files import LARGEST, read_mask
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.random_baseline import random_baseline
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.output_files import atomic_file
from headprune_core.prune.latency import measure_latency
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.onnx_export import check_exportable, export_onnx
from headprune_core.prune.pruning_text import describe_pruning, pruning_document
from headprune_core.prune.recovery import recover
from headprune_core.prune.structural_pruning import prune_heads
from headprune_core.prune.verification import verify_pruning
from headprune_core.report.bundle import write_bundle
from headprune_core.report.export_figures import export_figures
from headprune_core.report.pruning_record import PruningRecord, share
from headprune_core.report.report import html_report
from headprune_core.temporary_folders import scratch_folder

from .inputs import (
    build_constraints,
    calibration_examples,
    check_dataset,
    compute_scores,
    evaluation_examples,
    load_model_option,
    load_part,
    open_cache,
    plan_settings,
    progress_line,
    reading_plan,
)

BATCH_SIZE = 32
MAX_TRAINING_EXAMPLES = 4096  # a longer fine-tuning repeats them


def prune(options) -> tuple[dict[str, object], str]:
    """Remove pruned heads from the weights, verify the result, and save it.

    The pruned model is compared with the masked model on held-out examples.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.

    Raises:
        HeadPruneError: if an option is wrong; those of files and numbers are checked before the model is loaded.
    """
    _check_numbers(options)
    if options.onnx:
        check_exportable(Path(options.onnx))
    check_dataset(options)
    if options.finetune_steps:
        training_examples(options, None, size=1)
    model, scores, mask, known = _choose_mask(options)
    examples, progress = evaluation_examples(options, model), progress_line(options)
    training = (
        training_examples(options, model, min(options.finetune_steps * BATCH_SIZE, MAX_TRAINING_EXAMPLES))
        if options.finetune_steps
        else None
    )
    plan = reading_plan(options, model)
    known["reading"] = () if isinstance(plan, str) else tuple(plan.describe(examples=False))
    pruned = prune_heads(model, mask, partial_groups=options.partial_groups)
    known["evaluation_data"] = f"{len(examples)} examples of {options.dataset} ({options.evaluation_split})"
    n_overlap = None if scores is None else overlap(calibration_examples(options, model), examples)
    with scratch_folder() as temp_dir:
        pruned.save_pretrained(temp_dir / "model")
        load_options = {"device": options.device, "dtype": str(pruned.model.dtype)[6:]}
        reloaded = PrunableModel.from_pretrained(temp_dir / "model", **load_options)
        known["verification"] = verify_pruning(model, pruned, examples, reloaded=reloaded, progress=progress)
    if options.n_random:
        run = {"n_random": options.n_random, "cache": open_cache(options), "progress": progress}
        known["random_baseline"] = random_baseline(model, examples, pruned.grid.kept, **run)
    if options.latency_lengths:
        known["latency"] = measure_latency(pruned, compare=model, sequence_length=options.latency_lengths, progress=progress)
    final = pruned
    if training is not None:
        source = f"examples of {options.dataset} ({training_split(options)})"
        known["training_data"] = f"{source}; {describe_overlap(overlap(training, examples))}"
        labeled = has_targets(model, training.column_names)
        objective = options.finetune_objective or ("labels" if labeled else "teacher")
        run = {"steps": options.finetune_steps, "batch_size": BATCH_SIZE, "objective": objective, "dtype": options.dtype}
        final, known["recovery"] = recover(pruned, training, teacher=model, evaluation=examples, progress=progress, **run)
    record = PruningRecord(**known)
    exported = _write(options, model, final, record, scores, n_overlap)
    document = {"model": options.model, "folder": options.out_folder, "criterion": known["criterion"]}
    document |= {"alpha": known["alpha"], "sparsity": known["sparsity"], "mask_description": known["mask_description"]}
    document |= pruning_document(model, pruned, record.verification) | _optional_results(record) | exported
    lines = [
        f"mask        {record.mask_description}",
        *describe_pruning(model, pruned, record.verification),
        *_describe_results(record),
    ]
    lines += [f"ONNX        max. logit difference to ONNX Runtime: {exported['onnx']['difference']:.1e}"] if exported else []
    lines.append(
        f"Saved to {options.out_folder}." if options.out_folder else "Not saved. Use --out-folder FOLDER to save the model."
    )
    return document, "\n".join(lines)


def training_examples(options, model: PrunableModel | None, size: int):
    """Load up to `size` examples of the training set."""
    return load_part(options, model, training_split(options), size)


def training_split(options) -> str:
    """Return the split to fine-tune on: that of --training-split, else the built-in one, else the calibration split."""
    return options.training_split or ("training" if options.dataset == "embedded" else options.calibration_split)


def _check_numbers(options) -> None:
    minimum = {"n_random": 0, "finetune_steps": 0, "latency_lengths": 1, "seed": 0}
    for name, least in minimum.items():
        value = getattr(options, name) or []
        for number in value if isinstance(value, list) else [value]:
            whole_number(f"--{name.replace('_', '-')}", number, least)


def _choose_mask(options):
    """Model, scores or None, mask, and the fields of the record that describe how the mask was chosen."""
    known = {"source": options.model, "revision": options.revision, "criterion": None, "alpha": None, "sparsity": None}
    source = {"source": options.dataset, "split": options.evaluation_split, "size": options.evaluation_size}
    known["evaluation_source"] = source | plan_settings(options)
    if options.mask:
        model, file = load_model_option(options), Path(os.path.expanduser(options.mask))
        try:
            with file.open("rb") as opened:
                data = opened.read(LARGEST + 1)
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            reason = getattr(error, "strerror", None) or error
            raise HeadPruneError(f"could not read the mask {file} ({reason}); pass a mask.json or mask.csv") from error
        mask = read_mask(data, file.name, model.grid)
        return model, None, mask, known | {"mask_description": f"mask from {file.name}", "sparsity": float((~mask).mean())}
    criterion = get_criterion(options.criterion)
    if criterion.produced_by is not None:
        raise HeadPruneError(
            f"criterion {criterion.name} needs a run of its own ({criterion.produced_by}); use another criterion or --mask"
        )
    model, scores = compute_scores(options, metrics=criterion.needs or ("ae",))
    ranking = criterion.rank(scores, options.alpha, np.random.default_rng(options.seed))
    mask = prune_mask(ranking, options.sparsity, **build_constraints(options, model.grid))
    fixed = criterion.alpha is not None
    alpha = (criterion.alpha if fixed else options.alpha) if criterion.name.startswith("hies") else None
    at = f" at alpha {alpha:g}" if alpha is not None and not fixed else ""
    known |= {"criterion": criterion.label, "alpha": alpha, "sparsity": options.sparsity, "settings": scores.settings}
    known |= {"mask_description": f"{criterion.label}{at}, {options.sparsity:.0%} sparsity"}
    known |= {
        "calibration_data": f"{scores.settings['examples']} examples of {options.dataset} ({options.calibration_split})"
    }
    return model, scores, mask, known


def _write(options, model: PrunableModel, final: PrunableModel, record: PruningRecord, scores, n_overlap) -> dict:
    """Write all requested outputs; returns the entry of the ONNX export for the JSON document."""
    entry = {}
    if options.out_folder:
        final.save_pretrained(options.out_folder, record=record, overwrite=options.overwrite)
    if options.onnx:
        export = export_onnx(final, options.onnx, progress=progress_line(options))
        entry = {
            "onnx": {"file": options.onnx, "difference": export.difference, "opset": export.opset, "bytes": export.size}
        }
    if options.report or options.bundle:
        command = shlex.join(["headprune", *options.argv])
        examples = None if scores is None else calibration_examples(options, model)
        text = examples[0]["text"] if examples is not None and "text" in examples.column_names else None
        report = html_report(model, final, record, scores=scores, n_overlap=n_overlap, command=command, text=text)
        if options.report:
            with atomic_file(options.report) as new:
                new.write_text(report, encoding="utf-8")
        if options.bundle:
            with scratch_folder() as temp_dir:
                folder = temp_dir / "model"
                final.save_pretrained(folder, record=record)
                more = {"figures": export_figures(final, record, scores=scores), "settings": _settings(options)}
                more |= {"record": record, "scores": scores, "report": report}
                write_bundle(options.bundle, folder, mask=final.grid.kept, row_names=final.grid.row_names, **more)
    return entry


def _settings(options) -> dict:
    """The parsed arguments as JSON data."""
    return {"words" if name == "argv" else name: value for name, value in vars(options).items() if name != "run"}


def _optional_results(record: PruningRecord) -> dict:
    """Random baseline, latency and fine-tuning, if there are any, as JSON data."""
    results = {}
    if record.random_baseline is not None:
        random_baseline = record.random_baseline
        results["random"] = {
            "measure": random_baseline.measure,
            "value": random_baseline.value,
            "values": random_baseline.random_values.tolist(),
        }
        results["random"]["n_beaten"] = random_baseline.n_beaten
    if record.latency is not None:
        results["latency"] = json.loads(record.latency.to_json(orient="records"))
    if record.recovery is not None:
        recovery = record.recovery
        names = ("steps", "examples", "objective", "learning_rate", "seconds")
        results["recovery"] = {name: getattr(recovery, name) for name in names} | {"loss": recovery.loss.tolist()}
        for name in ("before", "after"):
            part = getattr(recovery, name)
            if part is not None:
                results["recovery"][name] = {field: _plain(value) for field, value in vars(share(part)).items()}
    return results


def _describe_results(record: PruningRecord) -> list[str]:
    lines = [] if record.random_baseline is None else [record.random_baseline.summary]
    lines += [] if record.latency is None else describe_latency(record.latency)
    if record.recovery is not None:
        recovery = record.recovery
        text = f"fine-tuned  {recovery.steps} steps, batch size {recovery.batch_size}, {recovery.seconds:.0f} s"
        if recovery.before is not None and recovery.after is not None:
            before, after = share(recovery.before), share(recovery.after)
            text += f": {sentence_name(after.name)} {before} before, {after} after"
        lines.append(text)
    return lines


def _plain(value):
    return float(value) if isinstance(value, (float, np.floating)) else value
