"""Evaluation of a model before and after recovery fine-tuning, on an evaluation set that is not trained on."""

from collections.abc import Callable
from dataclasses import replace

import datasets
import numpy as np

from headprune_core.data.tasks import has_targets, task_of
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.measure.mask_evaluation import compared
from headprune_core.model.prunable_model import PrunableModel


class BeforeAfterEvaluator:
    """Evaluate a model on a fixed evaluation set and measure its agreement with a teacher.

    Attributes:
        passes: number of batches of one evaluation; 0 without an evaluation set.
    """

    def __init__(
        self,
        model: PrunableModel,
        examples: datasets.Dataset | None,
        teacher: PrunableModel | None,
        batch_size: int,
    ):
        keeps_logits = not task_of(model).by_token
        if examples is not None and teacher is None and not has_targets(model, examples.column_names):
            raise HeadPruneError(
                "the evaluation set has no labels; add a label column, or pass the unpruned model as teacher to measure "
                "agreement"
            )
        if examples is not None and not keeps_logits and not has_targets(model, examples.column_names):
            examples = None  # predictions for tokens are not kept, so two models cannot be compared without labels
        self.passes = 0 if examples is None else -(-len(examples) // batch_size)
        self._examples, self._batch_size = examples, batch_size
        self._teacher = teacher if keeps_logits else None
        self._expected: np.ndarray | None = None

    def of(self, model: PrunableModel, report: Callable[[int], None]) -> MaskEvaluation | None:
        """Evaluate a model.

        Args:
            model: model to evaluate with all heads that it has.
            report: called with the number of batches done.

        Returns:
            The evaluation as one mask, or None without an evaluation set. `agreement` and `correlation` compare with the
            teacher; they are NaN without a teacher and for models that predict tokens.
        """
        if self._examples is None:
            return None
        if self._teacher is not None and self._expected is None:
            self._expected = self._run(self._teacher, lambda done: report(0)).logits
        result = self._run(model, report)
        if self._expected is None:
            return replace(result, agreement=np.full(1, np.nan), correlation=np.full(1, np.nan))
        return compared(result, self._expected[0])

    def _run(self, model: PrunableModel, report: Callable[[int], None]) -> MaskEvaluation:
        def progress(done: int, total: int, note: str) -> None:
            report(self.passes * done // total)

        all_heads = np.ones((1, *model.grid.shape), bool)
        return evaluate_masks(model, self._examples, all_heads, batch_size=self._batch_size, progress=progress)
