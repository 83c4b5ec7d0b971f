"""Prune the heads with the highest Gnorm first: the inverse control of Gnorm.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: -S_h, with S_h = G_Q * G_K * G_V as for Gnorm.
Needs: Gnorm.
Labels: no; the default objective is the norm of the logits.
Cost: one backward pass.
Direction: highest Gnorm first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return -scores.gnorm


CRITERION = Criterion(
    name="inverse_gnorm",
    label="Inverse Gnorm",
    needs=("gnorm",),
    note="inverse control: prunes heads with the largest gradients first",
    rank=_rank,
    needs_labels=False,
    cost="one backward pass",
    direction="highest Gnorm first",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
