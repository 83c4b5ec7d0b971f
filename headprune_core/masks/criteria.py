"""The registry of pruning criteria: each turns scores into a ranking (R, H) in which the lowest goes first.

    @criterion("name", label, needs, note)
    def name(scores, alpha, generator): return (R, H)

A criterion whose ranking takes a run of its own, or comes from a user, is registered by `given(name, label, note, produced_by)`:
it has its name, label and place in figures like the others, but its ranking must be handed over. Everything that lists
criteria (pages, command line, curves) lists this registry. HIES at an alpha of its own has a name too: "hies@0.25".
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.scores.head_scores import HeadScores

WITH_ALPHA = ("hies", "hies_keep_high")  # those that may be had at an alpha of their own
Ranking = Callable[[HeadScores, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Criterion:
    """A pruning criterion: its name in code, what people call it, the metrics it needs and what it removes first.

    produced_by: for a criterion that scores alone do not give, what makes its ranking; else None.
    alpha: its own, where it has one.
    """

    name: str
    label: str
    needs: tuple[str, ...]
    note: str
    rank: Ranking
    produced_by: str | None = None
    alpha: float | None = None

    @property
    def random(self) -> bool:
        return self.name == "random"


CRITERIA: dict[str, Criterion] = {}


def criterion(name: str, label: str, needs: tuple[str, ...], note: str) -> Callable[[Ranking], Ranking]:
    """Register a ranking function under `name`."""

    def register(rank: Ranking) -> Ranking:
        CRITERIA[name] = Criterion(name, label, needs, note, rank)
        return rank

    return register


def given(name: str, label: str, note: str, produced_by: str) -> Criterion:
    """Register a criterion whose ranking is handed over; asked for it, it says what makes one (`produced_by`)."""

    def rank(scores, alpha, generator):
        raise HeadPruneError(
            f"the ranking of {name!r} was not given; expected rankings={{{name!r}: ...}}, made by {produced_by}"
        )

    CRITERIA[name] = Criterion(name, label, (), note, rank, produced_by)
    return CRITERIA[name]


def get_criterion(name: str) -> Criterion:
    """The registered criterion, or HIES at an alpha of its own ("hies@0.25"); a HeadPruneError where there is none."""
    if name in CRITERIA:
        return CRITERIA[name]
    base, at, value = name.partition("@")
    if not at or base not in CRITERIA:
        raise HeadPruneError(f"there is no criterion {name!r}; expected one of {', '.join(CRITERIA)}")
    if base not in WITH_ALPHA:
        raise HeadPruneError(f"{name!r} gives {base} an alpha; expected one of {', '.join(WITH_ALPHA)} before the @")
    try:
        alpha = float(value)
    except ValueError:
        alpha = float("nan")
    if not 0.0 <= alpha <= 1.0:
        raise HeadPruneError(f"{name!r} has alpha {value!r}; expected a number from 0 to 1, as in hies@0.25")
    found = CRITERIA[base]
    label = f"{found.label} \N{GREEK SMALL LETTER ALPHA} {alpha:g}"
    note = found.note.replace("by alpha", f"by alpha {alpha:g}")

    def rank(scores, _, generator):
        return found.rank(scores, alpha, generator)

    return replace(found, name=name, label=label, note=note, rank=rank, alpha=alpha)


def method_label(name: str) -> str:
    """What people call a method, a criterion or not."""
    found = _found(name)
    return name if found is None else found.label


def parse_alpha(name: str) -> float | None:
    """The alpha in a method's name, as in "hies@0.25"; None where there is none."""
    found = _found(name)
    return None if found is None else found.alpha


def _found(name: str) -> Criterion | None:
    try:
        return get_criterion(name)
    except HeadPruneError:
        return None


@criterion("his", "HIS", ("his",), "removes heads whose output matters least to the loss")
def _his(scores, alpha, generator):
    return scores.his


@criterion("hies", "HIES", ("his", "ae"), "removes heads that are unimportant and unfocused, mixed by alpha")
def _hies(scores, alpha, generator):
    return scores.hies(alpha)


@criterion(
    "hies_keep_high", "HIES high", ("his", "ae"), "HIES turned round: removes unimportant and focused heads, mixed by alpha"
)
def _hies_high(scores, alpha, generator):
    return scores.hies(alpha, entropy_direction="high")


@criterion("gnorm", "Gnorm", ("gnorm",), "removes heads whose Q, K and V gradients are smallest, scored once")
def _gnorm(scores, alpha, generator):
    return scores.gnorm


@criterion("ae", "AE", ("ae",), "removes heads of high entropy (spread attention) first")
def _ae(scores, alpha, generator):
    return -scores.ae


@criterion("inverse_ae", "Inverse AE", ("ae",), "removes heads of low entropy (focused attention) first")
def _inverse_ae(scores, alpha, generator):
    return scores.ae


@criterion("inverse_gnorm", "Inverse Gnorm", ("gnorm",), "a control: removes the heads of largest gradients first")
def _inverse_gnorm(scores, alpha, generator):
    return -scores.gnorm


given(
    "greedy_gnorm",
    "Greedy-Gnorm",
    "removes the head of smallest Q, K and V gradients, scores again, and so on",
    "greedy_gnorm(model, examples).ranking",
)
given(
    "inverse_greedy_gnorm",
    "Inverse Greedy-Gnorm",
    "a control: removes the head of largest gradients, scores again, and so on",
    "greedy_gnorm(model, examples, inverse=True).ranking",
)
given(
    "leave_one_out",
    "Leave one out",
    "removes heads whose absence alone raises the loss least",
    "leave_one_out(model, examples).loss_change",
)
given("custom", "Your own", "removes heads in an order of your own", "read_ranking(file, model.grid)")


@criterion("random", "Random", (), "a control: removes heads in a random order, several times")
def _random(scores, alpha, generator):
    return generator.permutation(np.prod(scores.grid.shape)).reshape(scores.grid.shape).astype(float)
