"""Prune the heads with the lowest attention entropy (AE), focused attention, first.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: AE_h = E_x mean over queries i of -sum_j A_ij log A_ij, in nats (Eq. 3).
Needs: AE.
Labels: no.
Cost: forward passes only.
Direction: lowest AE first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return scores.ae


CRITERION = Criterion(
    name="inverse_ae",
    label="Inverse AE",
    needs=("ae",),
    note="prunes heads with the lowest attention entropy (focused attention) first",
    rank=_rank,
    needs_labels=False,
    cost="forward passes only",
    direction="lowest AE first",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
