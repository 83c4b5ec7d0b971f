"""The registry of pruning criteria: each turns scores into a ranking (R, H) in which the lowest goes first.

    @criterion("name", label, needs, note)
    def name(scores, alpha, generator): return (R, H)

Everything that lists criteria (pages, command line, curves) lists this registry.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import HeadPruneError
from .scores.run import HeadScores

Ranking = Callable[[HeadScores, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Criterion:
    """A pruning criterion: its name in code, what people call it, the metrics it needs and what it removes first."""

    name: str
    label: str
    needs: tuple[str, ...]
    note: str
    rank: Ranking

    @property
    def random(self) -> bool:
        return not self.needs


CRITERIA: dict[str, Criterion] = {}


def criterion(name: str, label: str, needs: tuple[str, ...], note: str) -> Callable[[Ranking], Ranking]:
    """Register a ranking function under `name`."""

    def register(rank: Ranking) -> Ranking:
        CRITERIA[name] = Criterion(name, label, needs, note, rank)
        return rank

    return register


def find_criterion(name: str) -> Criterion:
    """The registered criterion, or a HeadPruneError that lists them."""
    if name not in CRITERIA:
        raise HeadPruneError(f"there is no criterion {name!r}; expected one of {', '.join(CRITERIA)}")
    return CRITERIA[name]


@criterion("his", "HIS", ("his",), "removes heads whose output matters least to the loss")
def _his(scores, alpha, generator):
    return scores.his


@criterion("hies", "HIES", ("his", "ae"), "removes heads that are unimportant and unfocused, mixed by alpha")
def _hies(scores, alpha, generator):
    return scores.hies(alpha)


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


@criterion("random", "Random", (), "a control: removes heads in a random order, several times")
def _random(scores, alpha, generator):
    return generator.permutation(np.prod(scores.grid.shape)).reshape(scores.grid.shape).astype(float)
