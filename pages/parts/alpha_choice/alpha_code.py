"""The evaluation of all masks along alpha as a few lines of Python, and as a command."""

import shlex

from headprune_core import HeadGrid
from pages.parts.alpha.mask_constraints import MaskConstraints
from pages.parts.common.as_code import command_arguments, loading_lines
from pages.parts.common.workspace import BATCH_SIZE, Workspace

from .alpha_run import AlphaRequest

COMMAND_RANDOM_MASKS = 20  # the command has no option for it


def alpha_python(loaded: Workspace, wanted: AlphaRequest, by: str) -> str:
    """Return lines of Python that end with `chosen`, the recommendation by "accuracy" or "agreement"."""
    names = ["PrunableModel", "alpha_accuracy", "alpha_path", "load_examples", "random_masks", "recommend_alpha"]
    constraints = _constraints(wanted.rules, loaded.model.grid)
    lines = [f"from headprune_core import {', '.join([*names, 'score_heads'])}"]
    if any("parse_heads" in value for value in constraints.values()):
        lines.append("from headprune_core.masks.constraints import parse_heads")
    lines += loading_lines(loaded.request, loaded.options, wanted.size)
    scaling = "".join(f", {name}={value!r}" for name, value in _scaling(wanted.rules).items())
    common = "".join(f", {name}={value}" for name, value in constraints.items())
    return "\n".join(
        [
            *lines,
            f"path = alpha_path(scores.his, scores.ae, {wanted.sparsity!r}{scaling}{common})",
            f"random = random_masks(model.grid.shape, {wanted.sparsity!r}, n_random={wanted.n_random}{common})",
            f"found = alpha_accuracy(model, held_out, path, random=random, batch_size={BATCH_SIZE})",
            f"chosen = recommend_alpha(found, by={by!r})",
            "print(chosen.verdict)",
        ]
    )


def alpha_command(loaded: Workspace, wanted: AlphaRequest) -> str:
    """Return the same as a command."""
    rules, grid = wanted.rules, loaded.model.grid
    words = command_arguments("alpha", loaded.request, loaded.options, wanted.size)
    words += ["--measure", "--sparsity", f"{wanted.sparsity!r}"]
    words += [part for name, value in _scaling(rules).items() for part in (f"--{name.replace('_', '-')}", value)]
    bounds = rules.bounds(grid)
    words += ["--min-heads-per-layer", str(rules.least)] if rules.least else []
    words += ["--uniform"] if bounds["uniform"] else []
    words += ["--whole-groups"] if bounds["groups"] is not None else []
    words += ["--sparsity-unit", "parameters"] if bounds["parameters"] is not None else []
    words += ["--protect", *_names(rules.edits.keep)] if rules.edits.keep else []
    words += ["--remove", *_names(rules.edits.remove)] if rules.edits.remove else []
    note = f"# the command compares with {COMMAND_RANDOM_MASKS} random masks\n"
    return (note if wanted.n_random != COMMAND_RANDOM_MASKS else "") + shlex.join(words)


def _scaling(rules: MaskConstraints) -> dict[str, str]:
    """The scaling options that are not the defaults."""
    default = {"normalize": "layer", "entropy_direction": "low"}
    return {name: value for name, value in rules.scaling.items() if value != default[name]}


def _constraints(rules: MaskConstraints, grid: HeadGrid) -> dict[str, str]:
    """The constraints in use, as Python arguments."""
    bounds = rules.bounds(grid)
    arguments = {
        "min_heads_per_layer": str(rules.least) if rules.least else None,
        "uniform": "True" if bounds["uniform"] else None,
        "groups": None if bounds["groups"] is None else "model.grid.kv_group",
        "parameters": None if bounds["parameters"] is None else "model.grid.parameters_per_head",
        "protect": f"parse_heads({_names(rules.edits.keep)!r}, model.grid)" if rules.edits.keep else None,
        "remove": f"parse_heads({_names(rules.edits.remove)!r}, model.grid)" if rules.edits.remove else None,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _names(heads) -> list[str]:
    return [f"{row}.{head}" for row, head in heads]
