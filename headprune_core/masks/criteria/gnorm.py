"""Prune the heads with the lowest gradient-norm score (Gnorm) first, scored once.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: S_h = G_Q * G_K * G_V, G_W = E_x ||d ||F(x)||_2 / d W_h||_2, F the logits (Eqs. 9-17).
Needs: Gnorm.
Labels: no; the default objective is the norm of the logits.
Cost: one backward pass.
Direction: lowest Gnorm first.
"""

from .criterion import Criterion


def _rank(scores, alpha, generator):
    return scores.gnorm


CRITERION = Criterion(
    name="gnorm",
    label="Gnorm",
    needs=("gnorm",),
    note="prunes heads with the smallest Q, K and V gradients first; scores are computed once",
    rank=_rank,
    needs_labels=False,
    cost="one backward pass",
    direction="lowest Gnorm first",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
