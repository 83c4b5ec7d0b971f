"""The commands `score`, `alpha`, `curves`, `greedy` and `bench`: each returns its JSON document and a table."""

import importlib
import json

import numpy as np

from headprune_core.alpha_choice.alpha_accuracy import alpha_accuracy, random_masks
from headprune_core.alpha_choice.alpha_text import describe_recommendation
from headprune_core.alpha_choice.recommendation import recommend_alpha
from headprune_core.data.entities import entity_note
from headprune_core.data.examples import overlap
from headprune_core.data.measures import sentence_name
from headprune_core.errors import HeadPruneError
from headprune_core.masks.alpha_path import alpha_path, distinct_masks, keep_fraction
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.curve_metrics import summary
from headprune_core.measure.curve_verdicts import compare_with_random, verdict_text
from headprune_core.measure.curves import main_measure, sparsity_curves
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.measure.greedy import greedy_gnorm
from headprune_core.model.loading import find_device

from .inputs import (
    build_constraints,
    build_rankings,
    calibration_examples,
    compute_scores,
    evaluation_examples,
    load_model_option,
    open_cache,
    progress_line,
)

Document = dict[str, object]
RECOMMENDED = ("by", "alpha", "low", "high", "value", "value_low", "value_high", "his", "ae", "random", "verdict")
NO_LABELS = "the evaluation set has no labels"
CONSTRAINTS = ("min_heads_per_layer", "protect", "remove", "whole_groups", "uniform", "sparsity_unit")


def score(options) -> tuple[Document, str]:
    """Score every head (HIS, AE, Gnorm).

    With --evaluate, also report the unpruned model's held-out accuracy.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.
    """
    model, scores = compute_scores(options)
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
            model,
            evaluation_examples(options, model),
            np.ones((1, *model.grid.shape), bool),
            progress=progress_line(options),
        )
        further = {name: float(values[0]) for name, values in result.further.items()}
        document["evaluation"] = {
            "accuracy": _number(result.accuracy[0]),
            "measure": result.measure,
            "value": _number(result.main_value[0]),
            **{name: _number(value) for name, value in further.items()},
            "loss": _number(result.loss[0]),
            "n_predictions": result.trials,
        }
        lines.append(_describe_evaluation(result))
        lines += [f"unpruned {sentence_name(name)} {value:.4f}" for name, value in further.items()]
        lines += [note for note in [entity_note(model)] if note]
    return document, "\n".join(lines)


def alpha(options) -> tuple[Document, str]:
    """Compute the mask at a given alpha and sparsity, and list all alpha intervals.

    With --measure, evaluate every mask on held-out examples and recommend an alpha.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.
    """
    model, scores = compute_scores(options, metrics=("his", "ae"))
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
    recommendation = []
    if options.measure:
        random = random_masks(model.grid.shape, options.sparsity, **constraints)
        examples = evaluation_examples(options, model)
        run = {"cache": open_cache(options), "progress": progress_line(options)}
        if len(examples) < 2:
            raise HeadPruneError(f"--measure needs at least 2 evaluation examples, got {len(examples)}; add examples")
        found = alpha_accuracy(model, examples, path, random=random, dtype=options.dtype, **run)
        chosen = recommend_alpha(found)
        values, name = found.measured(chosen.by).value, sentence_name(chosen.by)
        lines = [f"{line}  {value:.3f}" for line, value in zip(lines, values, strict=True)]
        recommendation = ["", f"{name} per interval on {len(examples)} examples", *describe_recommendation(chosen)]
        document["measured"] = json.loads(found.frame.to_json(orient="records"))
        found = {name: getattr(chosen, name) for name in RECOMMENDED}
        document["recommendation"] = {name: _number(v) if isinstance(v, float) else v for name, v in found.items()}
    masks = len(distinct_masks(path)[0])
    return document, "\n".join(
        [
            f"Mask at alpha = {options.alpha:g}, sparsity = {options.sparsity:g} (rows: layers, columns: heads; ■ kept, "
            "· pruned)",
            *rows,
            "",
            f"{len(path)} alpha intervals from 0 to 1, {masks} distinct masks:",
            *lines,
            *recommendation,
        ]
    )


def curves(options) -> tuple[Document, str]:
    """Measure accuracy vs. sparsity for several criteria and a random baseline.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.
    """
    model, scores = compute_scores(options)
    evaluation, cache = evaluation_examples(options, model), open_cache(options)
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
    table = frame.assign(method=frame.method.where(frame.method != "random", "random mean"))
    table = table.pivot_table(index="sparsity", columns="method", values=measure, sort=False).round(3)
    document = {
        "model": options.model,
        "alpha": options.alpha,
        "calibration_evaluation_overlap": overlap(calibration_examples(options, model), evaluation),
        "curves": json.loads(frame.to_json(orient="records")),
        "summary": json.loads(summary(frame).to_json(orient="records")),
        "verdicts": json.loads(verdict.to_json(orient="records")),
    }
    lines = [
        f"{row.method}: {verdict_text(row.verdict, row.n_random)} (normalized AUC {row.area:.3f})"
        for row in verdict.itertuples()
    ]
    return document, "\n".join([f"{sentence_name(measure)} on {len(evaluation)} examples", table.to_string(), "", *lines])


def greedy(options) -> tuple[Document, str]:
    """Run Greedy-Gnorm: prune the lowest-scoring head, rescore, repeat.

    Report the accuracy of every step and the inflection point.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.
    """
    model = load_model_option(options)
    run = greedy_gnorm(
        model,
        calibration_examples(options, model),
        evaluation=evaluation_examples(options, model),
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
        "accuracy": run.accuracy,
        "agreement": run.agreement,
        "measure": run.measure_name,
        "value": run.measure,
        "inflection": run.inflection,
        "scores": run.scores,
    }
    frame = run.to_frame().dropna(axis=1, how="all")
    table = frame[[name for name in frame if not name.endswith(("_low", "_high"))]]
    table = table.to_string(index=False, float_format="%.4g")
    table += f"\naccuracy unknown: {NO_LABELS}" if run.measure_name == "agreement" else ""
    inflection = "no inflection point found" if run.inflection is None else f"inflection point: step {run.inflection}"
    return document, f"{table}\n\n{inflection}"


def bench(options) -> tuple[Document, str]:
    """Run a performance benchmark against a plain reference implementation.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.

    Raises:
        HeadPruneError: if the benchmarks are not installed, as in a wheel.
    """
    try:
        module = importlib.import_module(f"benchmarks.{options.what}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "benchmarks":
            raise  # a package that the benchmark needs
        raise HeadPruneError(
            "the benchmarks were not found; run this in a clone of the repository, which has a folder benchmarks"
        ) from error
    device = find_device(options.device)
    result = module.run(device, progress=progress_line(options))
    return result, module.table(result)


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None


def _describe_evaluation(result: MaskEvaluation) -> str:
    """Return the main measure of the unpruned model; without labels, the reason why there is none."""
    if not result.labeled:
        return f"unpruned {sentence_name(result.task.measure)} unknown: {NO_LABELS}"
    count = f"{result.trials} predictions"
    return f"unpruned {sentence_name(result.measure)} {result.main_value[0]:.4f} ({count})"


def _grid(values: np.ndarray) -> str:
    head = "layer " + " ".join(f"{h:>8}" for h in range(values.shape[1]))
    return "\n".join([head, *(f"{r:>5} " + " ".join(f"{v:8.4f}" for v in row) for r, row in enumerate(values))])
