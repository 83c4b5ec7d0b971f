"""Head scores and the mask at one alpha as a few lines of Python and as a command that compute the same again."""

import shlex
from collections.abc import Mapping

from .as_code import command_arguments, loading_lines
from .workspace import Workspace


def score_python(loaded: Workspace, alpha: float) -> str:
    """Return lines of Python that end with `table`, every head's scores, and `hies` (R, H) at `alpha`."""
    return "\n".join(
        [
            "from headprune_core import PrunableModel, load_examples, score_heads",
            *loading_lines(loaded.request, loaded.options, 0),
            "table = scores.to_frame()",
            f"hies = scores.hies({alpha!r})",
        ]
    )


def score_command(loaded: Workspace) -> str:
    """Return the command that prints every head's scores."""
    return shlex.join(command_arguments("score", loaded.request, loaded.options, 0, loaded.options.dtype))


def mask_python(loaded: Workspace, alpha: float, sparsity: float, scaling: Mapping, constraints: Mapping) -> str:
    """Return lines of Python that end with `mask` (R, H).

    Args:
        loaded: The workspace of the scores.
        alpha: Weight of importance in HIES, 0 to 1.
        sparsity: Share of heads or parameters to prune, 0 to 1.
        scaling: Arguments of `HeadScores.hies` besides alpha.
        constraints: Arguments of `prune_mask` besides scores and sparsity.
    """
    hies = "".join(f", {name}={value!r}" for name, value in scaling.items() if value not in ("layer", "low"))
    arrays, arguments = [], ""
    for name in ("protect", "remove"):
        heads = [(int(row), int(head)) for row, head in zip(*constraints[name].nonzero(), strict=True)]
        if heads:
            arrays.append(f"{name} = np.zeros(model.grid.shape, bool)")
            arrays.append(f"{name}[{[row for row, _ in heads]}, {[head for _, head in heads]}] = True")
            arguments += f", {name}={name}"
    if constraints["min_heads_per_layer"]:
        arguments += f", min_heads_per_layer={constraints['min_heads_per_layer']}"
    arguments += ", uniform=True" if constraints["uniform"] else ""
    arguments += ", groups=model.grid.kv_group" if constraints["groups"] is not None else ""
    arguments += ", parameters=model.grid.parameters_per_head" if constraints["parameters"] is not None else ""
    return "\n".join(
        [
            *(["import numpy as np", ""] if arrays else []),
            "from headprune_core import PrunableModel, load_examples, prune_mask, score_heads",
            *loading_lines(loaded.request, loaded.options, 0),
            *arrays,
            f"mask = prune_mask(scores.hies({alpha!r}{hies}), {sparsity!r}{arguments})",
        ]
    )


def mask_command(loaded: Workspace, alpha: float, sparsity: float, scaling: Mapping, constraints: Mapping) -> str:
    """Return the command that prints the mask and the alpha path; arguments as for `mask_python`."""
    words = command_arguments("alpha", loaded.request, loaded.options, 0, loaded.options.dtype)
    words += ["--alpha", f"{alpha!r}", "--sparsity", f"{sparsity!r}"]
    for name, value in scaling.items():
        words += [f"--{name.replace('_', '-')}", value] if value not in ("layer", "low") else []
    for name in ("protect", "remove"):
        heads = [f"{row}.{head}" for row, head in zip(*constraints[name].nonzero(), strict=True)]
        words += [f"--{name}", *heads] if heads else []
    if constraints["min_heads_per_layer"]:
        words += ["--min-heads-per-layer", str(constraints["min_heads_per_layer"])]
    words += ["--uniform"] if constraints["uniform"] else []
    words += ["--whole-groups"] if constraints["groups"] is not None else []
    words += ["--sparsity-unit", "parameters"] if constraints["parameters"] is not None else []
    return shlex.join(words)
