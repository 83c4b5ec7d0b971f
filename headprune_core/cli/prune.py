"""The command `prune`: heads removed for good, proved, and written as asked: folder, zip, report, ONNX."""

import json
import os
import shlex
import tempfile
from pathlib import Path

import numpy as np

from headprune_core.data.examples import describe_overlap, load_examples, overlap
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import get_criterion
from headprune_core.masks.mask_files import LARGEST, read_mask
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.random_baseline import random_baseline
from headprune_core.model.model_io import atomic_file, check_replaceable
from headprune_core.model.prunable_model import PrunableModel
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

from .inputs import (
    build_constraints,
    calibration_texts,
    check_file,
    columns,
    evaluation_texts,
    load_model_option,
    open_cache,
    progress_line,
    scored,
)

BATCH_SIZE = 32
MAX_TRAINING_EXAMPLES = 4096  # examples to learn from at most; a longer recovery sees them again
OUTPUTS = ("onnx", "report", "bundle", "out")  # files that may be asked for


def prune(options) -> tuple[dict[str, object], str]:
    """Remove heads for good, compare the smaller model with the masked one on held-out examples, and save it."""
    _check_places(options)
    _check_numbers(options)
    texts, told = evaluation_texts(options), progress_line(options)
    learned = (
        training_texts(options, min(options.finetune_steps * BATCH_SIZE, MAX_TRAINING_EXAMPLES))
        if options.finetune_steps
        else None
    )
    model, scores, mask, known = _chosen(options)
    pruned = prune_heads(model, mask, partial_groups=options.partial_groups)
    known["evaluation_data"] = f"{len(texts)} examples of {options.dataset} ({options.evaluation_split})"
    n_overlap = None if scores is None else overlap(calibration_texts(options), texts)
    with tempfile.TemporaryDirectory() as passing:
        pruned.save_pretrained(Path(passing) / "model")
        where = {"device": options.device, "dtype": str(pruned.model.dtype)[6:]}
        reloaded = PrunableModel.from_pretrained(Path(passing) / "model", **where)
        known["verification"] = verify_pruning(model, pruned, texts, reloaded=reloaded, progress=told)
    if options.n_random:
        run = {"n_random": options.n_random, "cache": open_cache(options), "progress": told}
        known["random_baseline"] = random_baseline(model, texts, pruned.grid.kept, **run)
    if options.latency_lengths:
        known["latency"] = measure_latency(pruned, compare=model, sequence_length=options.latency_lengths, progress=told)
    final = pruned
    if learned is not None:
        where = f"examples of {options.dataset} ({training_split(options)})"
        known["training_data"] = f"{where}; {describe_overlap(overlap(learned, texts))}"
        labelled = "label" in learned.column_names or model.task != "classification"
        objective = options.finetune_objective or ("labels" if labelled else "teacher")
        run = {"steps": options.finetune_steps, "batch_size": BATCH_SIZE, "objective": objective, "dtype": options.dtype}
        final, known["recovery"] = recover(pruned, learned, teacher=model, evaluation=texts, progress=told, **run)
    record = PruningRecord(**known)
    exported = _write(options, model, final, record, scores, n_overlap)
    document = {"model": options.model, "folder": options.out_folder, "criterion": known["criterion"]}
    document |= {"alpha": known["alpha"], "sparsity": known["sparsity"], "mask_description": known["mask_description"]}
    document |= pruning_document(model, pruned, record.verification) | _found(record) | exported
    lines = [
        f"chosen by   {record.mask_description}",
        *describe_pruning(model, pruned, record.verification),
        *_words(record),
    ]
    lines += (
        [f"ONNX        ONNX Runtime's logits differ by at most {exported['onnx']['difference']:.1e}"] if exported else []
    )
    lines.append(f"saved to {options.out_folder}" if options.out_folder else "not saved; --out-folder FOLDER saves it")
    return document, "\n".join(lines)


def training_texts(options, size: int):
    """What a recovery learns from: the split that is named, else the embedded training rows, else what scores are from."""
    return load_examples(options.dataset, split=training_split(options), size=size, **columns(options))


def training_split(options) -> str:
    """Whose examples a recovery learns from."""
    return options.training_split or ("training" if options.dataset == "embedded" else options.calibration_split)


def _check_places(options) -> None:
    """Where things are to be read and written; before anything long is begun."""
    for name in ("mask", "out_folder", *OUTPUTS):
        if getattr(options, name) == "":
            raise HeadPruneError(f"--{name.replace('_', '-')} has no name; expected one, or leave the argument out")
    if options.out_folder:
        check_replaceable(Path(options.out_folder))
    taken: dict[str, str] = {}
    for name, file in ((name, getattr(options, name)) for name in OUTPUTS if getattr(options, name)):
        other = taken.setdefault(check_file(name, file), name)
        if other != name:
            raise HeadPruneError(f"--{name} and --{other} are both {file}; expected a file for each: rename one")
    if options.onnx:
        check_exportable(Path(options.onnx))


