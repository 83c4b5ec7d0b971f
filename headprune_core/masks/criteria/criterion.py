"""What a pruning criterion is: its ranking function, its labels, and what it needs, costs and prunes first."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.scores.head_scores import HeadScores

COSTS = ("one backward pass", "forward passes only", "many runs", "none")
Ranking = Callable[[HeadScores, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Criterion:
    """A pruning criterion: how heads are ranked, and in which order they are pruned.

    Attributes:
        name: Name in code, for example "his".
        label: Name in figures and tables.
        needs: Scores that `rank` reads: "his", "ae" and "gnorm".
        note: One lower-case sentence on what is pruned first.
        rank: Function of (scores, alpha, generator) that returns the ranking (R, H); the lowest value is pruned first.
        produced_by: Call that produces the ranking if it needs a run of its own, otherwise None.
        alpha: Alpha of an HIES criterion with a fixed alpha, otherwise None.
        needs_labels: Whether the scores or the run need labels with their default options.
        cost: Cost class, one of COSTS.
        direction: What is pruned first, for example "lowest HIS first".
        paper: Short citation, or "none".
    """

    name: str
    label: str
    needs: tuple[str, ...]
    note: str
    rank: Ranking
    produced_by: str | None = None
    alpha: float | None = None
    needs_labels: bool = False
    cost: str = "none"
    direction: str = "lowest value first"
    paper: str = "none"

    @property
    def random(self) -> bool:
        """Whether the ranking is random, so that several are needed."""
        return self.name == "random"


def external_ranking(name: str, produced_by: str) -> Ranking:
    """Return a ranking function for a criterion that scores alone cannot rank.

    Args:
        name: Name of the criterion.
        produced_by: Call that produces the ranking.

    Returns:
        A function that always raises HeadPruneError and names the call.
    """

    def rank(scores, alpha, generator):
        raise HeadPruneError(f"{name!r} needs a ranking; pass rankings={{{name!r}: ...}}, produced by {produced_by}")

    return rank
