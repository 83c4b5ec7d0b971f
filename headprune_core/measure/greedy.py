"""Greedy-Gnorm (Algorithm 1 of arXiv 2602.04491): score every head by Gnorm, prune the lowest, rescore, until none is left.

    S(n) = G_Q(n) o G_K(n) o G_V(n)   (Eq. 17)  with the heads pruned so far masked

Each step runs over the examples once; the forward pass below the first changed row is reused from the previous step, with
its graph, if memory allows. The scores of a mask are deterministic, so they can be stored in a `ResultCache`, and a
cancelled run can be resumed.
"""

from collections.abc import Callable
from dataclasses import replace

import datasets
import numpy as np
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cache import ForwardCache, use_forward_cache
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.result_cache import ResultCache, fingerprint
from headprune_core.scores.activation_capture import ActivationCapture
from headprune_core.scores.gradient_norm import gradient_norms
from headprune_core.scores.objectives import objective_value
from headprune_core.scores.score_checks import cause_of_non_finite

from .evaluation import evaluate_masks, gates, masked_logits
from .greedy_trajectory import GreedyTrajectory, pruning_order

STEPS_PER_EVALUATION = 8  # steps whose accuracy is evaluated together, because their masks share computation
Progress = Callable[[int, int, str], None]


@runs_models
def greedy_gnorm(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    evaluation: datasets.Dataset | None = None,
    steps: int | None = None,
    heads_per_step: int = 1,
    inverse: bool = False,
    objective: str = "logit_norm",
    batch_size: int = 32,
    dtype: str | None = None,
    accuracy_floor: float | None = None,
    stop_at_inflection: bool = False,
    cache: ResultCache | None = None,
    progress: Progress | None = None,
    on_partial: Callable[[GreedyTrajectory], None] | None = None,
) -> GreedyTrajectory:
    """Prune heads by Gnorm, rescored at every step.

    Args:
        model: the unpruned model.
        examples: calibration examples.
        evaluation: held-out examples on which every step is evaluated; None evaluates nothing.
        steps: maximum number of steps; None continues until no head is left.
        heads_per_step: number of heads to prune at each step.
        inverse: prune the highest-scoring heads first (inverse control).
        objective: "loss", "prediction" or "logit_norm".
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        accuracy_floor: stop at the first step with a lower main measure (accuracy; see `MaskEvaluation.measure`), 0 to 1;
            needs `evaluation`.
        stop_at_inflection: stop at the inflection point of the main measure; needs `evaluation`.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the run so far as its
            attribute `partial`.
        on_partial: called with the run so far, after every step.

    Returns:
        The trajectory of the run.

    Raises:
        HeadPruneError: for invalid options, a pruned model, or scores that are not finite.
    """
    model.grid.check_unpruned("Greedy-Gnorm")
    heads = int(np.prod(model.grid.shape))
    most = -(-heads // max(heads_per_step, 1))
    if not 1 <= heads_per_step <= heads:
        raise HeadPruneError(f"heads_per_step must be between 1 and {heads}, got {heads_per_step}")
    if steps is not None and not 1 <= steps <= most:
        raise HeadPruneError(f"steps must be between 1 and {most}, which prunes all {heads} heads, got {steps}")
    if accuracy_floor is not None and not 0.0 <= accuracy_floor <= 1.0:
        raise HeadPruneError(f"accuracy_floor must be between 0 and 1, got {accuracy_floor}")
    if evaluation is None and (accuracy_floor is not None or stop_at_inflection):
        raise HeadPruneError("accuracy_floor and stop_at_inflection need held-out examples; pass evaluation")
    steps = steps or most
    scorer = _Scorer(model, examples, objective, batch_size, dtype, cache)
    settings = {"examples": len(examples), "objective": objective, "dtype": dtype or str(model.model.dtype)[6:]}
    done = GreedyTrajectory(model.grid, heads_per_step, inverse, settings=settings)
    total = steps * scorer.size + (steps + 1) * (len(evaluation) if evaluation is not None else 0)

    def report(extra: int, note: str) -> None:
        if progress is not None:
            measured = len(done.accuracy) * (len(evaluation) if evaluation is not None else 0)
            progress(min(done.steps * scorer.size + measured + extra, total), total, note)

    try:
        while done.steps < steps:
            mask = done.mask(done.steps)
            note = f"Scoring the remaining {mask.sum()} heads"
            scores = scorer.scores(mask, lambda n, note=note: report(n, note))
            pruned = pruning_order(scores, inverse)[:heads_per_step]
            done = replace(done, order=[*done.order, *pruned], scores=[*done.scores, scores])
            if evaluation is not None and (done.steps % STEPS_PER_EVALUATION == 0 or done.steps == steps):
                done = _evaluated(done, model, evaluation, batch_size, dtype, cache, report)
                last = _last_step(done, accuracy_floor, stop_at_inflection)
                if last is not None:
                    return done.first_steps(last)
            if on_partial is not None:
                on_partial(done)
        report(total, "Greedy-Gnorm")
    except Cancelled as stop:
        stop.partial = done if done.steps else None
        raise
    return done


class _Scorer:
    """Gnorm of the heads under one mask after another, on the same batches."""

    def __init__(self, model, examples, objective: str, batch_size: int, dtype: str | None, cache: ResultCache | None):
        self._model, self._objective, self._cache = model.in_precision(dtype), objective, cache
        encoded, room = encode(model, examples), token_limit(model, dtype)
        self._batches = list(encoded.batches(batch_size, model.device, token_limit=room))
        self.size = len(encoded)
        # The graphs of all batches are kept between two steps if they fit in memory.
        fits = room is None or encoded.lengths.sum() <= room
        self._forward_caches: dict[bytes, ForwardCache] | None = {} if fits else None
        if cache is not None:
            parts = [
                part
                for batch in self._batches
                for part in (*batch.content(), "labels", "none" if batch.labels is None else batch.labels)
            ]
            self._key = fingerprint(self._model.fingerprint, objective, *parts)

    def scores(self, mask: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        """Return S(n) (R, H) under `mask`, nan for pruned heads."""
        key = None if self._cache is None else fingerprint(self._key, mask)
        known = {} if key is None else self._cache.get([key], shape=mask.shape)
        if key in known:
            report(self.size)
            return known[key]
        total = np.zeros((3, *self._model.grid.shape))
        done = 0
        for batch in self._batches:
            report(done)
            for part, norms in in_parts(batch, lambda part: self._norms(part, mask)):
                self._check_finite(norms, part, mask)
                total += norms.sum(0).double().cpu().numpy()
            done += len(batch)
        scores = np.where(mask, (total / self.size).prod(0), np.nan)
        if key is not None:
            with self._cache.committing():
                self._cache.put(key, scores)
        return scores

    def _check_finite(self, norms: torch.Tensor, batch: Batch, mask: np.ndarray) -> None:
        bad = np.argwhere(mask & ~torch.isfinite(norms).all(0).all(0).cpu().numpy())
        if len(bad):
            cause = cause_of_non_finite(self._model, lambda: masked_logits(self._model, batch, mask), self._objective)
            raise HeadPruneError(f"Gnorm is not finite at row {bad[0][0]}, head {bad[0][1]}; {cause}")

    def _norms(self, batch: Batch, mask: np.ndarray) -> torch.Tensor:
        """Return (N, 3, R, H) gradient norms of the Q, K and V blocks."""
        model = self._model
        capture = ActivationCapture(model.grid, heads=False, projections=True)
        hooks = AttentionHooks(gates=gates(model, mask), on_projection=capture.on_projection)
        caches = self._forward_caches
        forward_cache = None if caches is None else caches.setdefault(batch.index.tobytes(), ForwardCache())
        with (
            use_hooks(hooks),
            use_forward_cache(forward_cache, model.grid, mask, hooks),
            torch.enable_grad(),
            FrozenLinear(model.packed),
        ):
            value = objective_value(self._objective, model.logits(batch.inputs), batch)
        (gradients,) = capture.gradients(value, capture.results, retain_graph=forward_cache is not None)
        return gradient_norms(model.grid, capture.inputs, gradients)


def _evaluated(done: GreedyTrajectory, model, evaluation, batch_size, dtype, cache, report) -> GreedyTrajectory:
    """Return the run with its remaining steps evaluated."""
    masks = np.stack([done.mask(step) for step in range(len(done.accuracy), done.steps + 1)])

    def report_masks(at: int, total: int, note: str) -> None:
        report(len(masks) * len(evaluation) * at // total, note)

    result = evaluate_masks(model, evaluation, masks, batch_size=batch_size, dtype=dtype, cache=cache, progress=report_masks)
    found = result.measured()
    new = {"accuracy": result.accuracy, "agreement": result.agreement, "loss": result.loss}
    new |= {"measure": found.value, "measure_low": found.low, "measure_high": found.high}
    more = {name: np.concatenate([getattr(done, name), values]) for name, values in new.items()}
    return replace(done, trials=result.trials, measure_name=found.name, **more)


def _last_step(done: GreedyTrajectory, floor: float | None, at_inflection: bool) -> int | None:
    """Return the step at which the run ends; None if it continues."""
    below = [] if floor is None else np.flatnonzero(done.measure < floor).tolist()
    inflection = done.inflection if at_inflection else None
    return min([*below[:1], *([] if inflection is None else [inflection])], default=None)
