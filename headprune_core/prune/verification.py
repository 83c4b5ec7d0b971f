"""Equivalence check: compare the masked, the pruned and the reloaded model on the user's examples.

Structural pruning should give the logits of the masked model up to floating-point rounding. This module measures the
difference; it is an empirical check on the given examples.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import datasets
import numpy as np
import torch

from headprune_core.data.encoded import Encoded
from headprune_core.data.encoding import encode
from headprune_core.data.tasks import task_of
from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks, masked_logits
from headprune_core.measure.mask_evaluation import compared
from headprune_core.model.prunable_model import PrunableModel

SAME_OUTPUT = 1e-3  # share of the largest output of a regression model


@dataclass(frozen=True, eq=False)
class PruningVerification:
    """Evaluations of the unpruned, masked, pruned and reloaded model on the same examples, one mask each.

    `agreement` and `correlation` of every evaluation compare with the unpruned model.

    Attributes:
        unpruned: the model with all heads.
        masked: the model with the pruned heads masked.
        pruned: the pruned model.
        reloaded: the pruned model after saving and loading; None if it was not given.
        max_logit_difference: largest difference between a logit of the masked model and of the others; for models that
            generate text, between the losses (nats) of an example.
        prediction_match: share of examples (0 to 1) on which masked, pruned and reloaded predict the same class, labels or
            tags; for models that generate text, on which they have the same token accuracy; for regression, on which their
            outputs differ by at most `SAME_OUTPUT` of the largest output.
    """

    unpruned: MaskEvaluation
    masked: MaskEvaluation
    pruned: MaskEvaluation
    reloaded: MaskEvaluation | None
    max_logit_difference: float
    prediction_match: float


def verify_pruning(
    model: PrunableModel,
    pruned: PrunableModel,
    examples: datasets.Dataset,
    *,
    reloaded: PrunableModel | None = None,
    batch_size: int = 32,
    progress: Callable[[int, int, str], None] | None = None,
) -> PruningVerification:
    """Evaluate the unpruned, masked, pruned and reloaded model on the same examples and compare them.

    Args:
        model: unpruned model.
        pruned: model that `prune_heads` returned for `model`.
        examples: evaluation examples.
        reloaded: `pruned` after `save_pretrained` and `from_pretrained`, if it is to be checked too.
        batch_size: examples per batch.
        progress: called as progress(done, total, note).

    Returns:
        The evaluations, the largest logit difference and the share of identical predictions.

    Raises:
        HeadPruneError: if `pruned` or `reloaded` has another head grid than `model`.
    """
    for other in (pruned, reloaded):
        if other is not None and (other.grid.row_names != model.grid.row_names or other.grid.shape != model.grid.shape):
            raise HeadPruneError(
                f"the two models have different head grids: {model.grid.shape} and {other.grid.shape}; pass a pruned form "
                "of the unpruned model"
            )
    all_heads = np.ones(model.grid.shape, bool)

    def run(some_model: PrunableModel, mask: np.ndarray) -> MaskEvaluation:
        return evaluate_masks(some_model, examples, mask[None], batch_size=batch_size, progress=progress)

    unpruned, masked = run(model, all_heads), run(model, pruned.grid.kept)
    others = [_compare(unpruned, run(other, all_heads), masked) for other in (pruned, reloaded) if other is not None]
    if task_of(model).name == "token_classification":
        pairs = [(model, pruned.grid.kept), (pruned, all_heads), *([] if reloaded is None else [(reloaded, all_heads)])]
        difference, match = _token_differences(pairs, encode(model, examples), batch_size)
        return PruningVerification(unpruned, masked, others[0], others[1] if len(others) > 1 else None, difference, match)
    outputs = [result.losses if result.logits is None else result.logits for result in (masked, *others)]
    difference = max(float(np.abs(output - outputs[0]).max()) for output in outputs[1:])
    equal = np.all([_same(result, masked) for result in others], axis=0)
    return PruningVerification(
        unpruned, masked, others[0], others[1] if len(others) > 1 else None, difference, float(equal.mean())
    )


def _compare(unpruned: MaskEvaluation, result: MaskEvaluation, masked: MaskEvaluation) -> MaskEvaluation:
    """Return `result` with agreement and correlation relative to the unpruned model.

    Logits of token predictions are not stored, so the values of the masked model, equal up to rounding, are used there.
    """
    if result.logits is None:
        return replace(result, agreement=masked.agreement, correlation=masked.correlation)
    return compared(result, unpruned.logits[0])


def _token_differences(
    forms: list[tuple[PrunableModel, np.ndarray]], encoded: Encoded, batch_size: int
) -> tuple[float, float]:
    """Compare the logits of a token classifier in several forms with the first form.

    Args:
        forms: models and their masks.
        encoded: the examples.
        batch_size: examples per batch.

    Returns:
        The largest difference of a logit, and the share of examples in which all counted tokens have equal predictions.
    """
    difference, equal = 0.0, 0
    for batch in encoded.batches(batch_size, forms[0][0].device):
        first, *others = (masked_logits(model, batch, mask) for model, mask in forms)
        same = torch.ones(len(batch), dtype=torch.bool, device=first.device)
        for logits in others:
            difference = max(difference, float((logits - first)[batch.real].abs().max()))
            same &= ((logits.argmax(-1) == first.argmax(-1)) | ~batch.predicted).all(-1)
        equal += int(same.sum())
    return difference, equal / len(encoded)


def _same(result: MaskEvaluation, masked: MaskEvaluation) -> np.ndarray:
    """Return on which examples a form of the model predicts the same as the masked model, bool (1, N)."""
    if result.logits is None:
        return result.right == masked.right
    if not result.task.has_decisions:
        tolerance = SAME_OUTPUT * max(float(np.abs(masked.logits).max()), 1e-30)
        return (np.abs(result.logits - masked.logits) <= tolerance).all(-1)
    decisions = (result.task.decisions(torch.from_numpy(one.logits)) for one in (result, masked))
    return result.task.same(*decisions).numpy()
