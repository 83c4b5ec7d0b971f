"""Prune the heads with the lowest head importance-entropy score (HIES) first.

Paper: Choi et al. 2025, arXiv 2510.13832.
Formula: HIES_h = alpha * HIS~_h + (1 - alpha) * (1 - AE~_h), where ~ is min-max scaling to [0, 1] within each layer.
Needs: HIS, AE.
Labels: yes; the default objective is the loss. objective=`prediction` in score_heads needs none.
Cost: one backward pass.
Direction: lowest HIES first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return scores.hies(alpha)


CRITERION = Criterion(
    name="hies",
    label="HIES",
    needs=("his", "ae"),
    note="prunes unimportant heads with diffuse attention first; alpha weights importance against entropy",
    rank=_rank,
    needs_labels=True,
    cost="one backward pass",
    direction="lowest HIES first",
    paper="Choi et al. 2025, arXiv 2510.13832",
)
