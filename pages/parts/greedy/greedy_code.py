"""A Greedy-Gnorm run as a few lines of Python, and as a command."""

import shlex

from pages.parts.common.as_code import command_arguments, loading_lines
from pages.parts.common.workspace import Workspace

from .greedy_run import GreedyRequest


def greedy_python(loaded: Workspace, wanted: GreedyRequest) -> str:
    """Return lines of Python that end with `run`, the trajectory."""
    n_evaluation = wanted.size if loaded.evaluation is not None else 0
    *loading, _ = loading_lines(loaded.request, loaded.options, n_evaluation)  # without the scores, which it needs not
    arguments = ["model", "calibration", *(["evaluation=held_out"] if n_evaluation else [])]
    arguments.append(f"objective={loaded.options.gnorm_objective!r}")
    arguments += [f"{name}={value!r}" for name, value in _options(wanted).items()]
    return "\n".join(
        [
            "from headprune_core import PrunableModel, greedy_gnorm, load_examples",
            *loading,
            f"run = greedy_gnorm({', '.join(arguments)})",
            "print(run.to_frame())",
        ]
    )


def greedy_command(loaded: Workspace, wanted: GreedyRequest) -> str:
    """Return the same as a command."""
    n_evaluation = wanted.size if loaded.evaluation is not None else 0
    words = command_arguments("greedy", loaded.request, loaded.options, n_evaluation)
    for name, value in _options(wanted).items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return shlex.join(words)


def _options(wanted: GreedyRequest) -> dict[str, object]:
    """The options of `greedy_gnorm` that are not the defaults."""
    default = GreedyRequest()
    names = ("steps", "heads_per_step", "inverse", "accuracy_floor", "stop_at_inflection")
    return {name: getattr(wanted, name) for name in names if getattr(wanted, name) != getattr(default, name)}
