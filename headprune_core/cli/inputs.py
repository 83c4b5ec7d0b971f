"""Builds inputs from parsed options: model, examples, scores, rankings and constraints; and reports progress."""

import sys
import warnings
from collections.abc import Callable

import numpy as np

from headprune_core.data.examples import load_examples, read_examples
from headprune_core.data.model_labels import ModelLabels, configured_labels
from headprune_core.data.reading_plan import ReadingPlan, plan_examples
from headprune_core.data.tasks import has_targets, task_of
from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.masks.constraints import parse_heads
from headprune_core.masks.rankings import read_ranking
from headprune_core.measure.ablation import leave_one_out
from headprune_core.measure.greedy import greedy_gnorm
from headprune_core.model.builtin import is_builtin
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.head_scores import score_heads
from headprune_core.scores.objectives import objective_without_labels


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


def reading_plan(options, model: PrunableModel | None = None) -> ReadingPlan | str:
    """Plan how the dataset is read, once per command, and print the plan; the built-in dataset needs none.

    Args:
        options: parsed arguments.
        model: model to whose classes the labels are mapped; None before it is loaded.

    Returns:
        What `load_examples` reads: the plan, or the name of the built-in dataset.
    """
    if is_builtin(options.dataset):
        return options.dataset
    if not hasattr(options, "plan"):
        settings = plan_settings(options)
        known = None if model is None else ModelLabels.of(model)
        known = known or configured_labels(options.model, options.revision)
        options.plan = plan_examples(options.dataset, model=known, split=options.calibration_split, **settings)
    if model is not None and not hasattr(options, "mapped_plan"):
        options.mapped_plan = options.plan.for_model(model)
        print(*options.mapped_plan.describe(), sep="\n", file=sys.stderr)
    return options.plan if model is None else options.mapped_plan


def plan_settings(options) -> dict[str, object]:
    """Return the options of reading as arguments of `plan_examples`, without those that are not given."""
    names = ("text_column", "text_pair_column", "label_separator", "lines", "subset", "encoding", "delimiter")
    given: dict[str, object] = {name: getattr(options, name) for name in names}
    columns = options.label_column or [None]
    given["label_column"] = columns[0] if len(columns) == 1 else columns
    given["delimiter"] = {"tab": "\t", "\\t": "\t"}.get(options.delimiter, options.delimiter)
    given["quoted"] = {"enclose": True, "text": False}.get(options.quotes)
    given["header"] = {"yes": True, "no": False}.get(options.header)
    if options.no_labels:
        if options.label_column or options.label_mapping or options.label_numbers:
            raise HeadPruneError("--no-labels excludes --label-column, --label and --label-numbers; give one of them")
        given["label_column"] = False
    if options.label_mapping and options.label_numbers:
        raise HeadPruneError("--label excludes --label-numbers; give one of them")
    if options.label_numbers:
        given["label_mapping"] = "numbers"
    if options.label_mapping:
        given["label_mapping"] = dict(map(_label_class, options.label_mapping))
    return {name: value for name, value in given.items() if value is not None}


def _label_class(text: str) -> tuple[str, str | int | None]:
    label, equals, name = text.rpartition("=")
    if not equals:
        raise HeadPruneError(f"--label must be LABEL=CLASS, got {text!r}")
    return label, int(name) if name.isdigit() else name or None


def load_part(options, model: PrunableModel | None, split: str, size: int):
    """Load up to `size` examples of a split of the dataset; what is left out and guessed is in the printed plan.

    Args:
        options: parsed arguments.
        model: model to whose classes the labels are mapped; None before it is loaded.
        split: name of the split.
        size: maximum number of examples.

    Returns:
        The Dataset.
    """
    source = reading_plan(options, model)
    if isinstance(source, str):
        return load_examples(source, split=split, size=size)
    examples, notes = read_examples(source, split=split, size=size)
    for note in notes:
        if note not in source.notes:
            warnings.warn(note, HeadPruneWarning, stacklevel=2)
    return examples


def calibration_examples(options, model: PrunableModel):
    """Load the calibration set."""
    return load_part(options, model, options.calibration_split, options.calibration_size)


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
                model, calibration_examples(options, model), inverse=inverse, objective=objective, cache=cache, **run
            )
            rankings[name] = trajectory.ranking
        elif name == "leave_one_out":
            rankings[name] = leave_one_out(model, calibration_examples(options, model), **run).loss_change
        elif name == "custom" and options.ranking:
            rankings[name] = read_ranking(options.ranking, model.grid)
    return rankings


def open_cache(options) -> ResultCache | None:
    """Return the result cache, or None with --no-cache."""
    return None if options.no_cache else ResultCache.default()


def check_dataset(options) -> None:
    """Check the dataset and the options of reading before the model is loaded.

    Args:
        options: parsed arguments.

    Raises:
        HeadPruneError: if the dataset cannot be read, or if an option is wrong.
    """
    source = reading_plan(options)
    for split, size in (
        (options.calibration_split, options.calibration_size),
        (options.evaluation_split, options.evaluation_size),
    ):
        read_examples(source, split=split, size=size)


def compute_scores(options, **more):
    """Load the model and score its heads.

    Args:
        options: parsed arguments.
        **more: further arguments of `score_heads`.

    Returns:
        (model, scores)
    """
    model = load_model_option(options)
    examples = calibration_examples(options, model)
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


def evaluation_examples(options, model: PrunableModel):
    """Load the evaluation set."""
    return load_part(options, model, options.evaluation_split, options.evaluation_size)


def progress_line(options) -> Callable[[int, int, str], None] | None:
    """Return a callback that updates one line on standard error, or None if it is not a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int, note: str) -> None:
        print(f"\r{note} {done / total:4.0%} " if done < total else "\r\033[K", end="", file=sys.stderr, flush=True)

    return show
