"""The record of a pruning: what was done to a model and what was found, all that its card and its report tell.

Whatever is not known is None, and is left out of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from headprune_core.measure.curves import wilson
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery
from headprune_core.prune.verification import PruningVerification


@dataclass(frozen=True, eq=False)
class PruningRecord:
    """What is known of how a pruned model came about.

    source, revision: the model that heads were taken out of, as `PrunableModel.from_pretrained` takes it. chosen: how the
    heads were chosen, in words. criterion: its label for people; alpha: of HIES; sparsity: the share that was asked for, 0
    to 1. calibration_data, evaluation_data, training_data: the examples, in words, the last those of a fine-tune. evaluation_source: the
    arguments of `load_examples` that give those measured on again, empty where none do. settings: of the scores
    (`HeadScores.settings`). proof: masked, pruned and reloaded on the same examples. control: as many random heads.
    latency: `measure_latency` with the unpruned model to compare. recovery: a fine-tune after surgery, of which the saved
    weights are the outcome.
    """

    source: str
    mask_description: str
    revision: str | None = None
    criterion: str | None = None
    alpha: float | None = None
    sparsity: float | None = None
    calibration_data: str | None = None
    evaluation_data: str | None = None
    training_data: str | None = None
    evaluation_source: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    verification: PruningVerification | None = None
    random_baseline: RandomBaseline | None = None
    latency: pd.DataFrame | None = None
    recovery: Recovery | None = None


@dataclass(frozen=True)
class Share:
    """A share of answers with its 95 % Wilson interval, all 0 to 1. name: "accuracy", or "agreement" without labels."""

    name: str
    value: float
    low: float
    high: float
    answers: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def share(found: MaskEvaluation, which: int = 0) -> Share:
    """The main measure of one of an evaluation's masks."""
    name = "agreement" if np.isnan(found.accuracy[which]) else "accuracy"
    value = float(getattr(found, name)[which])
    low, high = wilson(round(value * found.trials), found.trials)
    return Share(name, value, float(low), float(high), found.trials)
