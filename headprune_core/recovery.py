"""Recovery: a short fine-tune of a pruned model, which lets the heads that are left take over what the others did."""

from dataclasses import dataclass

import numpy as np

from .evaluation import MaskEvaluation


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a fine-tune took and gave.

    steps: updates made, of `planned`. examples: how many were learned from, `batch_size` a step. objective: "labels" or
    "teacher". rate: the highest learning rate. seconds: of training alone. loss (steps,): of each update. before, after: the
    pruned model on the examples it is judged by; None where there are none.
    """

    steps: int
    planned: int
    examples: int
    batch_size: int
    objective: str
    rate: float
    seconds: float
    loss: np.ndarray
    before: MaskEvaluation | None = None
    after: MaskEvaluation | None = None
