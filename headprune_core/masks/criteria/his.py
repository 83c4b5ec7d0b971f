"""Prune the heads with the lowest head importance score (HIS) first.

Paper: Michel et al. 2019, arXiv 1905.10650.
Formula: HIS_h = E_x |sum over tokens and dimensions of z_h * dL(x)/dz_h|, z_h the output of head h.
Needs: HIS.
Labels: yes; the default objective is the loss. objective=`prediction` in score_heads needs none.
Cost: one backward pass.
Direction: lowest HIS first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return scores.his


CRITERION = Criterion(
    name="his",
    label="HIS",
    needs=("his",),
    note="prunes heads with the lowest importance first",
    rank=_rank,
    needs_labels=True,
    cost="one backward pass",
    direction="lowest HIS first",
    paper="Michel et al. 2019, arXiv 1905.10650",
)
