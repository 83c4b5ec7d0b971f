"""What a model is worth before and after recovery, on examples that it does not learn from."""

from collections.abc import Callable
from dataclasses import replace

import datasets
import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel


class BeforeAfterEvaluator:
    """Examples to judge by, or none, and the teacher whose answers are compared with, or none.

    passes: forward passes of a model over the examples. Raises HeadPruneError where there is nothing to compare with.
    """

    def __init__(
        self,
        model: PrunableModel,
        examples: datasets.Dataset | None,
        teacher: PrunableModel | None,
        batch_size: int,
    ):
        classifies = model.task == "classification"
        if examples is not None and classifies and teacher is None and "label" not in examples.column_names:
            raise HeadPruneError(
                "the examples to judge by have no labels; give a label column, or the unpruned model as the teacher, to "
                "measure how often they agree"
            )
        self.passes = 0 if examples is None else -(-len(examples) // batch_size)
        self._examples, self._batch_size = examples, batch_size
        self._teacher = teacher if classifies else None
        self._expected: np.ndarray | None = None

    def of(self, model: PrunableModel, report: Callable[[int], None]) -> MaskEvaluation | None:
        """What `model` is worth, as one mask; report(passes done) meanwhile. None without examples.

        agreement and correlation are those with the teacher's answers, nan without one and where tokens are predicted.
        """
        if self._examples is None:
            return None
        if self._teacher is not None and self._expected is None:
            self._expected = self._run(self._teacher, lambda done: report(0)).logits
        found = self._run(model, report)
        if self._expected is None:
            return replace(found, agreement=np.full(1, np.nan), correlation=np.full(1, np.nan))
        equal = found.logits.argmax(-1) == self._expected.argmax(-1)
        together = np.corrcoef(found.logits.ravel(), self._expected.ravel())[:1, 1]
        right = equal.astype(float) if np.isnan(found.accuracy[0]) else found.right
        return replace(found, agreement=equal.mean(1), correlation=together, right=right)

    def _run(self, model: PrunableModel, report: Callable[[int], None]) -> MaskEvaluation:
        def progress(done: int, total: int, note: str) -> None:
            report(self.passes * done // total)

        whole = np.ones((1, *model.grid.shape), bool)
        return evaluate_masks(model, self._examples, whole, batch_size=self._batch_size, progress=progress)
