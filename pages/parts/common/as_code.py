"""What every "Copy as code" has in common: the lines that load and score, and the beginning of a command."""

from pathlib import Path

from .workspace import Request, ScoreOptions

OPTION_FLAGS = {  # command-line flag of each scoring option; special_tokens has a flag without a value
    "his_reduction": "--his-reduction",
    "objective": "--objective",
    "gnorm_objective": "--gnorm-objective",
    "entropy": "--entropy",
    "dtype": "--dtype",
}
COLUMNS = ("text_column", "text_pair_column", "label_column")


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
