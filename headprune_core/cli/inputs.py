"""What the command line's arguments ask for: model, texts, scores, rankings and rules, and where to tell how far it is."""

import os
import sys
from collections.abc import Callable

import numpy as np

from headprune_core.data.examples import load_examples
from headprune_core.errors import HeadPruneError
from headprune_core.masks.constraints import parse_heads
from headprune_core.masks.rankings import read_ranking
from headprune_core.measure.ablation import leave_one_out
from headprune_core.measure.greedy import greedy_gnorm
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import score_heads


def check_file(name: str, file: str) -> str:
    """Where `file`, which --`name` asks for, really is; HeadPruneError where none can be written."""
    place = os.path.realpath(os.path.expanduser(file))
    if os.path.isdir(place) or not os.path.isdir(os.path.dirname(place)):
        raise HeadPruneError(f"--{name} is {file}, which cannot be written; expected a file in a folder that is there")
    return place


def load_model_option(options) -> PrunableModel:
    """The model that --model names."""
    return PrunableModel.from_pretrained(options.model, revision=options.revision, device=options.device)


def build_constraints(options, grid) -> dict[str, object]:
    """What the command line asks for, as arguments of `prune_mask`."""
    return {
        "min_heads_per_layer": options.min_heads_per_layer,
        "protect": parse_heads(options.protect, grid),
        "remove": parse_heads(options.remove, grid),
        "groups": grid.kv_group if options.whole_groups else None,
        "uniform": options.uniform,
        "parameters": grid.parameters_per_head if options.sparsity_unit == "parameters" else None,
    }


def calibration_texts(options):
    """The texts to score on."""
    return load_examples(options.dataset, split=options.calibration_split, size=options.calibration_size, **columns(options))


def build_rankings(options, model: PrunableModel, cache: ResultCache | None) -> dict[str, np.ndarray]:
    """Those rankings of the chosen methods that scores do not hold."""
    run = {"dtype": options.dtype, "progress": progress_line(options)}
    rankings = {}
    for name in options.methods:
        if name in ("greedy_gnorm", "inverse_greedy_gnorm"):
            inverse, objective = name.startswith("inverse"), options.gnorm_objective
            trajectory = greedy_gnorm(
                model, calibration_texts(options), inverse=inverse, objective=objective, cache=cache, **run
            )
            rankings[name] = trajectory.ranking
        elif name == "leave_one_out":
            rankings[name] = leave_one_out(model, calibration_texts(options), **run).loss_change
        elif name == "custom" and options.ranking:
            rankings[name] = read_ranking(options.ranking, model.grid)
    return rankings


def open_cache(options) -> ResultCache | None:
    """Where results are kept, unless --no-cache."""
    return None if options.no_cache else ResultCache.default()


def scored(options, **more):
    """(model, its scores) by the options of scoring; `more` goes to `score_heads`."""
    model, examples = load_model_option(options), calibration_texts(options)
    labelled = "label" in examples.column_names or model.task != "classification"
    scores = score_heads(
        model,
        examples,
        objective=options.objective or ("loss" if labelled else "prediction"),
        gnorm_objective=options.gnorm_objective,
        his_reduction=options.his_reduction,
        entropy=options.entropy,
        special_tokens=options.special_tokens,
        dtype=options.dtype,
        progress=progress_line(options),
        **more,
    )
    return model, scores


def evaluation_texts(options):
    """The texts to measure on."""
    return load_examples(options.dataset, split=options.evaluation_split, size=options.evaluation_size, **columns(options))


def columns(options) -> dict[str, str | None]:
    """Which columns of the text are which."""
    return {name: getattr(options, name) for name in ("text_column", "text_pair_column", "label_column", "subset")}


def progress_line(options) -> Callable[[int, int, str], None] | None:
    """A line on standard error that is written over, where somebody is watching."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int, note: str) -> None:
        print(f"\r{note} {done / total:4.0%} " if done < total else "\r\033[K", end="", file=sys.stderr, flush=True)

    return show
