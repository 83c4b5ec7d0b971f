"""What the command line takes: the arguments of every command, and the words of --help."""

import argparse
from collections.abc import Callable

from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA, get_criterion
from headprune_core.prune.structural_pruning import PARTIAL_GROUPS
from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from headprune_core.scores.objectives import OBJECTIVES
from headprune_core.version import __version__

BENCHES = ("scores", "entropy", "estimate", "curves", "greedy", "alpha", "latency")


def parser(commands: dict[str, Callable]) -> argparse.ArgumentParser:
    """The parser of the command line; `run` in what it gives is the command's function, described by its docstring."""
    whole = argparse.ArgumentParser("python -m headprune_core", description="Score and prune attention heads.")
    whole.add_argument("--version", action="version", version=__version__)
    adders = whole.add_subparsers(required=True, metavar="command")
    for name, run in commands.items():
        command = adders.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        if name != "bench":
            _common(command)
        _OWN[name](command.add_argument)
        if name not in ("score", "bench"):
            command.add_argument("--no-cache", action="store_true", help="neither look up nor keep results on disk")
        command.add_argument("--out", help="a file for the JSON document")
        command.add_argument("--json", action="store_true", help="print the JSON document instead of a table")
    return whole


def _score(add) -> None:
    add("--evaluate", action="store_true", help="also measure the unpruned model's accuracy")


def _alpha(add) -> None:
    _mix(add)
    _rules(add)
    add("--measure", action="store_true", help="measure every mask along alpha on held-out texts, and choose one")
    add("--entropy-direction", choices=["low", "high"], default="low", help="which entropy is worth keeping (default low)")
    add("--normalize", choices=["layer", "global"], default="layer", help="what scores are scaled within (default layer)")


def _rules(add) -> None:
    """What masks obey."""
    add("--sparsity", type=float, default=0.3, help="share of heads to remove (default 0.3)")
    add("--min-heads-per-layer", type=int, default=0, help="heads that every layer keeps at least (default 0)")
    heads = "row.head, as in 0.3, or a whole row, as in 0"
    add("--protect", nargs="+", default=[], metavar="HEAD", help=f"heads that stay in any case: {heads}")
    add("--remove", nargs="+", default=[], metavar="HEAD", help=f"heads that go in any case: {heads}")
    add("--whole-groups", action="store_true", help="heads that share keys and values go or stay together")
    add("--uniform", action="store_true", help="every layer loses the same number of heads")
    add(
        "--sparsity-unit",
        choices=["heads", "parameters"],
        default="heads",
        help="what --sparsity is a share of (default heads)",
    )


def _curves(add) -> None:
    _mix(add)
    standard = [name for name, criterion in CRITERIA.items() if criterion.produced_by is None]
    words = f"of {', '.join(CRITERIA)}; hies@0.25 for another alpha (default those that need no run of their own)"
    add("--methods", nargs="+", default=standard, type=_method, metavar="METHOD", help=words)
    add("--sparsities", nargs="+", type=float, default=[0.0, 0.1, 0.2, 0.3, 0.5, 0.7], metavar="SHARE")
    add("--n-random", type=int, default=5, help="random orders (default 5)")
    add("--ranking", help="a CSV file with the ranking of method own: row, head, score")


def _greedy(add) -> None:
    add("--steps", type=int, help="how many steps (default until no head is left)")
    add("--heads-per-step", type=int, default=1)
    add("--inverse", action="store_true", help="remove the highest first, a control")
    add("--accuracy-floor", type=float, help="end where accuracy falls below, 0 to 1")
    add("--stop-at-inflection", action="store_true", help="end where accuracy falls for good")


def _prune(add) -> None:
    _mix(add)
    _rules(add)
    ready = [name for name, criterion in CRITERIA.items() if criterion.produced_by is None]
    words = f"of {', '.join(ready)}; hies@0.25 for another alpha (default hies)"
    add("--criterion", default="hies", type=_method, metavar="NAME", help=words)
    add("--seed", type=int, default=0, help="for criterion random (default 0)")
    add("--mask", metavar="FILE", help="a mask.json or mask.csv, in place of a criterion")
    add(
        "--partial-groups",
        choices=PARTIAL_GROUPS,
        default="zero",
        help="where heads share keys and values and only some go: these lose their effect alone, all stay, or all go",
    )
    add("--n-random", type=int, default=20, metavar="N", help="random choices of as many heads beside it (default 20)")
    add("--latency-lengths", type=int, nargs="+", metavar="TOKENS", help="time both models in turn at these lengths")
    add("--finetune-steps", type=int, default=0, metavar="STEPS", help="fine-tune it for so many steps of 32 examples")
    words = "what it learns from: labels, or the unpruned model's answers (default labels, where there are any)"
    add("--finetune-objective", choices=["labels", "teacher"], help=words)
    add("--training-split", help="whose examples it learns from (default training, where the text is the embedded one)")
    add("--out-folder", help="where the pruned model goes: a new or empty folder (default: it is only tried out)")
    add("--bundle", metavar="FILE", help="a zip with model, card, mask, scores, figures and report")
    add("--report", metavar="FILE", help="an HTML file that says what was done and found")
    add("--onnx", metavar="FILE", help="the model for ONNX Runtime")


def _bench(add) -> None:
    add("what", choices=BENCHES, help="what to measure")
    add("--device", default="cpu", help="'cpu', 'cuda' or 'auto' (default cpu)")


_OWN = {"score": _score, "alpha": _alpha, "curves": _curves, "greedy": _greedy, "prune": _prune, "bench": _bench}


def _mix(add) -> None:
    add("--alpha", type=float, default=0.5, help="1 importance alone, 0 entropy alone (default 0.5)")


def _common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--model", default="embedded", help="'embedded', a Hub id or a local folder")
    add("--revision", help="a Hub revision to pin")
    add(
        "--dataset",
        "--text",
        default="embedded",
        help="'embedded', a file (csv, tsv, jsonl, json, parquet, txt) or a Hub data set id",
    )
    add("--calibration-split", default="calibration", help="the split to score on")
    add("--evaluation-split", default="evaluation", help="the split to measure accuracy on")
    add("--calibration-size", type=int, default=32, help="examples to score on (default 32)")
    add("--evaluation-size", type=int, default=960, help="examples to measure accuracy on, at most (default 960)")
    for name in ("text-column", "text-pair-column", "label-column", "subset"):
        add(f"--{name}", help="where the data do not make it plain")
    add(
        "--objective",
        choices=OBJECTIVES,
        help="what HIS differentiates (default loss; prediction where there are no labels)",
    )
    add("--gnorm-objective", choices=OBJECTIVES, default="logit_norm", help="what Gnorm differentiates (default logit_norm)")
    add("--his-reduction", choices=REDUCTIONS, default="example", help="where HIS takes absolute values (default example)")
    add("--entropy", choices=KINDS, default="exact", help="which entropy (default exact)")
    add("--no-special-tokens", dest="special_tokens", action="store_false", help="leave special tokens out of the entropy")
    add("--dtype", choices=["float32", "bfloat16"], help="precision of matrix products (default as loaded)")
    add("--device", default="auto", help="'auto', 'cpu', 'cuda', ... (default auto)")


def _method(name: str) -> str:
    try:
        return get_criterion(name).name
    except HeadPruneError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
