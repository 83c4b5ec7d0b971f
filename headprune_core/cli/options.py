"""The options of every command and their help texts, one function per command."""

import argparse

from headprune_core.data.table_io import LINES
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA, get_criterion
from headprune_core.prune.structural_pruning import PARTIAL_GROUPS
from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from headprune_core.scores.objectives import OBJECTIVES

BENCHES = ("scores", "entropy", "traits", "estimate", "curves", "greedy", "alpha", "latency", "gpu")


def _score(add) -> None:
    add("--evaluate", action="store_true", help="also measure the accuracy of the unpruned model on the evaluation set")


def _alpha(add) -> None:
    _hies_alpha(add)
    _constraints(add)
    add("--measure", action="store_true", help="evaluate every mask on the evaluation set and recommend an alpha")
    add(
        "--entropy-direction",
        choices=["low", "high"],
        default="low",
        help="keep heads with low or high entropy (default: low)",
    )
    add(
        "--normalize",
        choices=["layer", "global"],
        default="layer",
        help="min–max scale scores per layer or globally (default: layer)",
    )


def _constraints(add) -> None:
    add("--sparsity", type=float, default=0.3, metavar="SHARE", help="share of heads to prune, 0 to 1 (default: 0.3)")
    add(
        "--min-heads-per-layer",
        type=int,
        default=0,
        metavar="N",
        help="minimum number of heads to keep in each layer (default: 0)",
    )
    heads = "layer.head, such as 0.3, or a whole layer, such as 0 (default: none)"
    add("--protect", nargs="+", default=[], metavar="HEAD", help=f"heads to always keep: {heads}")
    add("--remove", nargs="+", default=[], metavar="HEAD", help=f"heads to always prune: {heads}")
    add("--whole-groups", action="store_true", help="keep or prune heads that share a KV head together")
    add("--uniform", action="store_true", help="prune the same number of heads in every layer")
    add(
        "--sparsity-unit",
        choices=["heads", "parameters"],
        default="heads",
        help="count sparsity in heads or in parameters (default: heads)",
    )


def _compare(add) -> None:
    _hies_alpha(add)
    add("--sparsity", type=float, default=0.3, metavar="SHARE", help="share of heads to prune, 0 to 1 (default: 0.3)")
    add(
        "--against",
        nargs="+",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="one more run, by the options of model, dataset and scoring that differ; repeatable",
    )


def _curves(add) -> None:
    _hies_alpha(add)
    add(
        "--methods",
        nargs="+",
        default=_ready_criteria(),
        type=_method,
        metavar="CRITERION",
        help=f"criteria to compare: {', '.join(CRITERIA)}; hies@0.25 sets another alpha (default: all criteria that need no "
        "extra run)",
    )
    add(
        "--sparsities",
        nargs="+",
        type=float,
        default=[0.0, 0.1, 0.2, 0.3, 0.5, 0.7],
        metavar="SHARE",
        help="sparsities to evaluate, 0 to 1 (default: 0 0.1 0.2 0.3 0.5 0.7)",
    )
    add("--n-random", type=int, default=5, metavar="N", help="number of random rankings (default: 5)")
    add("--ranking", metavar="FILE", help="CSV file with the columns row, head and score, for criterion custom")


def _greedy(add) -> None:
    add("--steps", type=int, metavar="N", help="maximum number of steps (default: until all heads are pruned)")
    add("--heads-per-step", type=int, default=1, metavar="N", help="heads to prune per step (default: 1)")
    add("--inverse", action="store_true", help="prune the highest-scoring head first, as an inverse control")
    add("--accuracy-floor", type=float, metavar="SHARE", help="stop when accuracy drops below this value, 0 to 1")
    add("--stop-at-inflection", action="store_true", help="stop at the inflection point of the accuracy curve")


def _prune(add) -> None:
    _hies_alpha(add)
    _constraints(add)
    add(
        "--criterion",
        default="hies",
        type=_method,
        metavar="NAME",
        help=f"pruning criterion: {', '.join(_ready_criteria())}; hies@0.25 sets another alpha (default: hies)",
    )
    add("--seed", type=int, default=0, help="seed of the random number generator, for criterion random (default: 0)")
    add("--mask", metavar="FILE", help="use the pruning mask in FILE (mask.json or mask.csv) instead of a criterion")
    add(
        "--partial-groups",
        choices=PARTIAL_GROUPS,
        default="zero",
        help="how to handle partially pruned KV groups: zero the pruned heads, keep or remove the whole group (default: "
        "zero)",
    )
    add("--n-random", type=int, default=20, metavar="N", help="number of random masks to compare with (default: 20)")
    add(
        "--latency-lengths",
        type=int,
        nargs="+",
        metavar="TOKENS",
        help="benchmark the latency of both models at these sequence lengths (default: no benchmark)",
    )
    add(
        "--finetune-steps",
        type=int,
        default=0,
        metavar="N",
        help="fine-tune the pruned model for N steps of 32 examples (default: 0)",
    )
    add(
        "--finetune-objective",
        choices=["labels", "teacher"],
        help="fine-tune on labels, or by distillation from the unpruned model (default: labels if there are any)",
    )
    add(
        "--training-split",
        metavar="NAME",
        help="split to fine-tune on (default: training for the built-in dataset, otherwise the calibration split)",
    )
    add("--out-folder", metavar="FOLDER", help="output folder for the pruned model, new or empty (default: do not save)")
    add(
        "--overwrite",
        action="store_true",
        help="let --out-folder replace a model that HeadPrune did not write, or that of --model",
    )
    add("--bundle", metavar="FILE", help="write a zip of model, card, mask, scores, figures and report to FILE")
    add("--report", metavar="FILE", help="write an HTML report to FILE")
    add("--onnx", metavar="FILE", help='export the pruned model to ONNX; needs: pip install "headprune[onnx]"')


