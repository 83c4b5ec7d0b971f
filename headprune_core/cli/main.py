"""The command line: `python -m headprune_core score | alpha | curves | greedy | prune | bench`, on any model and text.

Each command prints a short table for people, or one JSON document with --json, and writes that document to --out.
"""

import importlib
import json
import sys
import warnings

import numpy as np

from headprune_core.alpha_choice.alpha_accuracy import alpha_accuracy, random_masks
from headprune_core.alpha_choice.alpha_text import describe_recommendation
from headprune_core.alpha_choice.recommendation import recommend_alpha
from headprune_core.data.examples import overlap
from headprune_core.errors import HeadPruneError
from headprune_core.masks.alpha_path import alpha_path, distinct_masks, keep_fraction
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.curve_verdicts import compare_with_random, summary
from headprune_core.measure.curves import main_measure, sparsity_curves
from headprune_core.measure.evaluation import evaluate_masks
from headprune_core.measure.greedy import greedy_gnorm
from headprune_core.model.model_io import atomic_file
from headprune_core.model.prunable_model import find_device

from .inputs import (
    build_constraints,
    build_rankings,
    calibration_texts,
    check_file,
    evaluation_texts,
    load_model_option,
    open_cache,
    progress_line,
    scored,
)
from .parser import parser
from .prune import prune

