"""What a report counts and compares: heads before and after, and answers of the unpruned, pruned and recovered model.

All tests are paired, on the same texts (`paired_tests.py`); nothing is compared where there are no labels to be right about.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from headprune_core.masks.criteria import CRITERIA
from headprune_core.measure.curves import wilson
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.measure.paired_tests import McNemar, ShareDifference, mcnemar, share_difference
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.head_scores import HeadScores

from .pruning_record import PruningRecord, Share

SCALED = {"layer": "within each layer", "global": "over the whole model"}  # scores, before they are mixed
SAME = 1e-3  # of losses of the same texts under the same weights, however they were batched


@dataclass(frozen=True, eq=False)
class ClassChange:
    """One class: how many texts, the share of them right before and after, and the paired comparison."""

    name: str
    texts: int
    before: float
    after: float
    change: McNemar


@dataclass(frozen=True, eq=False)
class Facts:
    """The models and all that is known of them. (R, H) arrays are in original head numbers."""

    model: PrunableModel
    pruned: PrunableModel
    record: PruningRecord
    scores: HeadScores | None = None
    curves: pd.DataFrame | None = None
    n_overlap: int | None = None

    @cached_property
    def kept(self) -> np.ndarray:
        return self.pruned.grid.kept

    @cached_property
    def present(self) -> np.ndarray:
        return np.stack([np.isin(np.arange(row.heads), row.present) for row in self.pruned.grid.rows])

    @cached_property
    def there(self) -> int:
        """Heads of the model before."""
        return int(self.model.grid.kept.sum())

    @cached_property
    def removed(self) -> int:
        return int((self.model.grid.kept & ~self.kept).sum())

    @property
    def sparsity(self) -> float:
        """The share of all heads, removed earlier included, that is gone now: what regimes and curves go by."""
        return float((~self.kept).mean())

    @property
    def labels(self) -> tuple[str, ...]:
        return self.model.grid.row_labels

    @cached_property
    def criterion(self) -> str | None:
        """The name in the registry of the record's criterion, which may also be its label, with or without an alpha."""
        told = (self.record.criterion or "").partition("@")[0].partition(" \N{GREEK SMALL LETTER ALPHA}")[0].strip().lower()
        return next((name for name, its in CRITERIA.items() if told in (name, its.label.lower())), None)

    @property
    def scaled(self) -> str:
        """Over what importance and entropy are scaled: "layer" or "global", as the record's settings say."""
        told = self.record.settings.get("normalize")
        return told if told in SCALED else "layer"

    @property
    def heads_of(self) -> str:
        return f"{self.removed} of {self.there} attention heads"

    @property
    def labelled(self) -> bool:
        """Whether the texts of the proof have labels, or tokens to predict."""
        return self.record.verification is not None and not np.isnan(self.record.verification.unpruned.accuracy[0])

    @property
    def tokens(self) -> bool:
        return self.model.task != "classification"

    @cached_property
    def forms(self) -> dict[str, MaskEvaluation]:
        """The models that were measured on the texts of the proof, by what they are called."""
        verification, recovery = self.record.verification, self.record.recovery
        if verification is None:
            return {}
        found = {"unpruned": verification.unpruned, "pruned": verification.pruned}
        if recovery is not None and recovery.after is not None and same_texts(recovery.before, verification.pruned):
            found["after the fine-tune"] = recovery.after
        return found


def agreement(found: MaskEvaluation) -> Share:
    """The share of a masked model's answers that are the unpruned model's."""
    value = float(found.agreement[0])
    low, high = wilson(round(value * found.trials), found.trials)
    return Share("agreement", value, float(low), float(high), found.trials)


def change(before: MaskEvaluation, after: MaskEvaluation) -> McNemar | ShareDifference:
    """`after` less `before` on the same texts; b of McNemar's are right after alone."""
    if after.logits is None:
        return share_difference(after.right[0], before.right[0])
    return mcnemar(after.right[0].astype(bool), before.right[0].astype(bool))


def points(found: McNemar | ShareDifference) -> str:
    """A difference with its interval, in percentage points."""
    return f"{signed(found.difference)} points (95 % interval {signed(found.low)} to {signed(found.high)})"


def signed(share: float) -> str:
    """A difference of shares in points, with a sign that reads as one."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\N{MINUS SIGN}")


def same_texts(first: MaskEvaluation | None, other: MaskEvaluation) -> bool:
    """Whether two evaluations of one model were of the same texts in the same order."""
    if first is None or first.losses.shape != other.losses.shape:
        return False
    return bool(np.allclose(first.losses, other.losses, rtol=SAME, atol=SAME))


def by_class(before: MaskEvaluation, after: MaskEvaluation, names: tuple[str, ...]) -> list[ClassChange]:
    """Every class that has a text; none where tokens are predicted or there are no labels."""
    if before.logits is None or np.isnan(before.losses).any():
        return []
    # the label is the class whose loss an example has
    apart = np.abs(before.losses[0][:, None] + log_softmax(before.logits[0], -1))
    label = apart.argmin(-1)
    found = []
    for number, name in enumerate(names):
        of_it = label == number
        if of_it.any():
            was, now = (some.right[0][of_it].astype(bool) for some in (before, after))
            found.append(ClassChange(name, int(of_it.sum()), was.mean(), now.mean(), mcnemar(now, was)))
    return found
