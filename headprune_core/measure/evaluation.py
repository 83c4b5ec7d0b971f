"""Evaluation of a model under many masks: logits, accuracy, loss, and agreement with the unpruned model.

A pruned head's output is multiplied by zero before the output projection, which is equivalent to structural pruning. Equal
masks are evaluated once, and masks share the computation below their first difference (`forward_cache`). The result of a
mask on a batch is deterministic, so it can be stored in a `ResultCache`, and a cancelled run can be resumed.
"""

from collections.abc import Callable, Iterator

import datasets
import numpy as np
import torch

from headprune_core.checked_mask import checked_mask
from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoded import Encoded
from headprune_core.data.encoding import encode
from headprune_core.data.entities import entity_tags
from headprune_core.data.tasks import task_of
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cache import ForwardCache, cache_friendly_order, use_forward_cache
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.result_cache import ResultCache, fingerprint
from headprune_core.scores.evaluation_cost import evaluation_token_limit
from headprune_core.scores.score_checks import cause_of_non_finite

from .mask_evaluation import MaskEvaluation, evaluation_measures
from .token_results import SUMS, stored_width, token_results


@runs_models
def evaluate_masks(
    model: PrunableModel,
    examples: datasets.Dataset,
    masks,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    on_partial: Callable[[MaskEvaluation], None] | None = None,
) -> MaskEvaluation:
    """Evaluate a model under several pruning masks.

    Args:
        model: the model; heads that structural pruning has removed stay pruned, regardless of the masks.
        examples: evaluation examples.
        masks: bool (M, R, H), True = kept.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, "float32" or "bfloat16"; None uses the model's.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note); whatever it raises cancels the run.
        on_partial: called with the results on the examples done so far, after every batch except the last.

    Returns:
        The results on all examples.

    Raises:
        HeadPruneError: if `masks` are not masks of the model's heads, or if a logit is not finite.
    """
    masks = checked_mask(masks, ("M", *model.grid.shape), name="masks")
    if not len(masks):
        raise HeadPruneError("masks must contain at least one mask, got none")
    unpruned = np.ones((1, *model.grid.shape), bool)
    masks = np.concatenate([unpruned, masks]) & model.grid.kept
    distinct, which = np.unique(masks, axis=0, return_inverse=True)
    which = which.ravel()
    encoded = encode(model, examples)
    width = stored_width(encoded.task, model.model.config.num_labels)
    stored = np.empty((len(distinct), len(encoded), width))
    evaluator = _Evaluator(model.in_precision(dtype), distinct, width, cache)
    done: list[int] = []

    def report(at: int) -> None:
        if progress is not None:
            progress(at, len(distinct) * len(encoded), "Measuring accuracy")

    report(0)
    for batch in _batches(model, encoded, batch_size, dtype):
        for number, (mask, values) in enumerate(evaluator.results(batch), start=1):
            stored[mask, batch.index] = values
            report(len(done) * len(distinct) + number * len(batch))
        done.extend(batch.index.tolist())
        if on_partial is not None and len(done) < len(encoded):
            on_partial(evaluation_measures(model, encoded, stored, which, np.sort(done)))
    return evaluation_measures(model, encoded, stored, which, np.arange(len(encoded)))


def _batches(model: PrunableModel, encoded: Encoded, batch_size: int, dtype: str | None) -> Iterator[Batch]:
    """Yield batches shuffled, so that partial results are representative of all lengths."""
    limit = evaluation_token_limit(model, int(encoded.lengths.max()), dtype)
    packed = encoded.packed(batch_size, limit, model.device)
    for number in np.random.default_rng(0).permutation(len(packed)):
        yield encoded.batch(packed[number], model.device)


