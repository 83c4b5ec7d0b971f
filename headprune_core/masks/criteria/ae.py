"""Prune the heads with the highest attention entropy (AE), diffuse attention, first.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: AE_h = E_x mean over queries i of -sum_j A_ij log A_ij, in nats (Eq. 3); the ranking is -AE_h.
Needs: AE.
Labels: no.
Cost: forward passes only.
Direction: highest AE first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return -scores.ae


CRITERION = Criterion(
    name="ae",
    label="AE",
    needs=("ae",),
    note="prunes heads with the highest attention entropy (diffuse attention) first",
    rank=_rank,
    needs_labels=False,
    cost="forward passes only",
    direction="highest AE first",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
