"""Prune by HIES with the entropy term reversed: unimportant, focused heads first.

Paper: Choi et al. 2025, arXiv 2510.13832.
Formula: alpha * HIS~_h + (1 - alpha) * AE~_h, where ~ is min-max scaling to [0, 1] within each layer.
Needs: HIS, AE.
Labels: yes; the default objective is the loss. objective=`prediction` in score_heads needs none.
Cost: one backward pass.
Direction: lowest HIES with reversed entropy term first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return scores.hies(alpha, entropy_direction="high")


CRITERION = Criterion(
    name="hies_keep_high",
    label="HIES (keep high entropy)",
    needs=("his", "ae"),
    note="HIES with reversed entropy term: prunes unimportant heads with focused attention first",
    rank=_rank,
    needs_labels=True,
    cost="one backward pass",
    direction="lowest HIES with reversed entropy term first",
    paper="Choi et al. 2025, arXiv 2510.13832",
)
