"""The curves on screen as a few lines of Python and as a command that evaluate the same curves again."""

import shlex

from pages.parts.common.as_code import command_arguments, loading_lines
from pages.parts.common.workspace import BATCH_SIZE, Request, ScoreOptions

from .curve_run import CurveRequest


def python(request: Request, options: ScoreOptions, wanted: CurveRequest) -> str:
    """Return lines of Python that end with `curves`, the table.

    Args:
        request: What was loaded.
        options: The options that the scores were computed with.
        wanted: The request of the curves.
    """
    imports = ["PrunableModel", "load_examples", "measure_curves", "score_heads"]
    code = _ranking_code(wanted)
    imports += [name for name in ("greedy_gnorm", "leave_one_out") if any(f"{name}(" in line for line in code)]
    lines = [f"from headprune_core import {', '.join(sorted(imports))}"]
    if any("read_ranking(" in line for line in code):
        lines.append("from headprune_core.masks.rankings import read_ranking")
    lines += loading_lines(request, options, wanted.start + wanted.size)
    if wanted.given:
        lines += ["rankings = {}", *code]
    examples = "held_out" if not wanted.start else f"held_out.select(range({wanted.start}, {wanted.start + wanted.size}))"
    lines += [
        "curves = measure_curves(",
        f"    model, {examples}, scores,",
        f"    methods={list(wanted.methods)!r},",
        f"    sparsities={_sparsities(wanted)},",
        f"    alpha={wanted.alpha:g}, n_random={wanted.n_random}, batch_size={BATCH_SIZE}"
        + (f", dtype={wanted.dtype!r}" if wanted.dtype != "float32" else "")
        + (", rankings=rankings" if wanted.given else "")
        + ",",
        ").frame",
    ]
    return "\n".join(lines)


def command(request: Request, options: ScoreOptions, wanted: CurveRequest) -> str:
    """Return the same as a command; comments above it state where the command differs."""
    words = command_arguments("curves", request, options, wanted.start + wanted.size, wanted.dtype)
    words += ["--methods", *wanted.methods, "--sparsities", *(f"{share:.6g}" for share in wanted.sparsities)]
    words += ["--alpha", f"{wanted.alpha:g}", "--n-random", str(wanted.n_random)]
    words += [part for one in wanted.given if one.name == "custom" for part in ("--ranking", one.how)]
    return "\n".join([*(f"# {note}" for note in _differences(options, wanted)), shlex.join(words)])


def _differences(options: ScoreOptions, wanted: CurveRequest) -> list[str]:
    notes = [f"{one.name}: the command computes this ranking on the calibration set" for one in wanted.given]
    notes = [note for note, one in zip(notes, wanted.given, strict=True) if not one.by_command]
    if wanted.start:
        notes.append(f"the command also evaluates on the first {wanted.start} examples")
    if options.dtype != wanted.dtype:
        notes.append("the command scores and evaluates in one precision")
    return notes


def _ranking_code(wanted: CurveRequest) -> list[str]:
    return [line for one in wanted.given for line in one.code]


def _sparsities(wanted: CurveRequest) -> str:
    """The sparsities, bitwise identical; a formula if they count heads one by one."""
    heads = round(1 / wanted.sparsities[1]) if len(wanted.sparsities) > 1 and wanted.sparsities[1] else 0
    count = len(wanted.sparsities)
    if heads > 20 and tuple(k / heads for k in range(count)) == wanted.sparsities:
        return f"[k / {heads} for k in range({count})]"
    return repr(list(wanted.sparsities))
