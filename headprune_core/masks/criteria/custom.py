"""Prune the heads in the order of a ranking that the user provides.

Paper: none.
Formula: the values of the ranking, one per head.
Needs: `read_ranking(file, model.grid)`.
Labels: no.
Cost: none.
Direction: lowest value first.
"""

from .criterion import Criterion, external_ranking

PRODUCED_BY = "read_ranking(file, model.grid)"

CRITERION = Criterion(
    name="custom",
    label="Custom",
    needs=(),
    note="prunes heads in the order of a custom ranking, lowest value first",
    rank=external_ranking("custom", PRODUCED_BY),
    produced_by=PRODUCED_BY,
    needs_labels=False,
    cost="none",
    direction="lowest value first",
    paper="none",
)
