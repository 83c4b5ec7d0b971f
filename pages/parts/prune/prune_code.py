"""A pruned model as a few lines of Python, and as a command: both cut the same heads again and measure on the same texts."""

import shlex
from dataclasses import dataclass

from headprune_core import Recovery
from pages.parts.common.as_code import command_arguments, examples_call, loading_lines
from pages.parts.common.workspace import Workspace

from .prune_run import MAX_TRAINING_EXAMPLES, PruneRequest


@dataclass(frozen=True)
class FineTuningInfo:
    """The fine-tune after surgery, and the split that it learned from."""

    recovery: Recovery
    split: str


def prune_python(loaded: Workspace, wanted: PruneRequest, tuned: FineTuningInfo | None = None) -> str:
    """Lines of Python that end with the smaller model in a folder. Where only a file has the mask, it is read."""
    imports = ["PrunableModel", "evaluate_masks", "load_examples", "prune_heads", "score_heads"]
    made = wanted.choice.code
    mask = list(made) or ['mask = read_mask(Path("mask.json").read_bytes(), "mask.json", model.grid)']
    imports += ["prune_mask"] if any("prune_mask(" in line for line in made) else []
    imports += ["recover"] if tuned else []
    lines = [f"from headprune_core import {', '.join(sorted(imports))}"]
    lines += [line for line in mask if line.startswith("from ")]
    lines += [] if made else ["from pathlib import Path", "from headprune_core.mask_files import read_mask"]
    lines += loading_lines(loaded.request, loaded.options, max(wanted.size, 1))
    lines += [line for line in mask if not line.startswith("from ")]
    inside = "" if wanted.partial_groups == "zero" else f", partial_groups={wanted.partial_groups!r}"
    lines.append(f"smaller = prune_heads(model, mask{inside})")
    lines += [] if tuned is None else _recovering(loaded, tuned)
    lines += [
        "print(evaluate_masks(smaller, held_out, [smaller.grid.kept]).accuracy)",
        'smaller.save_pretrained("smaller")',
    ]
    return "\n".join(dict.fromkeys(lines))


def _recovering(loaded: Workspace, tuned: FineTuningInfo) -> list[str]:
    found = tuned.recovery
    precision = "" if loaded.options.dtype == "float32" else f", dtype={loaded.options.dtype!r}"
    stopped = f"  # of which {found.steps} were made" if found.steps < found.planned else ""
    how = f"steps={found.planned}, batch_size={found.batch_size}, objective={found.objective!r}{precision}"
    size = min(found.planned * found.batch_size, MAX_TRAINING_EXAMPLES)
    return [
        f"training = {examples_call(loaded.request, tuned.split, size)}",
        f"smaller, recovery = recover(smaller, training, teacher=model, {how}){stopped}",
    ]


def prune_command(loaded: Workspace, wanted: PruneRequest, tuned: FineTuningInfo | None = None) -> str:
    """The same as a command, by the file of the mask."""
    words = command_arguments("prune", loaded.request, loaded.options, max(wanted.size, 1))
    words += ["--mask", "mask.json", "--partial-groups", wanted.partial_groups, "--out-folder", "smaller"]
    if tuned is not None:
        found = tuned.recovery
        words += [
            "--finetune-steps",
            str(found.planned),
            "--finetune-objective",
            found.objective,
            "--training-split",
            tuned.split,
        ]
    return shlex.join(words)