class _Evaluator:
    """Results of all masks on a batch, from the cache or from the model."""

    def __init__(self, model: PrunableModel, masks: np.ndarray, width: int, cache: ResultCache | None):
        self._model, self._masks, self._width, self._cache = model, masks, width, cache
        self._order = cache_friendly_order(model.grid, masks)  # the unpruned model is the first
        self._tokens, self._tags = task_of(model).by_token, entity_tags(model)
        counted = () if self._tags is None else ("entities",)
        counted += ("classes",) if self._tokens and not task_of(model).generates else ()
        self._key = () if cache is None else (model.fingerprint, *counted)

    def results(self, batch: Batch) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of a mask, its results (n, width)), in any order of the masks."""
        if self._cache is None:
            yield from self._computed(batch, self._order)
            return
        text = fingerprint(*self._key, *batch.content())
        keys = {number: fingerprint(text, self._masks[number]) for number in self._order}
        known = self._cache.get(keys.values(), shape=(len(batch), self._width))
        for number in self._order:
            if keys[number] in known:
                yield number, known[keys[number]]
        missing = [number for number in self._order if keys[number] not in known]
        with self._cache.committing():
            for number, values in self._computed(batch, missing):
                self._cache.put(keys[number], values)
                yield number, values

    def _computed(self, batch: Batch, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        caches: dict[bytes, ForwardCache] = {}
        reference = None
        if numbers and self._tokens:  # every prediction is compared with the unpruned model's
            reference = self._logits(batch, self._order[0], caches)
        for number in numbers:
            if self._tokens and number == self._order[0]:
                yield number, self._checked(self._reduced(batch, reference, reference), batch, number)
                continue
            # No name holds the logits of a mask, so they are released before those of the next one are computed.
            yield number, self._checked(self._reduced(batch, self._logits(batch, number, caches), reference), batch, number)

    def _reduced(self, batch: Batch, logits: torch.Tensor, reference: torch.Tensor | None) -> np.ndarray:
        return token_results(batch, logits, reference, self._tags) if self._tokens else logits.double().cpu().numpy()

    def _checked(self, values: np.ndarray, batch: Batch, number: int) -> np.ndarray:
        """Return the results (n, width) of a mask; raise HeadPruneError if a logit is not finite."""
        bad = np.flatnonzero(~np.isfinite(values[:, SUMS] if self._tokens else values).all(-1))
        if len(bad):
            cause = cause_of_non_finite(self._model, lambda: masked_logits(self._model, batch, self._masks[number]))
            raise HeadPruneError(f"the logits of example {int(batch.index[bad[0]])} are not finite; {cause}")
        return values

    def _logits(self, batch: Batch, number: int, caches: dict[bytes, ForwardCache]) -> torch.Tensor:
        def run(part: Batch) -> torch.Tensor:
            # A batch that does not fit in memory has one cache for each part.
            forward_cache = caches.setdefault(part.index.tobytes(), ForwardCache())
            return masked_logits(self._model, part, self._masks[number], forward_cache)

        parts = [logits for _, logits in in_parts(batch, run)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@torch.no_grad()
def masked_logits(
    model: PrunableModel, batch: Batch, mask: np.ndarray, forward_cache: ForwardCache | None = None
) -> torch.Tensor:
    """Compute the logits of one batch under a pruning mask.

    Args:
        model: the model.
        batch: n examples.
        mask: bool (R, H), True = kept.
        forward_cache: module outputs of earlier forward passes on this batch; updated.

    Returns:
        float32 logits, (n, C), or (n, T, C) for token prediction.
    """
    hooks = AttentionHooks(gates=gates(model, mask))
    forward_cache = ForwardCache() if forward_cache is None else forward_cache
    with use_hooks(hooks), use_forward_cache(forward_cache, model.grid, mask, hooks), FrozenLinear(model.packed):
        return model.logits(batch.inputs).float()


def gates(model: PrunableModel, mask: np.ndarray) -> dict[torch.nn.Module, torch.Tensor]:
    """Return the factors on head outputs that apply a pruning mask.

    Args:
        model: the model.
        mask: bool (R, H), True = kept.

    Returns:
        For each attention module with a pruned head: factors (present heads, 1), 1 = kept, 0 = pruned.
    """
    rows = [(row.module, kept[row.present]) for row, kept in zip(model.grid.rows, mask, strict=True)]
    return {module: torch.tensor(kept, device=model.device)[:, None] for module, kept in rows if not kept.all()}
