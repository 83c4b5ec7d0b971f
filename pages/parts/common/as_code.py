"""The curves on screen as a few lines of Python and as a command that evaluate the same curves again."""

import shlex
from pathlib import Path

from pages.parts.curves.curve_run import CurveRequest

from .workspace import BATCH_SIZE, Request, ScoreOptions

OPTION_FLAGS = {  # command-line flag of each scoring option; special_tokens has a flag without a value
    "his_reduction": "--his-reduction",
    "objective": "--objective",
    "gnorm_objective": "--gnorm-objective",
    "entropy": "--entropy",
    "dtype": "--dtype",
}
COLUMNS = ("text_column", "text_pair_column", "label_column")


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


def loading_lines(request: Request, options: ScoreOptions, n_evaluation: int) -> list[str]:
    """Return lines that load the model, both sets (with `n_evaluation` held-out examples; 0 for none) and score."""
    _, reading = _dataset_code(request)
    model = [repr(request.model)] + ([f"revision={request.revision!r}"] if request.revision else [])
    first, second = request.splits
    return [
        *reading,
        "",
        f"model = PrunableModel.from_pretrained({', '.join(model)})",
        f"calibration = {examples_call(request, first, request.size)}",
        *([f"held_out = {examples_call(request, second, n_evaluation)}"] if n_evaluation else []),
        f"scores = score_heads(model, calibration{_option_arguments(options)})",
    ]


def examples_call(request: Request, split: str, size: int) -> str:
    """Return the call that reads `size` examples of a split; `loading_lines` reads an uploaded table before it."""
    source, _ = _dataset_code(request)
    columns = "".join(f", {name}={value!r}" for name, value in zip(COLUMNS, request.columns, strict=True) if value)
    columns += f", subset={request.subset!r}" if request.subset else ""
    return f"load_examples({source}, split={split!r}, size={size}{columns})"


def command(request: Request, options: ScoreOptions, wanted: CurveRequest) -> str:
    """Return the same as a command; comments above it state where the command differs."""
    words = command_arguments("curves", request, options, wanted.start + wanted.size, wanted.dtype)
    words += ["--methods", *wanted.methods, "--sparsities", *(f"{share:.6g}" for share in wanted.sparsities)]
    words += ["--alpha", f"{wanted.alpha:g}", "--n-random", str(wanted.n_random)]
    words += [part for one in wanted.given if one.name == "custom" for part in ("--ranking", one.how)]
    return "\n".join([*(f"# {note}" for note in _differences(options, wanted)), shlex.join(words)])


def command_arguments(
    name: str, request: Request, options: ScoreOptions, n_evaluation: int, dtype: str = "float32"
) -> list[str]:
    """Return the beginning of a command: model, dataset, `n_evaluation` held-out examples (0 for none), and options."""
    words = ["headprune", name, "--model", request.model]
    words += ["--revision", request.revision] if request.revision else []
    words += ["--dataset", _file_name(request) if request.table is not None else request.text]
    for column, value in zip(COLUMNS, request.columns, strict=True):
        words += [f"--{column.replace('_', '-')}", value] if value else []
    words += ["--subset", request.subset] if request.subset else []
    if request.splits != ("calibration", "evaluation"):
        words += ["--calibration-split", request.splits[0], "--evaluation-split", request.splits[1]]
    words += ["--calibration-size", str(request.size)]
    words += ["--evaluation-size", str(n_evaluation)] if n_evaluation else []
    for option, flag in OPTION_FLAGS.items():
        if option != "dtype" and getattr(options, option) != getattr(ScoreOptions(), option):
            words += [flag, getattr(options, option)]
    words += [] if options.special_tokens else ["--no-special-tokens"]
    words += ["--dtype", dtype] if dtype != "float32" else []
    return words


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


def _option_arguments(options: ScoreOptions) -> str:
    """The options that are not the defaults, as arguments."""
    default = ScoreOptions()
    values = {name: getattr(options, name) for name in (*OPTION_FLAGS, "special_tokens")}
    return "".join(f", {name}={value!r}" for name, value in values.items() if value != getattr(default, name))


def _dataset_code(request: Request) -> tuple[str, list[str]]:
    """How a call names the dataset, and the lines before it that read an uploaded table."""
    if request.table is None:
        return repr(request.text), []
    file, columns = _file_name(request), [str(name) for name in request.table.columns]
    lines = ["from pathlib import Path", "from headprune_core.data.table_io import read_table"]
    return "table", [*lines, f"table = read_table({file!r}, Path({file!r}).read_bytes())[{columns!r}]"]


def _file_name(request: Request) -> str:
    """The file of an upload; pasted lines, which have none, are expected in pasted.txt."""
    return request.text if Path(request.text).suffix else "pasted.txt"


def _sparsities(wanted: CurveRequest) -> str:
    """The sparsities, bitwise identical; a formula if they count heads one by one."""
    heads = round(1 / wanted.sparsities[1]) if len(wanted.sparsities) > 1 and wanted.sparsities[1] else 0
    count = len(wanted.sparsities)
    if heads > 20 and tuple(k / heads for k in range(count)) == wanted.sparsities:
        return f"[k / {heads} for k in range({count})]"
    return repr(list(wanted.sparsities))
