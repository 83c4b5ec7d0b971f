"""A pruned model as a few lines of Python, and as a command: both cut the same heads again and measure on the same texts."""

import shlex

from .as_code import command_words, loading_lines
from .prune_run import PruneRequest
from .work import Work


def prune_python(loaded: Work, wanted: PruneRequest) -> str:
    """Lines of Python that end with the smaller model in a folder. Where only a file has the mask, it is read."""
    imports = ["PrunableModel", "evaluate_masks", "load_examples", "prune_heads", "score_heads"]
    made = wanted.choice.code
    mask = list(made) or ['mask = read_mask(Path("mask.json").read_bytes(), "mask.json", model.grid)']
    imports += ["prune_mask"] if any("prune_mask(" in line for line in made) else []
    lines = [f"from headprune_core import {', '.join(sorted(imports))}"]
    lines += [line for line in mask if line.startswith("from ")]
    lines += [] if made else ["from pathlib import Path", "from headprune_core.mask_files import read_mask"]
    lines += loading_lines(loaded.request, loaded.options, max(wanted.size, 1))
    lines += [line for line in mask if not line.startswith("from ")]
    inside = "" if wanted.inside_groups == "gate" else f", inside_groups={wanted.inside_groups!r}"
    lines += [
        f"smaller = prune_heads(model, mask{inside})",
        "print(evaluate_masks(smaller, held_out, [smaller.grid.kept]).accuracy)",
        'smaller.save_pretrained("smaller")',
    ]
    return "\n".join(dict.fromkeys(lines))


def prune_command(loaded: Work, wanted: PruneRequest) -> str:
    """The same as a command, by the file of the mask."""
    words = command_words("prune", loaded.request, loaded.options, max(wanted.size, 1))
    words += ["--mask", "mask.json", "--inside-groups", wanted.inside_groups, "--out-folder", "smaller"]
    return shlex.join(words)
