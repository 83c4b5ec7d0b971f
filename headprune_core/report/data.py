"""The data of a report: head counts, evaluations of the unpruned, pruned and fine-tuned model, and paired comparisons.

All tests are paired, on the same examples (`measure.paired_tests`); without labels nothing is compared.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from headprune_core.data.measures import SHARES, format_difference
from headprune_core.data.tasks import Task, task_of
from headprune_core.masks.criteria import CRITERIA
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import compare, mcnemar
from headprune_core.measure.permutation_tests import PairedTest, token_test
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.head_scores import HeadScores

from .pruning_record import PruningRecord, Share, share

SCALED = {"layer": "within each layer", "global": "across all layers"}  # scope of scaling before scores are combined
LOSS_TOLERANCE = 1e-3  # losses of the same example under the same weights differ by less, however they were batched


@dataclass(frozen=True, eq=False)
class ClassChange:
    """Recall of one class before and after pruning.

    Attributes:
        name: name of the class.
        n: number of examples (for token classification: of tokens) of the class.
        before: recall of the unpruned model, 0 to 1.
        after: recall of the pruned model, 0 to 1.
        change: paired comparison of both.
    """

    name: str
    n: int
    before: float
    after: float
    change: PairedTest


@dataclass(frozen=True, eq=False)
class Facts:
    """The models of a report and everything known about them; (R, H) arrays use original head numbers.

    Attributes:
        model: the model before pruning.
        pruned: the pruned model.
        record: how it was pruned and evaluated.
        scores: head scores that the mask is based on.
        curves: sparsity curves.
        n_overlap: number of evaluation examples that are also in the calibration set; None if unknown.
    """

    model: PrunableModel
    pruned: PrunableModel
    record: PruningRecord
    scores: HeadScores | None = None
    curves: pd.DataFrame | None = None
    n_overlap: int | None = None

    @cached_property
    def kept(self) -> np.ndarray:
        """Kept heads, bool (R, H)."""
        return self.pruned.grid.kept

    @cached_property
    def present(self) -> np.ndarray:
        """Heads whose weights remain, bool (R, H): kept and zeroed heads."""
        return np.stack([np.isin(np.arange(row.heads), row.present) for row in self.pruned.grid.rows])

    @cached_property
    def n_heads(self) -> int:
        """Number of heads before pruning."""
        return int(self.model.grid.kept.sum())

    @cached_property
    def n_removed(self) -> int:
        """Number of heads that this pruning removed."""
        return int((self.model.grid.kept & ~self.kept).sum())

    @property
    def sparsity(self) -> float:
        """Fraction of all original heads that are removed, including heads removed earlier."""
        return float((~self.kept).mean())

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the R rows."""
        return self.model.grid.row_labels

    @cached_property
    def criterion(self) -> str | None:
        """Registered name of the record's criterion, which may be given as a name or label, with or without alpha."""
        text = (self.record.criterion or "").partition("@")[0].partition(" \N{GREEK SMALL LETTER ALPHA}")[0].strip().lower()
        return next((name for name, entry in CRITERIA.items() if text in (name, entry.label.lower())), None)

    @property
    def scaled(self) -> str:
        """Scope in which HIS and AE are scaled: "layer" or "global", according to the record's settings."""
        scope = self.record.settings.get("normalize")
        return scope if scope in SCALED else "layer"

    @property
    def removed_text(self) -> str:
        """Number of removed heads as text."""
        return f"{self.n_removed} of {self.n_heads} attention heads"

    @property
    def labeled(self) -> bool:
        """Whether the evaluation examples have labels, or tokens to predict."""
        return self.record.verification is not None and self.record.verification.unpruned.labeled

    @property
    def tokens(self) -> bool:
        """Whether the model has a prediction for each token."""
        return self.task.by_token

    @property
    def task(self) -> Task:
        """The task of the model."""
        return task_of(self.model)

    @property
    def measure(self) -> str:
        """Name of the main measure; "accuracy" without an evaluation."""
        verification = self.record.verification
        return "accuracy" if verification is None else verification.unpruned.measure

    @cached_property
    def forms(self) -> dict[str, MaskEvaluation]:
        """Evaluations on the evaluation set: unpruned, pruned and, if available, fine-tuned."""
        verification, recovery = self.record.verification, self.record.recovery
        if verification is None:
            return {}
        forms = {"unpruned": verification.unpruned, "pruned": verification.pruned}
        if recovery is not None and recovery.after is not None and same_examples(recovery.before, verification.pruned):
            forms["fine-tuned"] = recovery.after
        return forms


