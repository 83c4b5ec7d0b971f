"""Prune the heads first whose masking alone raises the loss least.

Paper: Michel et al. 2019, arXiv 1905.10650.
Formula: D_h = E_x [L(x; head h masked) - L(x)] (section 3.2).
Needs: `leave_one_out(model, examples).loss_change`.
Labels: no; without labels, the loss is the cross-entropy against the unpruned model's predictions.
Cost: many runs.
Direction: lowest loss change first.
"""

from .criterion import Criterion, external_ranking

PRODUCED_BY = "leave_one_out(model, examples).loss_change"

CRITERION = Criterion(
    name="leave_one_out",
    label="Leave-one-out",
    needs=(),
    note="prunes heads first whose masking alone raises the loss least",
    rank=external_ranking("leave_one_out", PRODUCED_BY),
    produced_by=PRODUCED_BY,
    needs_labels=False,
    cost="many runs",
    direction="lowest loss change first",
    paper="Michel et al. 2019, arXiv 1905.10650",
)
