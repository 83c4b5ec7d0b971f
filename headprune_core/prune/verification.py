"""Masked, pruned and reloaded: one model in three forms, on the same examples, and how far apart their answers are.

Surgery promises the masked model's logits up to rounding. This measures it where the user cares, on their own texts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import datasets
import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.model.prunable_model import PrunableModel


@dataclass(frozen=True, eq=False)
class PruningVerification:
    """The unpruned model, the masked, the pruned and (if given) the reloaded one on the same examples, one mask each.

    Agreement and correlation of all of them are those with the unpruned model.

    difference: the largest between any logit of the masked model and of the others; where tokens are predicted, between the
    losses of an example. equal: share of examples that all of them decide alike (tokens: have the same share right).
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
    """Run `model` whole and with the heads masked that `pruned` has lost, `pruned`, and `reloaded` on all `examples`.

    Raises HeadPruneError where `pruned` or `reloaded` is no smaller form of `model`.
    """
    for other in (pruned, reloaded):
        if other is not None and (other.grid.row_names != model.grid.row_names or other.grid.shape != model.grid.shape):
            raise HeadPruneError(
                f"a model of {other.grid.shape} heads was given as a pruned form of one of {model.grid.shape}; expected "
                "rows of the same names and heads"
            )
    whole = np.ones(model.grid.shape, bool)

    def run(some: PrunableModel, mask: np.ndarray) -> MaskEvaluation:
        return evaluate_masks(some, examples, mask[None], batch_size=batch_size, progress=progress)

    before, masked = run(model, whole), run(model, pruned.grid.kept)
    others = [_held_against(before, run(other, whole), masked) for other in (pruned, reloaded) if other is not None]
    answers = [found.losses if found.logits is None else found.logits for found in (masked, *others)]
    decided = [found.right if found.logits is None else found.logits.argmax(-1) for found in (masked, *others)]
    difference = max(float(np.abs(found - answers[0]).max()) for found in answers[1:])
    equal = np.all([found == decided[0] for found in decided], axis=0)
    return PruningVerification(
        before, masked, others[0], others[1] if len(others) > 1 else None, difference, float(equal.mean())
    )


def _held_against(before: MaskEvaluation, found: MaskEvaluation, masked: MaskEvaluation) -> MaskEvaluation:
    """What another model than the unpruned one answered, with agreement and correlation as against that one.

    Where tokens are predicted, answers to compare are not kept: there they are the masked model's, equal up to rounding.
    """
    if found.logits is None:
        return replace(found, agreement=masked.agreement, correlation=masked.correlation)
    equal = found.logits.argmax(-1) == before.logits.argmax(-1)
    apart = np.array([np.corrcoef(found.logits[0].ravel(), before.logits[0].ravel())[0, 1]])
    right = found.right if np.isfinite(found.accuracy[0]) else equal.astype(float)
    return replace(found, agreement=equal.mean(1), correlation=apart, right=right)
