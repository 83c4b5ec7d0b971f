"""The registry of pruning criteria: each turns head scores into a ranking (R, H) whose lowest values are pruned first.

Each criterion is one file with one entry in `ALL`; pages, the command line, tests and documentation list this registry.
"""

from collections.abc import Callable
from dataclasses import replace

from headprune_core.errors import HeadPruneError

from . import (
    ae,
    custom,
    gnorm,
    greedy_gnorm,
    hies,
    hies_keep_high,
    his,
    inverse_ae,
    inverse_gnorm,
    inverse_greedy_gnorm,
    leave_one_out,
    random,
)
from .criterion import Criterion, Ranking

ALL: tuple[Criterion, ...] = (
    his.CRITERION,
    hies.CRITERION,
    hies_keep_high.CRITERION,
    gnorm.CRITERION,
    ae.CRITERION,
    inverse_ae.CRITERION,
    inverse_gnorm.CRITERION,
    greedy_gnorm.CRITERION,
    inverse_greedy_gnorm.CRITERION,
    leave_one_out.CRITERION,
    custom.CRITERION,
    random.CRITERION,
)
CRITERIA: dict[str, Criterion] = {entry.name: entry for entry in ALL}
WITH_ALPHA = ("hies", "hies_keep_high")  # criteria that accept a fixed alpha, as in "hies@0.25"


def register_criterion(
    name: str, label: str, needs: tuple[str, ...], note: str, *, direction: str = "lowest value first", paper: str = "none"
) -> Callable[[Ranking], Ranking]:
    """Register a ranking function as a criterion, for example in a notebook.

    Example:
        @register_criterion("my_criterion", "My criterion", ("his",), "prunes heads with the lowest squared HIS first")
        def my_criterion(scores, alpha, generator):
            return scores.his**2

    Args:
        name: Name in code; an existing criterion of this name is replaced.
        label: Name in figures and tables.
        needs: Scores that the function reads: "his", "ae" and "gnorm".
        note: One lower-case sentence on what is pruned first.
        direction: What is pruned first, in a few words.
        paper: Short citation.

    Returns:
        A decorator that registers a function of (scores, alpha, generator) and returns it unchanged.
    """
    cost = "one backward pass" if {"his", "gnorm"} & set(needs) else "forward passes only" if needs else "none"

    def register(rank: Ranking) -> Ranking:
        CRITERIA[name] = Criterion(
            name, label, tuple(needs), note, rank, needs_labels="his" in needs, cost=cost, direction=direction, paper=paper
        )
        return rank

    return register


def get_criterion(name: str) -> Criterion:
    """Return the registered criterion, or HIES at a fixed alpha ("hies@0.25").

    Args:
        name: Name of a criterion; one of WITH_ALPHA may be followed by "@" and an alpha from 0 to 1.

    Returns:
        The criterion.

    Raises:
        HeadPruneError: If the name or its alpha is not valid.
    """
    if name in CRITERIA:
        return CRITERIA[name]
    base, at, value = name.partition("@")
    if not at or base not in CRITERIA:
        raise HeadPruneError(f"unknown criterion {name!r}; choose one of {', '.join(CRITERIA)}")
    if base not in WITH_ALPHA:
        raise HeadPruneError(f"{base} has no alpha, got {name!r}; only {' and '.join(WITH_ALPHA)} accept one")
    try:
        alpha = float(value)
    except ValueError:
        alpha = float("nan")
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"alpha in {name!r} must be between 0 and 1, as in hies@0.25, got {value!r}")
    criterion = CRITERIA[base]
    label = f"{criterion.label} \N{GREEK SMALL LETTER ALPHA} {alpha:g}"
    note = f"{criterion.note} (alpha = {alpha:g})"

    def rank(scores, _, generator):
        return criterion.rank(scores, alpha, generator)

    return replace(criterion, name=name, label=label, note=note, rank=rank, alpha=alpha)


def method_label(name: str) -> str:
    """Return the label of a criterion, or the name itself if it is not a criterion."""
    criterion = _criterion_or_none(name)
    return name if criterion is None else criterion.label


def parse_alpha(name: str) -> float | None:
    """Return the alpha in a criterion's name, as in "hies@0.25", or None."""
    criterion = _criterion_or_none(name)
    return None if criterion is None else criterion.alpha


def _criterion_or_none(name: str) -> Criterion | None:
    try:
        return get_criterion(name)
    except HeadPruneError:
        return None
