"""Prune the head with the highest Gnorm, rescore, and repeat: the inverse control.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: at step n, the active head with the largest S_h(n) = G_Q * G_K * G_V; the ranking is the step.
Needs: `greedy_gnorm(model, examples, inverse=True).ranking`.
Labels: no; the default objective is the norm of the logits.
Cost: many runs.
Direction: highest Gnorm first, rescored after each step.
"""

from .criterion import Criterion, external_ranking

PRODUCED_BY = "greedy_gnorm(model, examples, inverse=True).ranking"

CRITERION = Criterion(
    name="inverse_greedy_gnorm",
    label="Inverse Greedy-Gnorm",
    needs=(),
    note="inverse control: prunes the head with the largest gradients, rescores the others, and repeats",
    rank=external_ranking("inverse_greedy_gnorm", PRODUCED_BY),
    produced_by=PRODUCED_BY,
    needs_labels=False,
    cost="many runs",
    direction="highest Gnorm first, rescored after each step",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