def agreement(masked: MaskEvaluation) -> Share:
    """Return the agreement of the masked model with the unpruned one.

    Args:
        masked: evaluation of one mask.

    Returns:
        The share of identical predictions (for regression the correlation of the outputs) with its 95% CI.
    """
    return share(masked, name=masked.task.without_labels)


def change(before: MaskEvaluation, after: MaskEvaluation) -> PairedTest:
    """Return the paired difference in the main measure of two evaluations on the same examples.

    Args:
        before: the reference.
        after: the evaluation that is compared with it.

    Returns:
        `after` minus `before`. In a McNemar test, b counts the examples that are correct only after.
    """
    return compare(after.outcomes(), before.outcomes())


def difference_text(test: PairedTest, name: str = "accuracy") -> str:
    """Return a difference with its confidence interval, in percentage points for shares.

    Args:
        test: paired comparison.
        name: the measure that was compared.

    Returns:
        Text such as "+1.4 pp (95% CI −0.3 to 3.0)", with a sign for every number but 0.
    """
    unit = " pp" if name in SHARES else ""
    return f"{signed(test.difference, name)}{unit} (95% CI {signed(test.low, name)} to {signed(test.high, name)})"


def signed(difference: float, name: str = "accuracy") -> str:
    """Return a difference with a typographic sign, in percentage points for shares."""
    text = format_difference(name, difference).removesuffix(" pp")
    return text[1:] if not text.strip("+-0.") else text.replace("-", "\N{MINUS SIGN}")


def same_examples(first: MaskEvaluation | None, other: MaskEvaluation) -> bool:
    """Return whether two evaluations of one model used the same examples in the same order."""
    if first is None or first.losses.shape != other.losses.shape:
        return False
    return bool(np.allclose(first.losses, other.losses, rtol=LOSS_TOLERANCE, atol=LOSS_TOLERANCE))


def by_class(before: MaskEvaluation, after: MaskEvaluation, names: tuple[str, ...]) -> list[ClassChange]:
    """Compare the recall of each class before and after pruning.

    Args:
        before: evaluation of the unpruned model.
        after: evaluation of the pruned model on the same examples.
        names: names of the classes.

    Returns:
        One entry per class (or label) with examples; none without labels, for regression, or if the model generates text.
    """
    if before.class_counts is not None and before.labeled:
        counts, hits = before.class_counts, (before.class_hits[0], after.class_hits[0])
        numbers = np.flatnonzero(counts.sum(0))
        tests = [token_test(hits[1][:, c], hits[0][:, c], counts[:, c]) for c in numbers]
        recalls = [[float(part[:, c].sum() / counts[:, c].sum()) for part in hits] for c in numbers]
        found = zip(numbers, recalls, tests, strict=True)
        return [ClassChange(names[c], int(counts[:, c].sum()), *recall, test) for c, recall, test in found]
    if before.labels is None or before.right is None:
        return []
    changes, labels, sets = [], before.labels, before.labels.ndim == 2
    for number, name in enumerate(names):
        members = labels[:, number] > 0 if sets else labels == number
        if members.any():
            right_before, right_after = (
                (part.logits[0][members, number] > 0 if sets else part.right[0][members].astype(bool))
                for part in (before, after)
            )
            test = mcnemar(right_after, right_before)
            changes.append(ClassChange(name, int(members.sum()), right_before.mean(), right_after.mean(), test))
    return changes
