"""The pruned model as a few lines of Python, and as a command: both prune the same heads and evaluate the same examples."""

import shlex
from dataclasses import dataclass

from headprune_core import Recovery
from headprune_core.data.tasks import task_of
from pages.parts.common.as_code import command_arguments, examples_call, loading_lines
from pages.parts.common.workspace import Workspace

from .prune_run import MAX_TRAINING_EXAMPLES, PruneRequest


@dataclass(frozen=True)
class FineTuningInfo:
    """The fine-tuning run, and the split of its training examples."""

    recovery: Recovery
    split: str


def prune_python(loaded: Workspace, wanted: PruneRequest, tuned: FineTuningInfo | None = None) -> str:
    """Return lines of Python that save the pruned model to a folder. A mask without code is read from its file."""
    imports = ["PrunableModel", "evaluate_masks", "load_examples", "prune_heads", "score_heads"]
    code = wanted.choice.code
    mask = list(code) or ['mask = read_mask(Path("mask.json").read_bytes(), "mask.json", model.grid)']
    imports += ["prune_mask"] if any("prune_mask(" in line for line in code) else []
    imports += ["recover"] if tuned else []
    lines = [f"from headprune_core import {', '.join(sorted(imports))}"]
    lines += [line for line in mask if line.startswith("from ")]
    lines += [] if code else ["from pathlib import Path", "from headprune_core.masks.mask_files import read_mask"]
    lines += loading_lines(loaded.request, loaded.options, max(wanted.size, 1))
    lines += [line for line in mask if not line.startswith("from ")]
    groups = "" if wanted.partial_groups == "zero" else f", partial_groups={wanted.partial_groups!r}"
    lines.append(f"smaller = prune_heads(model, mask{groups})")
    lines += [] if tuned is None else _finetuning_lines(loaded, tuned)
    value = "accuracy" if task_of(loaded.model).measure == "accuracy" else "main_value"
    lines += [
        f"print(evaluate_masks(smaller, held_out, [smaller.grid.kept]).{value})",
        'smaller.save_pretrained("smaller")',
    ]
    return "\n".join(dict.fromkeys(lines))


def _finetuning_lines(loaded: Workspace, tuned: FineTuningInfo) -> list[str]:
    run = tuned.recovery
    precision = "" if loaded.options.dtype == "float32" else f", dtype={loaded.options.dtype!r}"
    stopped = f"  # cancelled after {run.steps} steps" if run.steps < run.planned else ""
    arguments = f"steps={run.planned}, batch_size={run.batch_size}, objective={run.objective!r}{precision}"
    size = min(run.planned * run.batch_size, MAX_TRAINING_EXAMPLES)
    return [
        f"training = {examples_call(loaded.request, tuned.split, size)}",
        f"smaller, recovery = recover(smaller, training, teacher=model, {arguments}){stopped}",
    ]


def prune_command(loaded: Workspace, wanted: PruneRequest, tuned: FineTuningInfo | None = None) -> str:
    """Return the same as a command, with the mask from its file."""
    words = command_arguments("prune", loaded.request, loaded.options, max(wanted.size, 1))
    words += ["--mask", "mask.json", "--partial-groups", wanted.partial_groups, "--out-folder", "smaller"]
    if tuned is not None:
        run = tuned.recovery
        words += [
            "--finetune-steps",
            str(run.planned),
            "--finetune-objective",
            run.objective,
            "--training-split",
            tuned.split,
        ]
    return shlex.join(words)
