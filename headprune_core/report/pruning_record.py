"""The pruning record: how a model was pruned and evaluated. Model card and report are generated from it.

Values that are not known are None and are omitted from both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from headprune_core.data.measures import SHARES, format_value
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery
from headprune_core.prune.verification import PruningVerification


@dataclass(frozen=True, eq=False)
class PruningRecord:
    """How a model was pruned and evaluated.

    Attributes:
        source: unpruned model, as passed to `PrunableModel.from_pretrained`.
        mask_description: how the mask was chosen, as text.
        revision: revision of the unpruned model on the Hub.
        criterion: label of the criterion.
        alpha: weight of HIS in HIES, 0 to 1.
        sparsity: target sparsity, 0 to 1.
        calibration_data: description of the calibration set.
        evaluation_data: description of the evaluation set.
        training_data: description of the training set of recovery fine-tuning.
        reading: sentences on how the dataset was read (`ReadingPlan.describe`).
        evaluation_source: arguments of `load_examples` that load the evaluation set, or empty.
        settings: settings of the scores (`HeadScores.settings`).
        verification: evaluations of the unpruned, masked, pruned and reloaded model.
        random_baseline: evaluations of random masks of the same size.
        latency: table of `measure_latency`, with `compare` for a speedup.
        recovery: result of recovery fine-tuning; if given, the saved weights are the fine-tuned ones.
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
    reading: Sequence[str] = ()
    evaluation_source: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    verification: PruningVerification | None = None
    random_baseline: RandomBaseline | None = None
    latency: pd.DataFrame | None = None
    recovery: Recovery | None = None


@dataclass(frozen=True)
class Share:
    """An accuracy, agreement or correlation with its 95% confidence interval (Wilson, or a bootstrap for correlations).

    Attributes:
        name: "accuracy", or "agreement" if there are no labels; for regression "pearson" or "correlation".
        value: the share, 0 to 1, or the correlation.
        low: lower bound of the 95% CI.
        high: upper bound of the 95% CI.
        n: number of predictions.
    """

    name: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.text} (95% CI {self.interval})"

    @property
    def text(self) -> str:
        """The value as text: percent for a share."""
        return format_value(self.name, self.value)

    @property
    def interval(self) -> str:
        """The 95% CI as text."""
        return f"{format_value(self.name, self.low)} to {format_value(self.name, self.high)}"

    @property
    def method(self) -> str:
        """The method of the interval: "Wilson" or "bootstrap"."""
        return "Wilson" if self.name in SHARES else "bootstrap"


def share(evaluation: MaskEvaluation, which: int = 0, name: str | None = None) -> Share:
    """Return the main measure of one mask: accuracy, or agreement with the unpruned model if there are no labels.

    Args:
        evaluation: evaluation of one or more masks.
        which: index of the mask.
        name: another measure, as in `MaskEvaluation.measured`.

    Returns:
        The measure with its 95% CI.
    """
    found = evaluation.measured(name)
    value, low, high = (float(values[which]) for values in (found.value, found.low, found.high))
    return Share(found.name, value, low, high, evaluation.trials)
