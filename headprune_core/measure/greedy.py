"""Greedy-Gnorm (Algorithm 1 of its paper): score every head by Gnorm, remove the lowest, score again, until none is left.

    S(n) = G_Q(n) o G_K(n) o G_V(n)   (Eq. 17)  with the heads removed so far switched off,

so a head's score always speaks of the model as it is by then. Each step goes over the data once. The forward pass below the
first row that a removal changed is recalled from the step before, its graph with it, where memory allows. The scores of one
mask depend on nothing else, to the last bit: kept in a `ResultCache`, a run that was cut short goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.forward_cache import ForwardCache, use_forward_cache
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache, fingerprint
from headprune_core.scores.activation_capture import ActivationCapture
from headprune_core.scores.gradient_norm import gradient_norms
from headprune_core.scores.objectives import objective_value

from .curves import wilson
from .evaluation import evaluate_masks, gates
from .inflection import inflection

TOGETHER = 8  # steps whose accuracy is measured in one go, as masks that share much cost less together
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class GreedyTrajectory:
    """What a greedy run did, step by step.

    order: (row, head) as removed, heads_per_step at a time. scores: S(n) (R, H) before each step, nan where a head is gone.
    accuracy, accuracy_low, accuracy_high (95 %, Wilson), agreement and loss: on the held-out examples, by steps done from 0
    on; empty where there are none, shorter than the order while the run goes on. trials: how many answers they come from.
    """

    grid: HeadGrid
    heads_per_step: int
    inverse: bool
    order: list[tuple[int, int]] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    accuracy: np.ndarray = field(default_factory=lambda: np.empty(0))
    agreement: np.ndarray = field(default_factory=lambda: np.empty(0))
    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    trials: int = 0
    settings: dict = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.scores)

    @property
    def accuracy_low(self) -> np.ndarray:
        return wilson(self.accuracy * self.trials, self.trials)[0] if self.trials else self.accuracy

    @property
    def accuracy_high(self) -> np.ndarray:
        return wilson(self.accuracy * self.trials, self.trials)[1] if self.trials else self.accuracy

    @property
    def measure(self) -> np.ndarray:
        """What to judge the run by: accuracy, or agreement with the unpruned model where there are no labels."""
        return self.agreement if np.isnan(self.accuracy).all() else self.accuracy

    def mask(self, step: int) -> np.ndarray:
        """(R, H), True = kept, after `step` steps."""
        if not 0 <= step <= self.steps:
            raise HeadPruneError(f"step {step} was asked for; this run has steps 0 to {self.steps}")
        mask = np.ones(self.grid.shape, bool)
        for place in self.order[: step * self.heads_per_step]:
            mask[place] = False
        return mask

    @property
    def ranking(self) -> np.ndarray:
        """(R, H): the lowest was removed first; heads that were never removed follow, by their last score."""
        ranking = np.zeros(self.grid.shape)
        left = [] if not self.scores else _in_order(self.scores[-1], self.inverse)
        for place, at in enumerate(dict.fromkeys([*self.order, *left])):
            ranking[at] = place
        return ranking

    @property
    def inflection(self) -> int | None:
        """The step after which accuracy falls for good, where there is one; see `curve_shape.inflection`."""
        return inflection(self.measure, self.trials or None) if len(self.measure) else None

    def to_frame(self) -> pd.DataFrame:
        """One line per removed head: step (from 1), row, head, its score then, and the measures after that step."""
        lines = []
        for number, (row, head) in enumerate(self.order):
            step = number // self.heads_per_step
            line = {"step": step + 1, "row": row, "head": head, "score": self.scores[step][row, head]}
            for name in ("accuracy", "accuracy_low", "accuracy_high", "agreement", "loss"):
                values = getattr(self, name)
                line[name] = values[step + 1] if step + 1 < len(values) else np.nan
            lines.append(line)
        return pd.DataFrame(lines, columns=list(lines[0]) if lines else ["step", "row", "head", "score"])


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
    """Remove heads by Gnorm, scored anew on `examples` at every step; measure each step on `evaluation` (other examples).

    steps: how many at most (None: until no head is left). inverse removes the highest first, a control. objective: "loss",
    "prediction" or "logit_norm". accuracy_floor ends the run at the first step below it (0 to 1; agreement without labels),
    stop_at_inflection where accuracy begins to fall for good; both need `evaluation`. on_partial is given the run so far after
    every step; when `progress` raises Cancelled, the exception carries it as `.partial`.
    """
    model.grid.check_unpruned("Greedy-Gnorm")
    heads = int(np.prod(model.grid.shape))
    most = -(-heads // max(heads_per_step, 1))
    if not 1 <= heads_per_step <= heads:
        raise HeadPruneError(f"{heads_per_step} heads are to go at each step; expected 1 to {heads}, all there are")
    if steps is not None and not 1 <= steps <= most:
        raise HeadPruneError(f"{steps} steps were asked for; expected 1 to {most}, by which all {heads} heads are removed")
    if accuracy_floor is not None and not 0.0 <= accuracy_floor <= 1.0:
        raise HeadPruneError(f"the accuracy floor is {accuracy_floor}; expected a share from 0 to 1")
    if evaluation is None and (accuracy_floor is not None or stop_at_inflection):
        raise HeadPruneError("an accuracy floor and the inflection point need accuracy; give evaluation, held-out examples")
    steps = steps or most
    run = _Run(model, examples, objective, batch_size, dtype, cache)
    settings = {"examples": len(examples), "objective": objective, "dtype": dtype or str(model.model.dtype)[6:]}
    done = GreedyTrajectory(model.grid, heads_per_step, inverse, settings=settings)
    total = steps * run.size + (steps + 1) * (len(evaluation) if evaluation is not None else 0)

    def report(extra: int, note: str) -> None:
        if progress is not None:
            measured = len(done.accuracy) * (len(evaluation) if evaluation is not None else 0)
            progress(min(done.steps * run.size + measured + extra, total), total, note)

    try:
        while done.steps < steps:
            mask = done.mask(done.steps)
            note = f"Scoring the {mask.sum()} heads that are left"
            scores = run.scores(mask, lambda n, note=note: report(n, note))
            gone = _in_order(scores, inverse)[:heads_per_step]
            done = replace(done, order=[*done.order, *gone], scores=[*done.scores, scores])
            if evaluation is not None and (done.steps % TOGETHER == 0 or done.steps == steps):
                done = _measured(done, model, evaluation, batch_size, dtype, cache, report)
                stop = _end(done, accuracy_floor, stop_at_inflection)
                if stop is not None:
                    return _first(done, stop)
            if on_partial is not None:
                on_partial(done)
        report(total, "Greedy-Gnorm")
    except Cancelled as stop:
        stop.partial = done if done.steps else None
        raise
    return done


class _Run:
    """Scores the heads under one mask after another, over the same batches."""

    def __init__(self, model, examples, objective: str, batch_size: int, dtype: str | None, cache: ResultCache | None):
        self._model, self._objective, self._store = model.in_precision(dtype), objective, cache
        encoded, room = encode(model, examples), token_limit(model, dtype)
        self._batches = list(encoded.batches(batch_size, model.device, token_limit=room))
        self.size = len(encoded)
        # between two steps the graphs of all batches are kept, where they fit
        self._recalls: dict[bytes, ForwardCache] | None = {} if room is None or encoded.lengths.sum() <= room else None
        if cache is not None:
            parts = [part for batch in self._batches for part in (*batch.content(), str(batch.labels))]
            self._key = fingerprint(self._model.fingerprint, objective, *parts)

    def scores(self, mask: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        """S(n) (R, H) under `mask`, nan where a head is gone."""
        key = None if self._store is None else fingerprint(self._key, mask)
        known = {} if key is None else self._store.get([key])
        if key in known:
            report(self.size)
            return known[key]
        total = np.zeros((3, *self._model.grid.shape))
        done = 0
        for whole in self._batches:
            report(done)
            for _, norms in in_parts(whole, lambda batch: self._norms(batch, mask)):
                total += norms.sum(0).double().cpu().numpy()
            done += len(whole)
        scores = np.where(mask, (total / self.size).prod(0), np.nan)
        if not np.isfinite(scores[mask]).all():
            row, head = (int(i) for i in np.argwhere(mask & ~np.isfinite(scores))[0])
            reason = (
                self._model.describe_non_finite() or "numbers grew too large on the way: load the model with dtype='float32'"
            )
            raise HeadPruneError(f"Gnorm is not a finite number at row {row}, head {head}; {reason}")
        if key is not None:
            with self._store.committing():
                self._store.put(key, scores)
        return scores

    def _norms(self, batch: Batch, mask: np.ndarray) -> torch.Tensor:
        """(N, 3, R, H) gradient norms of the Q, K and V blocks."""
        model = self._model
        tape = ActivationCapture(model.grid, heads=False, projections=True)
        probe = AttentionHooks(gates=gates(model, mask), on_projection=tape.on_projection)
        recall = None if self._recalls is None else self._recalls.setdefault(batch.index.tobytes(), ForwardCache())
        with (
            use_hooks(probe),
            use_forward_cache(recall, model.grid, mask, probe),
            torch.enable_grad(),
            FrozenLinear(model.packed),
        ):
            value = objective_value(self._objective, model.logits(batch.inputs), batch)
        (gradients,) = tape.gradients(value, tape.results, retain_graph=recall is not None)
        return gradient_norms(model.grid, tape.inputs, gradients)


def _in_order(scores: np.ndarray, inverse: bool) -> list[tuple[int, int]]:
    """The heads that are left, in the order in which `scores` would remove them; ties by (row, head)."""
    ranked = np.argsort(-scores if inverse else scores, axis=None, kind="stable")  # nan last
    left = ranked[: int(np.isfinite(scores).sum())]
    return [tuple(int(i) for i in np.unravel_index(place, scores.shape)) for place in left]


def _measured(done: GreedyTrajectory, model, evaluation, batch_size, dtype, cache, report) -> GreedyTrajectory:
    """The run with the steps measured that were not yet."""
    masks = np.stack([done.mask(step) for step in range(len(done.accuracy), done.steps + 1)])

    def told(at: int, total: int, note: str) -> None:
        report(len(masks) * len(evaluation) * at // total, note)

    found = evaluate_masks(model, evaluation, masks, batch_size=batch_size, dtype=dtype, cache=cache, progress=told)
    names = ("accuracy", "agreement", "loss")
    more = {name: np.concatenate([getattr(done, name), getattr(found, name)]) for name in names}
    return replace(done, trials=found.trials, **more)


def _end(done: GreedyTrajectory, floor: float | None, at_inflection: bool) -> int | None:
    """The step at which the run is to end, if it is by now."""
    below = [] if floor is None else np.flatnonzero(done.measure < floor).tolist()
    found = done.inflection if at_inflection else None
    return min([*below[:1], *([] if found is None else [found])], default=None)


def _first(done: GreedyTrajectory, steps: int) -> GreedyTrajectory:
    """The first `steps` steps of a run, at least one."""
    steps = max(steps, 1)
    parts = {name: getattr(done, name)[: steps + 1] for name in ("accuracy", "agreement", "loss")}
    return replace(done, order=done.order[: steps * done.heads_per_step], scores=done.scores[:steps], **parts)