Document = dict[str, object]
RECOMMENDED = ("by", "alpha", "low", "high", "value", "value_low", "value_high", "his", "ae", "random", "verdict")
CONSTRAINTS = ("min_heads_per_layer", "protect", "remove", "whole_groups", "uniform", "sparsity_unit")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 with one sentence on standard error where it could not be done, 130 where
    it was interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser(COMMANDS).parse_args(arguments)
    options.words = list(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
    try:
        if options.out:
            check_file("out", options.out)
        document, table = options.run(options)
        text = json.dumps(document, indent=None if options.json else 1)
        if options.out:
            with atomic_file(options.out) as file:
                file.write_text(text + "\n")
    except HeadPruneError as error:
        print(f"headprune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("headprune: stopped; files that were finished stay, and none is half-written", file=sys.stderr)
        return 130
    print(text if options.json else table)
    return 0


def score(options) -> tuple[Document, str]:
    """Every head's HIS, AE and Gnorm; with --evaluate the unpruned model's accuracy on held-out examples."""
    model, scores = scored(options)
    document = {
        "model": options.model,
        "dataset": options.dataset,
        "settings": scores.settings,
        "scores": {metric: getattr(scores, metric).tolist() for metric in scores.per_example},
    }
    lines = []
    for metric in scores.per_example:
        lines += [metric.upper(), _grid(getattr(scores, metric)), ""]
    if options.evaluate:
        result = evaluate_masks(
            model, evaluation_texts(options), np.ones((1, *model.grid.shape), bool), progress=progress_line(options)
        )
        document["evaluation"] = {
            "accuracy": float(result.accuracy[0]),
            "loss": float(result.loss[0]),
            "n_predictions": result.trials,
        }
        lines.append(f"accuracy {result.accuracy[0]:.4f} of {result.trials} answers")
    return document, "\n".join(lines)


def alpha(options) -> tuple[Document, str]:
    """The mask at one alpha and sparsity, and every interval of alpha with a mask of its own; which alpha to take."""
    model, scores = scored(options, metrics=("his", "ae"))
    constraints, scaling = (
        build_constraints(options, model.grid),
        {"normalize": options.normalize, "entropy_direction": options.entropy_direction},
    )
    mask = prune_mask(scores.hies(options.alpha, **scaling), options.sparsity, **constraints)
    path = alpha_path(scores.his, scores.ae, options.sparsity, **scaling, **constraints)
    document = {
        "model": options.model,
        "alpha": options.alpha,
        "sparsity": options.sparsity,
        "normalize": options.normalize,
        "entropy_direction": options.entropy_direction,
        "constraints": {name: getattr(options, name) for name in CONSTRAINTS},
        "mask": mask.tolist(),
        "keep_fraction": keep_fraction(path).tolist(),
        "path": [{"low": part.low, "high": part.high, "mask": part.mask.tolist()} for part in path],
    }
    rows = [" ".join("■" if kept else "·" for kept in row) for row in mask]
    lines = [f"  {part.low:.4f} to {part.high:.4f}" for part in path]
    told = []
    if options.measure:
        random = random_masks(model.grid.shape, options.sparsity, **constraints)
        texts, run = evaluation_texts(options), {"cache": open_cache(options), "progress": progress_line(options)}
        found = alpha_accuracy(model, texts, path, random=random, dtype=options.dtype, **run)
        chosen = recommend_alpha(found)
        lines = [f"{line}  {value:.3f}" for line, value in zip(lines, getattr(found, chosen.by), strict=True)]
        told = ["", f"{chosen.by} beside each, on {len(texts)} texts", *describe_recommendation(chosen)]
        document["measured"] = json.loads(found.frame.to_json(orient="records"))
        document["recommendation"] = {name: getattr(chosen, name) for name in RECOMMENDED}
    masks = len(distinct_masks(path)[0])
    return document, "\n".join(
        [
            f"kept (■) and removed (·) at alpha {options.alpha:g}, sparsity {options.sparsity:g}: layers down, heads across",
            *rows,
            "",
            f"{len(path)} intervals with {masks} different masks as alpha goes from 0 to 1:",
            *lines,
            *told,
        ]
    )


def curves(options) -> tuple[Document, str]:
    """Accuracy against sparsity for several criteria, beside random removal."""
    model, scores = scored(options)
    evaluation, cache = evaluation_texts(options), open_cache(options)
    frame = sparsity_curves(
        model,
        evaluation,
        scores,
        methods=options.methods,
        sparsities=options.sparsities,
        alpha=options.alpha,
        n_random=options.n_random,
        dtype=options.dtype,
        rankings=build_rankings(options, model, cache),
        cache=cache,
        progress=progress_line(options),
    )
    verdict, measure = compare_with_random(frame), main_measure(frame)
    table = frame.assign(method=frame.method.where(frame.method != "random", "random, mean"))
    table = table.pivot_table(index="sparsity", columns="method", values=measure, sort=False).round(3)
    document = {
        "model": options.model,
        "alpha": options.alpha,
        "calibration_evaluation_overlap": overlap(calibration_texts(options), evaluation),
        "curves": json.loads(frame.to_json(orient="records")),
        "summary": json.loads(summary(frame).to_json(orient="records")),
        "verdicts": json.loads(verdict.to_json(orient="records")),
    }
    lines = [f"{line.method}: {line.verdict} (area {line.area:.3f})" for line in verdict.itertuples()]
    return document, "\n".join([f"{measure} on {len(evaluation)} texts", table.to_string(), "", *lines])


def greedy(options) -> tuple[Document, str]:
    """Greedy-Gnorm: remove the head of lowest Gnorm, score again, and so on; accuracy at every step."""
    model = load_model_option(options)
    run = greedy_gnorm(
        model,
        calibration_texts(options),
        evaluation=evaluation_texts(options),
        steps=options.steps,
        heads_per_step=options.heads_per_step,
        inverse=options.inverse,
        objective=options.gnorm_objective,
        dtype=options.dtype,
        accuracy_floor=options.accuracy_floor,
        stop_at_inflection=options.stop_at_inflection,
        cache=open_cache(options),
        progress=progress_line(options),
    )
    document = {
        "model": options.model,
        "settings": run.settings,
        "order": run.order,
        "accuracy": [None if np.isnan(value) else float(value) for value in run.accuracy],
        "agreement": run.agreement.tolist(),
        "inflection": run.inflection,
        "scores": [[[None if np.isnan(v) else v for v in row] for row in scores.tolist()] for scores in run.scores],
    }
    table = run.to_frame().drop(columns=["accuracy_low", "accuracy_high"]).to_string(index=False, float_format="%.4g")
    words = "accuracy falls at no step for good" if run.inflection is None else f"inflection after step {run.inflection}"
    return document, f"{table}\n\n{words}"


def bench(options) -> tuple[Document, str]:
    """Speed and memory against a plain reference, as ratios within one run."""
    try:
        module = importlib.import_module(f"benchmarks.{options.what}")
    except ModuleNotFoundError as error:
        raise HeadPruneError(
            "the benchmarks are not here; run this in the folder of the project, where benchmarks/ is"
        ) from error
    device = find_device(options.device)
    result = module.run(device, progress=progress_line(options))
    return result, module.table(result)


def _grid(values: np.ndarray) -> str:
    """A matrix as people read it: a line a row, a column a head."""
    head = "layer " + " ".join(f"{h:>8}" for h in range(values.shape[1]))
    return "\n".join([head, *(f"{r:>5} " + " ".join(f"{v:8.4f}" for v in row) for r, row in enumerate(values))])


COMMANDS = {run.__name__: run for run in (score, alpha, curves, greedy, prune, bench)}
