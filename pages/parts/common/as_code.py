"""What every "Copy as code" has in common: the lines that load and score, and the beginning of a command."""

from pathlib import Path

from headprune_core import ReadingPlan

from .workspace import Request, ScoreOptions

OPTION_FLAGS = {  # command-line flag of each scoring option; special_tokens has a flag without a value
    "his_reduction": "--his-reduction",
    "objective": "--objective",
    "gnorm_objective": "--gnorm-objective",
    "entropy": "--entropy",
    "dtype": "--dtype",
}


def loading_lines(request: Request, options: ScoreOptions, n_evaluation: int) -> list[str]:
    """Return lines that load the model, both sets (with `n_evaluation` held-out examples; 0 for none) and score."""
    model = [repr(request.model)] + ([f"revision={request.revision!r}"] if request.revision else [])
    first, second = request.splits
    return [
        *([] if request.plan is None else ["from headprune_core import plan_examples"]),
        "",
        f"model = PrunableModel.from_pretrained({', '.join(model)})",
        *([] if request.plan is None else [_plan_call(request)]),
        f"calibration = {examples_call(request, first, request.size)}",
        *([f"held_out = {examples_call(request, second, n_evaluation)}"] if n_evaluation else []),
        f"scores = score_heads(model, calibration{_option_arguments(options)})",
    ]


def examples_call(request: Request, split: str, size: int) -> str:
    """Return the call that reads `size` examples of a split; `loading_lines` makes the plan of reading before it."""
    source = repr(request.text) if request.plan is None else "plan"
    return f"load_examples({source}, split={split!r}, size={size})"


def command_arguments(
    name: str, request: Request, options: ScoreOptions, n_evaluation: int, dtype: str = "float32"
) -> list[str]:
    """Return the beginning of a command: model, dataset, `n_evaluation` held-out examples (0 for none), and options."""
    words = ["headprune", name, "--model", request.model]
    words += ["--revision", request.revision] if request.revision else []
    words += ["--dataset", request.text if request.plan is None else _file_name(request)]
    words += [] if request.plan is None else _plan_options(request.plan)
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


def _plan_call(request: Request) -> str:
    """The line that makes the plan of reading, with what was detected or chosen."""
    settings = "".join(f", {name}={value!r}" for name, value in request.plan.settings.items())
    split = f", split={request.splits[0]!r}" if request.plan.split else ""
    return f"plan = plan_examples({_file_name(request)!r}, model=model{settings}{split})"


def _plan_options(plan: ReadingPlan) -> list[str]:
    """The settings of a plan as options of the command line."""
    words = []
    for name, value in plan.settings.items():
        if name == "label_mapping" and value == "numbers":
            words.append("--label-numbers")
        elif name == "label_mapping":
            for label, number in value.items():
                words += ["--label", f"{label}={'' if number is None else number}"]
        elif name == "label_column" and value is False:
            words.append("--no-labels")
        elif name == "label_column":
            for column in [value] if isinstance(value, str) else value:
                words += ["--label-column", column]
        elif name == "quoted":
            words += ["--quotes", "enclose" if value else "text"]
        elif name == "header":
            words += ["--header", "yes" if value else "no"]
        else:
            words += [f"--{name.replace('_', '-')}", "tab" if value == "\t" else str(value)]
    return words


def _file_name(request: Request) -> str:
    """The file of an upload; pasted lines, which have none, are expected in pasted.txt."""
    return request.text if Path(request.text).suffix or request.plan.file_type == "hub" else "pasted.txt"
