"""Prune the head with the lowest Gnorm, rescore the remaining heads, and repeat.

Paper: Guo and Sheridan 2026, arXiv 2602.04491.
Formula: at step n, the active head with the smallest S_h(n) = G_Q * G_K * G_V (Algorithm 1); the ranking is the step.
Needs: `greedy_gnorm(model, examples).ranking`.
Labels: no; the default objective is the norm of the logits.
Cost: many runs.
Direction: lowest Gnorm first, rescored after each step.
"""

from .criterion import Criterion, external_ranking

PRODUCED_BY = "greedy_gnorm(model, examples).ranking"

CRITERION = Criterion(
    name="greedy_gnorm",
    label="Greedy-Gnorm",
    needs=(),
    note="prunes the head with the smallest Q, K and V gradients, rescores the others, and repeats",
    rank=external_ranking("greedy_gnorm", PRODUCED_BY),
    produced_by=PRODUCED_BY,
    needs_labels=False,
    cost="many runs",
    direction="lowest Gnorm first, rescored after each step",
    paper="Guo and Sheridan 2026, arXiv 2602.04491",
)
