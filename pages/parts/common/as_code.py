"""What is on screen as a few lines of Python, and as a command: both measure the same curves again."""

import shlex
from pathlib import Path

from pages.parts.curves.curve_run import CurveRequest

from .workspace import BATCH_SIZE, Request, ScoreOptions

SCORE_NAMES = {  # option -> its flag on the command line; special_tokens has a flag of its own
    "his_reduction": "--his-reduction",
    "objective": "--objective",
    "gnorm_objective": "--gnorm-objective",
    "entropy": "--entropy",
    "dtype": "--dtype",
}
COLUMNS = ("text_column", "text_pair_column", "label_column")


def python(request: Request, options: ScoreOptions, wanted: CurveRequest) -> str:
    """Lines of Python that end with `curves`, the table. options: those that the scores were computed by."""
    imports = ["PrunableModel", "load_examples", "measure_curves", "score_heads"]
    imports += [name for name in ("greedy_gnorm", "leave_one_out") if any(name + "(" in line for line in _made(wanted))]
    lines = [f"from headprune_core import {', '.join(sorted(imports))}"]
    if any("read_ranking(" in line for line in _made(wanted)):
        lines.append("from headprune_core.rankings import read_ranking")
    lines += loading_lines(request, options, wanted.start + wanted.size)
    if wanted.given:
        lines += ["rankings = {}", *_made(wanted)]
    texts = "held_out" if not wanted.start else f"held_out.select(range({wanted.start}, {wanted.start + wanted.size}))"
    lines += [
        "curves = measure_curves(",
        f"    model, {texts}, scores,",
        f"    methods={list(wanted.methods)!r},",
        f"    sparsities={_shares(wanted)},",
        f"    alpha={wanted.alpha:g}, seeds={wanted.n_random}, batch_size={BATCH_SIZE}"
        + (f", dtype={wanted.dtype!r}" if wanted.dtype != "float32" else "")
        + (", rankings=rankings" if wanted.given else "")
        + ",",
        ").frame",
    ]
    return "\n".join(lines)


def loading_lines(request: Request, options: ScoreOptions, tested: int) -> list[str]:
    """Lines that load the model and the texts, `tested` of them to test on, and score: `model` to `scores`."""
    _, reading = _source(request)
    model = [repr(request.model)] + ([f"revision={request.revision!r}"] if request.revision else [])
    first, second = request.splits
    return [
        *reading,
        "",
        f"model = PrunableModel.from_pretrained({', '.join(model)})",
        f"calibration = {examples_call(request, first, request.size)}",
        f"held_out = {examples_call(request, second, tested)}",
        f"scores = score_heads(model, calibration{_changed(options)})",
    ]


def examples_call(request: Request, split: str, size: int) -> str:
    """The call that reads `size` examples of a split; an upload is read before, as `loading_lines` does."""
    source, _ = _source(request)
    columns = "".join(f", {name}={value!r}" for name, value in zip(COLUMNS, request.columns, strict=True) if value)
    columns += f", subset={request.subset!r}" if request.subset else ""
    return f"load_examples({source}, split={split!r}, size={size}{columns})"


def command(request: Request, options: ScoreOptions, wanted: CurveRequest) -> str:
    """The same as a command; what it does otherwise is said in a comment above it."""
    words = command_arguments("curves", request, options, wanted.start + wanted.size, wanted.dtype)
    words += ["--methods", *wanted.methods, "--sparsities", *(f"{share:.6g}" for share in wanted.sparsities)]
    words += ["--alpha", f"{wanted.alpha:g}", "--n-random", str(wanted.n_random)]
    words += [part for one in wanted.given if one.name == "custom" for part in ("--ranking", one.how)]
    return "\n".join([*(f"# {note}" for note in _otherwise(options, wanted)), shlex.join(words)])


def command_arguments(name: str, request: Request, options: ScoreOptions, tested: int, dtype: str = "float32") -> list[str]:
    """The beginning of a command: model, texts, `tested` of them to test on, and how to score."""
    words = ["python", "-m", "headprune_core", name, "--model", request.model]
    words += ["--revision", request.revision] if request.revision else []
    words += ["--dataset", _file(request) if request.table is not None else request.text]
    for column, value in zip(COLUMNS, request.columns, strict=True):
        words += [f"--{column.replace('_', '-')}", value] if value else []
    words += ["--subset", request.subset] if request.subset else []
    if request.splits != ("calibration", "evaluation"):
        words += ["--calibration-split", request.splits[0], "--evaluation-split", request.splits[1]]
    words += ["--calibration-size", str(request.size), "--evaluation-size", str(tested)]
    for option, flag in SCORE_NAMES.items():
        if option != "dtype" and getattr(options, option) != getattr(ScoreOptions(), option):
            words += [flag, getattr(options, option)]
    words += [] if options.special_tokens else ["--no-special-tokens"]
    words += ["--dtype", dtype] if dtype != "float32" else []
    return words


def _otherwise(options: ScoreOptions, wanted: CurveRequest) -> list[str]:
    notes = [f"{one.name}: the command makes this ranking anew on the texts of the scores" for one in wanted.given]
    notes = [note for note, one in zip(notes, wanted.given, strict=True) if not one.by_command]
    if wanted.start:
        notes.append(f"the command tests on the first {wanted.start} texts too")
    if options.dtype != wanted.dtype:
        notes.append("the command scores and measures in one precision")
    return notes


def _made(wanted: CurveRequest) -> list[str]:
    return [line for one in wanted.given for line in one.code]


def _changed(options: ScoreOptions) -> str:
    """The options that are not the usual ones, as arguments."""
    usual = ScoreOptions()
    there = {name: getattr(options, name) for name in (*SCORE_NAMES, "special_tokens")}
    return "".join(f", {name}={value!r}" for name, value in there.items() if value != getattr(usual, name))


def _source(request: Request) -> tuple[str, list[str]]:
    """How the text is named in a call, and the lines before that read it."""
    if request.table is None:
        return repr(request.text), []
    file, columns = _file(request), [str(name) for name in request.table.columns]
    lines = ["from pathlib import Path", "from headprune_core.tables import read_table"]
    return "table", [*lines, f"table = read_table({file!r}, Path({file!r}).read_bytes())[{columns!r}]"]


def _file(request: Request) -> str:
    """The file of an upload; pasted lines have none: they go into one of this name."""
    return request.text if Path(request.text).suffix else "pasted.txt"


def _shares(wanted: CurveRequest) -> str:
    """The sparsities, to the last bit, by a formula where they are heads one by one."""
    heads = round(1 / wanted.sparsities[1]) if len(wanted.sparsities) > 1 and wanted.sparsities[1] else 0
    count = len(wanted.sparsities)
    if heads > 20 and tuple(k / heads for k in range(count)) == wanted.sparsities:
        return f"[k / {heads} for k in range({count})]"
    return repr(list(wanted.sparsities))
