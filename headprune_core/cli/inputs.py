"""Builds inputs from parsed options: model, examples, scores, rankings and constraints; and reports progress."""

import os
import sys
from collections.abc import Callable

import numpy as np

from headprune_core.data.examples import load_examples
from headprune_core.data.tasks import has_targets, task_of
from headprune_core.errors import HeadPruneError
from headprune_core.masks.constraints import parse_heads
from headprune_core.masks.rankings import read_ranking
from headprune_core.measure.ablation import leave_one_out
from headprune_core.measure.greedy import greedy_gnorm
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import score_heads
from headprune_core.scores.objectives import objective_without_labels


def check_file(name: str, file: str) -> str:
    """Check that an output file can be written.

    Args:
        name: option that names the file, without the dashes.
        file: path as given.

    Returns:
        The absolute path.

    Raises:
        HeadPruneError: if the path is a folder or its folder does not exist.
    """
    path = os.path.realpath(os.path.expanduser(file))
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise HeadPruneError(f"--{name} must be a file in an existing folder, got {file}")
    return path


def load_model_option(options) -> PrunableModel:
    """Load the model of --model."""
    return PrunableModel.from_pretrained(options.model, revision=options.revision, device=options.device)


def build_constraints(options, grid) -> dict[str, object]:
    """Return the constraints on masks as arguments of `prune_mask`."""
    return {
        "min_heads_per_layer": options.min_heads_per_layer,
        "protect": parse_heads(options.protect, grid),
        "remove": parse_heads(options.remove, grid),
        "groups": grid.kv_group if options.whole_groups else None,
        "uniform": options.uniform,
        "parameters": grid.parameters_per_head if options.sparsity_unit == "parameters" else None,
    }


def calibration_examples(options):
    """Load the calibration set."""
    return load_examples(options.dataset, split=options.calibration_split, size=options.calibration_size, **columns(options))


def build_rankings(options, model: PrunableModel, cache: ResultCache | None) -> dict[str, np.ndarray]:
    """Compute or read the rankings of the chosen criteria that scores alone do not give.

    Args:
        options: parsed arguments of `curves`.
        model: model to rank the heads of.
        cache: result cache, or None.

    Returns:
        Criterion -> (R, H), lowest pruned first.
    """
    run = {"dtype": options.dtype, "progress": progress_line(options)}
    rankings = {}
    for name in options.methods:
        if name in ("greedy_gnorm", "inverse_greedy_gnorm"):
            inverse, objective = name.startswith("inverse"), options.gnorm_objective
            trajectory = greedy_gnorm(
                model, calibration_examples(options), inverse=inverse, objective=objective, cache=cache, **run
            )
            rankings[name] = trajectory.ranking
        elif name == "leave_one_out":
            rankings[name] = leave_one_out(model, calibration_examples(options), **run).loss_change
        elif name == "custom" and options.ranking:
            rankings[name] = read_ranking(options.ranking, model.grid)
    return rankings


def open_cache(options) -> ResultCache | None:
    """Return the result cache, or None with --no-cache."""
    return None if options.no_cache else ResultCache.default()


def compute_scores(options, **more):
    """Load the model and score its heads.

    Args:
        options: parsed arguments.
        **more: further arguments of `score_heads`.

    Returns:
        (model, scores)
    """
    model, examples = load_model_option(options), calibration_examples(options)
    labeled = has_targets(model, examples.column_names)
    scores = score_heads(
        model,
        examples,
        objective=options.objective or ("loss" if labeled else objective_without_labels(task_of(model))),
        gnorm_objective=options.gnorm_objective,
        his_reduction=options.his_reduction,
        entropy=options.entropy,
        special_tokens=options.special_tokens,
        dtype=options.dtype,
        progress=progress_line(options),
        **more,
    )
    return model, scores


def evaluation_examples(options):
    """Load the evaluation set."""
    return load_examples(options.dataset, split=options.evaluation_split, size=options.evaluation_size, **columns(options))


def columns(options) -> dict[str, str | None]:
    """Return the column and subset options as arguments of `load_examples`."""
    return {name: getattr(options, name) for name in ("text_column", "text_pair_column", "label_column", "subset")}


def progress_line(options) -> Callable[[int, int, str], None] | None:
    """Return a callback that updates one line on standard error, or None if it is not a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int, note: str) -> None:
        print(f"\r{note} {done / total:4.0%} " if done < total else "\r\033[K", end="", file=sys.stderr, flush=True)

    return show
