"""A model under many masks: what it answers, how well, and how far from the unpruned model.

A removed head's output is multiplied by zero before the output projection, which is what surgery does for good. Equal masks
are run once, and what masks share below their first difference is computed once (`recall.py`). The unpruned model is always
run too, as the one that agreement and correlation compare with. What a mask gives on a batch depends on nothing else, to the
last bit: so answers can be kept in a `ResultCache`, and a run that was cut short goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from scipy.special import log_softmax

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoded import Encoded
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cache import ForwardCache, cache_friendly_order, use_forward_cache
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache, fingerprint
from headprune_core.scores.objectives import predictions, token_losses

# What is kept of an example where tokens are predicted: how many answers are right, how many the unpruned model's, of how
# many; the loss; six sums (n, x, y, xx, yy, xy) of logits x and the unpruned model's y. Of a classified one: its logits.
RIGHT, EQUAL, TRIALS, LOSS, SUMS = 0, 1, 2, 3, slice(4, 10)


@dataclass(frozen=True)
class MaskEvaluation:
    """Results by mask. M masks, N examples, C classes.

    accuracy: share of right answers, nan without labels; of right tokens where tokens are predicted. loss: mean
    cross-entropy, likewise, and losses (M, N) that of each example. agreement: share of answers equal to the unpruned
    model's. correlation: Pearson of all logits with the unpruned model's. trials: how many answers accuracy is a share of.
    right (M, N): share of an example's answers that are right; without labels, that are the unpruned model's. recall (M, C):
    accuracy by class, nan where a class has no example. logits (M, N, C). The last two: None where tokens are predicted.
    """

    logits: np.ndarray | None
    accuracy: np.ndarray
    loss: np.ndarray
    losses: np.ndarray
    agreement: np.ndarray
    correlation: np.ndarray
    trials: int
    right: np.ndarray
    recall: np.ndarray | None


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
    """Run `model` under each of `masks` (M, R, H), True = kept, on all `examples`.

    dtype "bfloat16" runs the matrix products in that precision; None as loaded. store: where answers are looked up before
    they are computed, and kept. on_partial is given the results on the examples done so far (all masks alike) after every batch
    but the last. Heads that surgery has removed are gone, whatever a mask says of them. Raises HeadPruneError for masks of
    another shape.
    """
    masks = np.asarray(masks, bool)
    if masks.ndim != 3 or masks.shape[1:] != model.grid.shape or len(masks) == 0:
        raise HeadPruneError(f"masks have shape {masks.shape}; expected (M, {model.grid.shape[0]}, {model.grid.shape[1]})")
    whole = np.ones((1, *model.grid.shape), bool)
    masks = np.concatenate([whole, masks]) & model.grid.kept
    distinct, which = np.unique(masks, axis=0, return_inverse=True)
    which = which.ravel()
    encoded = encode(model, examples)
    width = model.model.config.num_labels if model.task == "classification" else SUMS.stop
    answers = np.empty((len(distinct), len(encoded), width))
    runs = _Runs(model.in_precision(dtype), distinct, cache)
    done: list[int] = []

    def report(at: int) -> None:
        if progress is not None:
            progress(at, len(distinct) * len(encoded), "Measuring accuracy")

    report(0)
    for batch in _batches(model, encoded, batch_size, dtype):
        for number, (mask, values) in enumerate(runs.of(batch), start=1):
            answers[mask, batch.index] = values
            report(len(done) * len(distinct) + number * len(batch))
        done.extend(batch.index.tolist())
        if on_partial is not None and len(done) < len(encoded):
            on_partial(_measured(model, encoded, answers, which, np.sort(done)))
    return _measured(model, encoded, answers, which, np.arange(len(encoded)))


def _batches(model: PrunableModel, encoded: Encoded, batch_size: int, dtype: str | None) -> Iterator[Batch]:
    """Batches in an order that has nothing to do with their lengths, so that the first ones speak for all."""
    packed = encoded.packed(batch_size, token_limit(model, dtype), model.device)
    for number in np.random.default_rng(0).permutation(len(packed)):
        yield encoded.batch(packed[number], model.device)


class _Runs:
    """The answers of all masks to one batch after another, from the store or from the model."""

    def __init__(self, model: PrunableModel, masks: np.ndarray, cache: ResultCache | None):
        self._model, self._masks, self._store = model, masks, cache
        self._order = cache_friendly_order(model.grid, masks)  # the unpruned model comes first
        self._tokens = model.task != "classification"

    def of(self, batch: Batch) -> Iterator[tuple[int, np.ndarray]]:
        """(number of a mask, its answers (n, width)), mask after mask in an order of its own."""
        if self._store is None:
            yield from self._computed(batch, self._order)
            return
        text = fingerprint(self._model.fingerprint, *batch.content())
        keys = {number: fingerprint(text, self._masks[number]) for number in self._order}
        known = self._store.get(keys.values())
        for number in self._order:
            if keys[number] in known:
                yield number, known[keys[number]]
        missing = [number for number in self._order if keys[number] not in known]
        with self._store.committing():
            for number, values in self._computed(batch, missing):
                self._store.put(keys[number], values)
                yield number, values

    def _computed(self, batch: Batch, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        recalls: dict[bytes, ForwardCache] = {}
        reference = None
        if numbers and self._tokens:  # every answer is compared with the unpruned model's
            reference = self._logits(batch, self._order[0], recalls)
        for number in numbers:
            if self._tokens and number == self._order[0]:
                yield number, token_answers(batch, reference, reference)
                continue
            logits = self._logits(batch, number, recalls)
            yield number, token_answers(batch, logits, reference) if self._tokens else logits.double().cpu().numpy()

    def _logits(self, batch: Batch, number: int, recalls: dict[bytes, ForwardCache]) -> torch.Tensor:
        def work(part: Batch) -> torch.Tensor:
            recall = recalls.setdefault(
                part.index.tobytes(), ForwardCache()
            )  # a batch that did not fit has one for each part
            return masked_logits(self._model, part, self._masks[number], recall)

        return torch.cat([logits for _, logits in in_parts(batch, work)])


@torch.no_grad()
def masked_logits(model: PrunableModel, batch: Batch, mask: np.ndarray, recall: ForwardCache | None = None) -> torch.Tensor:
    """Logits of one batch with the heads that `mask` (R, H) removes switched off, in float32."""
    probe = AttentionHooks(gates=gates(model, mask))
    recall = ForwardCache() if recall is None else recall
    with use_hooks(probe), use_forward_cache(recall, model.grid, mask, probe), FrozenLinear(model.packed):
        return model.logits(batch.inputs).float()


def gates(model: PrunableModel, mask: np.ndarray) -> dict[torch.nn.Module, torch.Tensor]:
    """Factors (H, 1) on the outputs of the heads that are there, for rows that lose one of them."""
    rows = [(row.module, kept[row.present]) for row, kept in zip(model.grid.rows, mask, strict=True)]
    return {module: torch.tensor(kept, device=model.device)[:, None] for module, kept in rows if not kept.all()}


def token_answers(batch: Batch, logits: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
    """(n, 10) what is kept of each example of a model that predicts tokens; see RIGHT to SUMS."""
    real = batch.real if batch.decoder_real is None else batch.decoder_real
    answers, expected = (predictions(some, batch).argmax(-1) for some in (logits, reference))
    counted = batch.predicted
    trials = counted.sum(-1)
    losses = token_losses(predictions(logits, batch), batch).sum(-1) / trials
    counts = [((answers == other) & counted).sum(-1) for other in (batch.targets, expected)]
    x, y = (torch.where(real[..., None], some.double(), 0.0).flatten(1) for some in (logits, reference))
    n = real.sum(-1) * logits.shape[-1]
    sums = [n, x.sum(-1), y.sum(-1), (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)]
    return torch.stack([part.double() for part in (*counts, trials, losses, *sums)], dim=-1).cpu().numpy()


def _measured(model: PrunableModel, encoded: Encoded, answers: np.ndarray, which: np.ndarray, done) -> MaskEvaluation:
    """The measures from answers (distinct masks, N, width), on the examples `done`; which[0] is the unpruned model."""
    found, whole = answers[which[1:]][:, done], answers[which[0], done]
    if model.task != "classification":
        return _of_tokens(found)
    nothing = np.full(found.shape[:2], np.nan)
    decided, expected = found.argmax(-1), whole.argmax(-1)
    equal = decided == expected
    labels = None if encoded.labels is None else np.array(encoded.labels)[done]
    losses = nothing if labels is None else -np.take_along_axis(log_softmax(found, -1), labels[None, :, None], -1)[..., 0]
    right = equal if labels is None else decided == labels
    recall = np.full((len(found), found.shape[-1]), np.nan)
    if labels is not None:
        for c in np.unique(labels):
            recall[:, c] = right[:, labels == c].mean(1)
    x, y = found.reshape(len(found), -1), np.broadcast_to(whole.ravel(), (len(found), whole.size))
    sums = np.stack([np.full(len(x), x.shape[1]), x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], -1)
    return MaskEvaluation(
        logits=found,
        accuracy=nothing[:, 0] if labels is None else right.mean(1),
        loss=losses.mean(1),
        losses=losses,
        agreement=equal.mean(1),
        correlation=_pearson(sums),
        trials=len(done),
        right=right.astype(float),
        recall=recall,
    )


def _of_tokens(found: np.ndarray) -> MaskEvaluation:
    trials = found[..., TRIALS].sum(1)
    return MaskEvaluation(
        logits=None,
        accuracy=found[..., RIGHT].sum(1) / trials,
        loss=found[..., LOSS].mean(1),
        losses=found[..., LOSS],
        agreement=found[..., EQUAL].sum(1) / trials,
        correlation=_pearson(found[..., SUMS].sum(1)),
        trials=int(trials[0]),
        right=found[..., RIGHT] / found[..., TRIALS],
        recall=None,
    )


def _pearson(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation from sums (M, 6): n, x, y, xx, yy, xy; nan where one side does not vary."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0.0))
    return np.where(spread > 0, (n * xy - x * y) / np.where(spread > 0, spread, 1.0), np.nan)