def _bench(add) -> None:
    add("what", choices=BENCHES, help="benchmark to run")
    add("--device", default="cpu", help="cpu, cuda or auto (default: cpu)")


def _cache(add) -> None:
    add("--clear", action="store_true", help="remove all results, also while the app is running")


COMMAND_OPTIONS = {"score": _score, "alpha": _alpha, "curves": _curves, "greedy": _greedy, "prune": _prune}
COMMAND_OPTIONS |= {"compare": _compare, "bench": _bench, "cache": _cache}


def _hies_alpha(add) -> None:
    add(
        "--alpha",
        type=float,
        default=0.5,
        help="weight of HIS in HIES: 1 is importance only, 0 is entropy only (default: 0.5)",
    )


def common_options(add) -> None:
    """Add the options of model, dataset and scoring, which all commands but `bench` have."""
    add(
        "--model",
        default="embedded",
        help="Hugging Face Hub id, local folder, or 'embedded' for the built-in model (default: embedded)",
    )
    add("--revision", help="Hub revision of the model (default: the latest)")
    add(
        "--dataset",
        "--text",
        default="embedded",
        help="file (csv, tsv, jsonl, json, parquet, txt, conll), Hub dataset id, or 'embedded' for the built-in dataset "
        "(default: embedded)",
    )
    add("--subset", metavar="NAME", help="dataset configuration name (default: the only one)")
    add("--calibration-split", default="calibration", metavar="NAME", help="calibration split (default: calibration)")
    add("--evaluation-split", default="evaluation", metavar="NAME", help="evaluation split (default: evaluation)")
    add("--calibration-size", type=int, default=32, metavar="N", help="number of calibration examples (default: 32)")
    add("--evaluation-size", type=int, default=960, metavar="N", help="maximum number of evaluation examples (default: 960)")
    add("--text-column", metavar="NAME", help="text column (default: auto-detected)")
    add("--text-pair-column", metavar="NAME", help="column of the second text of a pair (default: auto-detected)")
    add(
        "--label-column",
        action="append",
        metavar="NAME",
        help="column of labels, label sets or tags; repeat it for columns of zeros and ones (default: auto-detected)",
    )
    add("--no-labels", action="store_true", help="read the dataset without labels")
    add(
        "--label",
        action="append",
        metavar="LABEL=CLASS",
        dest="label_mapping",
        help="the model's class (name or number) of a label of the data; LABEL= excludes it: its examples are left out, it "
        "is dropped from label sets, or words with this tag have no target; repeatable",
    )
    add("--label-numbers", action="store_true", help="read labels as class numbers of the model, counted from 0")
    add(
        "--label-separator",
        metavar="CHARACTER",
        help="what separates the labels of a set that is written as text (default: auto-detected)",
    )
    add(
        "--lines",
        choices=LINES,
        help="whether a line of a text file is an example, or a word with its tag (default: auto-detected)",
    )
    add("--encoding", metavar="NAME", help="encoding of a text file, such as utf-8 or cp1252 (default: auto-detected)")
    add("--delimiter", metavar="CHARACTER", help="delimiter of a csv or tsv file; 'tab' is one (default: auto-detected)")
    add("--quotes", choices=["enclose", "text"], help="what double quotes do in a csv or tsv file (default: auto-detected)")
    add("--header", choices=["yes", "no"], help="whether a csv or tsv file has a header (default: auto-detected)")
    add(
        "--objective",
        choices=OBJECTIVES,
        help="objective for HIS gradients (default: loss; without labels prediction, or logit_norm for regression)",
    )
    add(
        "--gnorm-objective",
        choices=OBJECTIVES,
        default="logit_norm",
        help="objective for Gnorm gradients (default: logit_norm)",
    )
    add(
        "--his-reduction",
        choices=REDUCTIONS,
        default="example",
        help="HIS reduction: absolute value per example, token or batch (default: example)",
    )
    add("--entropy", choices=KINDS, default="exact", help="definition of attention entropy (default: exact)")
    add(
        "--no-special-tokens",
        dest="special_tokens",
        action="store_false",
        help="exclude special tokens from attention entropy (default: included)",
    )
    add("--dtype", choices=["float32", "bfloat16"], help="precision of matrix products (default: the model's)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def _ready_criteria() -> list[str]:
    """Criteria whose rankings scores give."""
    return [name for name, criterion in CRITERIA.items() if criterion.produced_by is None]


def _method(name: str) -> str:
    try:
        return get_criterion(name).name
    except HeadPruneError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