def _check_numbers(options) -> None:
    least = {"n_random": 0, "finetune_steps": 0, "latency_lengths": 1}
    given = {
        "n_random": options.n_random,
        "finetune_steps": options.finetune_steps,
        "latency_lengths": min(options.latency_lengths or [1]),
    }
    for name, number in given.items():
        if number < least[name]:
            raise HeadPruneError(f"--{name.replace('_', '-')} is {number}; expected at least {least[name]}")


def _chosen(options):
    """(model, scores or None, mask, what a record tells of the choice)."""
    known = {"source": options.model, "revision": options.revision, "criterion": None, "alpha": None, "sparsity": None}
    asked = {"source": options.dataset, "split": options.evaluation_split, "size": options.evaluation_size}
    known["evaluation_source"] = asked | {name: value for name, value in columns(options).items() if value}
    if options.mask:
        model, file = load_model_option(options), Path(os.path.expanduser(options.mask))
        try:
            with file.open("rb") as opened:
                data = opened.read(LARGEST + 1)
        except (OSError, ValueError) as error:  # a null in its name
            reason = getattr(error, "strerror", None) or error
            raise HeadPruneError(f"the mask {file} cannot be read ({reason}); expected a mask.json or mask.csv") from error
        mask = read_mask(data, file.name, model.grid)
        return model, None, mask, known | {"mask_description": f"the mask in {file.name}", "sparsity": float((~mask).mean())}
    asked = get_criterion(options.criterion)
    if asked.produced_by is not None:
        raise HeadPruneError(
            f"criterion {asked.name} takes a run of its own ({asked.produced_by}); expected one that scores give, or --mask"
        )
    model, scores = scored(options, metrics=asked.needs or ("ae",))
    ranking = asked.rank(scores, options.alpha, np.random.default_rng(options.seed))
    mask = prune_mask(ranking, options.sparsity, **build_constraints(options, model.grid))
    alpha = (asked.alpha if asked.alpha is not None else options.alpha) if asked.name.startswith("hies") else None
    at = f" at alpha {alpha:g}" if alpha is not None and asked.alpha is None else ""
    known |= {"criterion": asked.label, "alpha": alpha, "sparsity": options.sparsity, "settings": scores.settings}
    known |= {"mask_description": f"{asked.label}{at}, {options.sparsity:.0%} removed"}
    known |= {
        "calibration_data": f"{scores.settings['examples']} examples of {options.dataset} ({options.calibration_split})"
    }
    return model, scores, mask, known


def _write(options, model: PrunableModel, final: PrunableModel, record: PruningRecord, scores, n_overlap) -> dict:
    """All that was asked for; what the export to ONNX found, for the document."""
    found = {}
    if options.out_folder:
        final.save_pretrained(options.out_folder, record=record)
    if options.onnx:
        made = export_onnx(final, options.onnx, progress=progress_line(options))
        found = {"onnx": {"file": options.onnx, "difference": made.difference, "opset": made.opset, "bytes": made.size}}
    if options.report or options.bundle:
        command = shlex.join(["python", "-m", "headprune_core", *options.words])
        report = html_report(model, final, record, scores=scores, n_overlap=n_overlap, command=command)
        if options.report:
            with atomic_file(options.report) as new:
                new.write_text(report, encoding="utf-8")
        if options.bundle:
            with tempfile.TemporaryDirectory() as passing:
                folder = Path(passing) / "model"
                final.save_pretrained(folder, record=record)
                more = {"figures": export_figures(final, record, scores=scores), "settings": _settings(options)}
                more |= {"record": record, "scores": scores, "report": report}
                write_bundle(options.bundle, folder, mask=final.grid.kept, row_names=final.grid.row_names, **more)
    return found


def _settings(options) -> dict:
    """The arguments, as JSON has them."""
    return {name: value for name, value in vars(options).items() if name != "run"}


def _found(record: PruningRecord) -> dict:
    """What there is beside the proof, as JSON has it."""
    found = {}
    if record.random_baseline is not None:
        random_baseline = record.random_baseline
        found["random"] = {
            "measure": random_baseline.measure,
            "value": random_baseline.value,
            "values": random_baseline.random_values.tolist(),
        }
        found["random"]["n_beaten"] = random_baseline.n_beaten
    if record.latency is not None:
        found["latency"] = json.loads(record.latency.to_json(orient="records"))
    if record.recovery is not None:
        recovery = record.recovery
        names = ("steps", "examples", "objective", "learning_rate", "seconds")
        found["recovery"] = {name: getattr(recovery, name) for name in names} | {"loss": recovery.loss.tolist()}
        for name in ("before", "after"):
            part = getattr(recovery, name)
            if part is not None:
                found["recovery"][name] = {field: _plain(value) for field, value in vars(share(part)).items()}
    return found


def _words(record: PruningRecord) -> list[str]:
    lines = [] if record.random_baseline is None else [record.random_baseline.summary]
    lines += [] if record.latency is None else describe_latency(record.latency)
    if record.recovery is not None:
        recovery = record.recovery
        told = f"recovered   {recovery.steps} steps of {recovery.batch_size} examples, {recovery.seconds:.0f} s"
        if recovery.before is not None and recovery.after is not None:
            told += f": {share(recovery.after).name} {share(recovery.before)} before, {share(recovery.after)} after"
        lines.append(told)
    return lines


def _plain(value):
    return float(value) if isinstance(value, (float, np.floating)) else value
