"""The command `compare`: the scores of several models, datasets or scoring options side by side."""

import argparse
import json
from collections.abc import Sequence
from typing import NoReturn

from headprune_core.comparison.score_comparison import Comparison
from headprune_core.comparison.score_comparison import compare as compare_scores
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA

from .inputs import compute_scores
from .options import common_options
from .paths import check_paths

SCORING = ("objective", "gnorm_objective", "his_reduction", "entropy", "special_tokens", "dtype", "device")
BASE = "base"  # name of the run by the options of the command
MOST = 5  # heads that are listed


def compare(options) -> tuple[dict[str, object], str]:
    """Compare the scores of two or more runs.

    The options give the run "base". Each --against gives one more run by the options that differ from it, as in
    --against model=folder, or --against objective=prediction entropy=normalized.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.
    """
    if not options.against:
        raise HeadPruneError("compare needs one more run, as in --against objective=prediction")
    changes = [_changes(words) for words in options.against]
    runs = [argparse.Namespace(**vars(options) | change) for change in ({}, *changes)]
    for run in runs:
        check_paths(run)
    names = [BASE, *(" ".join(words) for words in options.against)]
    scores = [compute_scores(run)[1] for run in runs]
    paired = all(name in SCORING for change in changes for name in change)  # the same model and examples
    found = compare_scores(*scores, names=names, sparsity=options.sparsity, alpha=options.alpha, paired=paired)
    document = {
        "runs": names,
        "alpha": options.alpha,
        "sparsity": options.sparsity,
        "paired": paired,
        "settings": found.settings,
        "agreement": json.loads(found.agreement.to_json(orient="records", double_precision=15)),
        "places": {one: {run: found.places(one, run).tolist() for run in names} for one in found.criteria},
    }
    return document, "\n".join([*found.describe(), *(_moved(found, name) for name in names[1:])])


def _changes(words: Sequence[str]) -> dict[str, object]:
    """The options that one --against changes, with their values."""
    reader = _Reader(add_help=False, allow_abbrev=False)

    def add(*flags: str, **more) -> None:
        reader.add_argument(*flags, **more | {"default": argparse.SUPPRESS})

    common_options(add)
    flags = []
    for word in words:
        name, equals, value = word.partition("=")
        flags += [f"--{name}", value] if equals else [f"--{name}"]
    return vars(reader.parse_args(flags))


class _Reader(argparse.ArgumentParser):
    """A parser whose errors name --against."""

    def error(self, message: str) -> NoReturn:
        raise HeadPruneError(f"--against takes options of `headprune score` as OPTION=VALUE: {message}")


def _moved(found: Comparison, run: str) -> str:
    """The heads whose place changes most from the base to a run, by HIES if it is known."""
    criterion = "hies" if "hies" in found.criteria else found.criteria[0]
    lines = [
        f"Largest changes of place in the pruning order from {BASE} to {run}, by {CRITERIA[criterion].label} (layer.head):"
    ]
    for line in found.moved(criterion, BASE, run).head(MOST).itertuples():
        interval = f", 95% CI {line.low:+.0f} to {line.high:+.0f}" if line.low == line.low else ""
        lines.append(f"  {line.row}.{line.head}  {line.place_first} to {line.place_second} ({line.change:+d}{interval})")
    return "\n".join(["", *lines])
