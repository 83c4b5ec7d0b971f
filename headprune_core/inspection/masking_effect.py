"""What happens without some heads: change of loss and accuracy, and the examples whose prediction flips."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.measures import format_difference, format_value, measure_label
from headprune_core.data.tasks import Task
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import evaluate_masks
from headprune_core.measure.paired_tests import compare, method_text, significance_text
from headprune_core.measure.permutation_tests import PairedTest
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache
from headprune_core.scores.bootstrap import percentiles, resampled_means

RESAMPLES = 1_000


@dataclass(frozen=True)
class MaskingEffect:
    """Effect of masking some heads together, compared with the unpruned model.

    Attributes:
        heads: The masked heads, as (row, head).
        losses: (2, N), loss of each example with all heads and without these; nan without labels.
        values: Main measure (accuracy, 0 to 1; agreement without labels) with all heads and without these.
        measure: Name of the main measure.
        predictions: (2, N) predicted classes, or (2, N, C) label sets; None for token prediction and regression.
        probabilities: (2, N, C), of classes or labels; None like `predictions`.
        flipped: bool (N,), whether the prediction changes; None like `predictions`.
        test: Paired comparison of the main measure, without these heads minus with all; None without labels.
    """

    heads: tuple[tuple[int, int], ...]
    losses: np.ndarray
    values: tuple[float, float]
    measure: str
    predictions: np.ndarray | None
    probabilities: np.ndarray | None
    flipped: np.ndarray | None
    test: PairedTest | None

    @property
    def loss_change(self) -> tuple[float, float, float]:
        """Mean change of loss without these heads, and its 95% bootstrap CI over examples; nan without labels."""
        change = self.losses[1] - self.losses[0]
        low, high = percentiles(resampled_means(change, RESAMPLES))
        return float(change.mean()), float(low), float(high)

    def describe(self) -> list[str]:
        """Return the effect as sentences: loss, main measure with its test, and flipped predictions."""
        lines, (change, low, high) = [], self.loss_change
        n = self.losses.shape[1]
        if np.isfinite(change):
            lines.append(
                f"Change of the mean loss: {change:+.4f} (95% CI {low:+.4f} to {high:+.4f}; bootstrap over examples, "
                f"n = {n:,})."
            )
        if self.test is not None:
            before, after = (format_value(self.measure, value) for value in self.values)
            ends = (format_difference(self.measure, value) for value in (self.test.low, self.test.high))
            interval = " to ".join(end.removesuffix(" pp") for end in ends)
            difference = format_difference(self.measure, self.test.difference)
            lines.append(
                f"{measure_label(self.measure)}: {before} with all heads, {after} without. Difference: {difference} (95% CI "
                f"{interval}), {significance_text(self.test)} ({method_text(self.test)})."
            )
        if self.flipped is not None:
            lines.append(f"The prediction changes on {int(self.flipped.sum()):,} of {n:,} examples.")
        return lines

    def flips(self, examples: datasets.Dataset, labels: list[str]) -> pd.DataFrame:
        """Return the examples whose prediction flips.

        Args:
            examples: The evaluated examples.
            labels: Names of the classes.

        Returns:
            One row per example: example, text (if there is one), before and after (class names), probability_before and
            probability_after (of the class predicted before).

        Raises:
            HeadPruneError: If examples do not have one predicted class each.
        """
        if self.predictions is None or self.predictions.ndim != 2:
            raise HeadPruneError("flips require a model with one predicted class per example")
        number = np.flatnonzero(self.flipped)
        before, after = self.predictions[:, number]
        table = {"example": number}
        if "text" in examples.column_names:
            table["text"] = [examples[int(i)]["text"] for i in number]
        table |= {"before": [labels[c] for c in before], "after": [labels[c] for c in after]}
        for name, probabilities in zip(("probability_before", "probability_after"), self.probabilities, strict=True):
            table[name] = probabilities[number, before]
        return pd.DataFrame(table)


def masking_effect(
    model: PrunableModel,
    examples: datasets.Dataset,
    heads: Iterable[tuple[int, int]],
    *,
    batch_size: int = 32,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> MaskingEffect:
    """Mask some heads together and compare the model with the unpruned one.

    Args:
        model: The model.
        examples: Evaluation examples, with or without labels.
        heads: The heads as (row, head); at least one.
        batch_size: Maximum batch size.
        cache: Results are read from it and stored in it.
        progress: Called as progress(done, total, note); raise `Cancelled` in it to stop.

    Returns:
        The effect on loss, main measure and predictions.

    Raises:
        HeadPruneError: If there are no heads, or the model has no such head.

    Example:
        >>> effect = masking_effect(model, examples, [(4, 9)])
        >>> effect.flips(examples, model.labels)
    """
    heads = tuple(dict.fromkeys((int(row), int(head)) for row, head in heads))
    if not heads:
        raise HeadPruneError("heads must name at least one head as (row, head), got none")
    rows, per_row = model.grid.shape
    masks = np.ones((2, rows, per_row), bool)
    for row, head in heads:
        if not (0 <= row < rows and 0 <= head < per_row):
            raise HeadPruneError(
                f"the model has no head {head} in row {row}; rows are 0 to {rows - 1}, heads 0 to {per_row - 1}"
            )
        masks[1, row, head] = False
    found = evaluate_masks(model, examples, masks, batch_size=batch_size, cache=cache, progress=progress)
    values = tuple(float(value) for value in found.main_value)
    predictions = probabilities = flipped = None
    if found.logits is not None and found.task.has_decisions:
        logits = torch.from_numpy(found.logits)
        decided = found.task.decisions(logits)
        flipped = ~found.task.same(decided[0], decided[1]).numpy()
        predictions, probabilities = decided.numpy(), _probabilities(found.task, logits).numpy()
    test = compare(found.outcomes(1), found.outcomes(0)) if found.labeled else None
    return MaskingEffect(heads, found.losses, values, found.measure, predictions, probabilities, flipped, test)


def _probabilities(task: Task, logits: torch.Tensor) -> torch.Tensor:
    return logits.sigmoid() if task.name == "multi_label" else logits.softmax(-1)
