"""Prune the heads by a random ranking: the baseline that a criterion must beat.

Paper: none.
Formula: a random permutation of the heads, one per seed.
Needs: nothing.
Labels: no.
Cost: none.
Direction: random.
"""

import numpy as np

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return generator.permutation(np.prod(scores.grid.shape)).reshape(scores.grid.shape).astype(float)


CRITERION = Criterion(
    name="random",
    label="Random",
    needs=(),
    note="random baseline: prunes heads by several random rankings",
    rank=_rank,
    needs_labels=False,
    cost="none",
    direction="random",
    paper="none",
)
