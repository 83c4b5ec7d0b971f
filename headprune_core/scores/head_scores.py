"""score_heads: one forward and one backward pass for HIS and AE, one backward more for Gnorm with another objective.

Every score is kept per example, so that means, intervals and correlations can be taken later without the model.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel

from .activation_capture import ActivationCapture
from .entropy import attention_entropy
from .gradient_norm import gradient_norms
from .hies import hies
from .importance import REDUCTIONS, importance, reduced
from .objectives import objective_value

METRICS = ("his", "ae", "gnorm")
FP16_LOSS_SCALE = 1024.0  # by which objectives are raised in float16
OVERFLOW_HINT = "the weights are finite, so numbers grew too large on the way: load the model with dtype='float32'"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head.

    per_example: "his" and "ae" (N, R, H); "gnorm" (N, 3, R, H), the norms of the Q, K and V blocks. Float64.
    settings: what they were computed with. his_by_reduction: HIS (N, R, H) by each of its reductions, for comparison.
    """

    grid: HeadGrid
    per_example: dict[str, np.ndarray]
    settings: dict = field(default_factory=dict)
    his_by_reduction: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def his(self) -> np.ndarray:
        """(R, H) head importance: the mean over examples."""
        return self._values("his").mean(0)

    @property
    def ae(self) -> np.ndarray:
        """(R, H) attention entropy in nats: the mean over examples."""
        return self._values("ae").mean(0)

    @property
    def gnorm(self) -> np.ndarray:
        """(R, H) product of the mean Q, K and V gradient norms."""
        return self._values("gnorm").mean(0).prod(0)

    def hies(self, alpha: float, *, normalize: str = "layer", entropy_direction: str = "low") -> np.ndarray:
        """(R, H) HIES at `alpha`; see `headprune_core.hies`."""
        return hies(self.his, self.ae, alpha, normalize=normalize, entropy_direction=entropy_direction)

    def reduced_by(self, reduction: str) -> "HeadScores":
        """The same scores with HIS by another reduction. No model run."""
        self._values("his")
        if reduction not in self.his_by_reduction:
            raise HeadPruneError(f"his_reduction {reduction!r} is not known; expected one of {', '.join(REDUCTIONS)}")
        values = self.per_example | {"his": self.his_by_reduction[reduction]}
        return replace(self, per_example=values, settings=self.settings | {"his_reduction": reduction})

    def bootstrap(self, metric: str, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0):
        """(low, high), each (R, H): percentile interval of a metric with the examples drawn anew. No model run."""
        values = self._values(metric)
        n = len(values)
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=resamples) / n
        drawn = np.tensordot(weights, values, 1)
        drawn = drawn.prod(1) if metric == "gnorm" else drawn
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        return low, high

    def to_frame(self) -> pd.DataFrame:
        """One line per head: row, head, and each metric that was computed."""
        rows, heads = self.grid.shape
        index = {"row": np.repeat(np.arange(rows), heads), "head": np.tile(np.arange(heads), rows)}
        return pd.DataFrame(index | {metric: getattr(self, metric).ravel() for metric in self.per_example})

    def _values(self, metric: str) -> np.ndarray:
        if metric not in self.per_example:
            raise HeadPruneError(f"{metric!r} was not computed; these scores hold {', '.join(self.per_example)}")
        return self.per_example[metric]


def score_heads(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    metrics: Sequence[str] = METRICS,
    batch_size: int = 32,
    objective: str = "loss",
    gnorm_objective: str = "logit_norm",
    his_reduction: str = "example",
    entropy: str = "exact",
    special_tokens: bool = True,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> HeadScores:
    """Compute `metrics` for every head of `model` on `examples`.

    objective (for HIS) and gnorm_objective: "loss", "prediction" or "logit_norm". his_reduction: "example", "token" or
    "batch". entropy: "exact", "normalized", "A", "B" or "C"; special_tokens False leaves the tokenizer's marks out of it,
    as queries and as keys. dtype "bfloat16" runs the matrix products in that precision; None as loaded. At most batch_size
    examples run at once, fewer where memory is short; the result depends on it only with his_reduction="batch". Raises
    HeadPruneError for unusable examples and for scores that are not finite.
    """
    unknown = set(metrics) - set(METRICS)
    if unknown or not metrics:
        raise HeadPruneError(f"metrics {sorted(unknown)} are not known; expected some of {', '.join(METRICS)}")
    model.grid.check_unpruned("scoring")
    encoded = encode(model, examples)
    options = _Options(tuple(metrics), objective, gnorm_objective, entropy, special_tokens)
    runs, (rows, heads) = model.in_precision(dtype), model.grid.shape
    shapes = {"ae": (rows, heads), "gnorm": (3, rows, heads), "example": (rows, heads), "token": (rows, heads)}
    values = {name: np.empty((len(encoded), *shape)) for name, shape in shapes.items()}
    done = 0
    for whole in encoded.batches(batch_size, model.device, token_limit=token_limit(model, dtype)):
        for batch, found in in_parts(whole, lambda batch: _score_batch(runs, batch, options)):
            if progress is not None:
                progress(done, len(encoded), "Scoring heads")
            for name, part in found.items():
                values[name][batch.index] = part.double().cpu().numpy()
            done += len(batch)
    if progress is not None:
        progress(done, len(encoded), "Scoring heads")
    by_reduction = {}
    if "his" in metrics:
        parts = values["example"], values["token"]
        by_reduction = {r: reduced(*parts, r, batch_size, encoded.lengths) for r in REDUCTIONS}
        values["his"] = reduced(*parts, his_reduction, batch_size, encoded.lengths)
    per_example = {metric: values[metric] for metric in METRICS if metric in metrics}
    for metric, array in per_example.items():
        _check_finite(metric, array, model)
    _warn_of_underflow(per_example, model)
    settings = {"examples": len(encoded), "objective": objective, "gnorm_objective": gnorm_objective}
    settings |= {"his_reduction": his_reduction, "entropy": entropy, "special_tokens": special_tokens}
    return HeadScores(model.grid, per_example, settings | {"dtype": dtype or str(model.model.dtype)[6:]}, by_reduction)


@dataclass(frozen=True)
class _Options:
    metrics: tuple[str, ...]
    objective: str
    gnorm_objective: str
    entropy: str
    special_tokens: bool


def _score_batch(model: PrunableModel, batch: Batch, options: _Options) -> dict[str, torch.Tensor]:
    """What the scores of one batch are made of: "example", "token" and "ae" (N, R, H), "gnorm" (N, 3, R, H)."""
    grid, kinds = model.grid, {row.module: row.kind for row in model.grid.rows}
    entropies: dict[torch.nn.Module, list[torch.Tensor]] = {row.module: [] for row in grid.rows}
    tape = ActivationCapture(grid, heads="his" in options.metrics, projections="gnorm" in options.metrics)

    def look(call: AttentionCall) -> None:
        tape.on_attention(call)
        if "ae" in options.metrics:
            kind = kinds[call.module]
            queries, keys = (batch.queries(kind), None) if options.special_tokens else batch.words(kind)
            entropies[call.module].append(attention_entropy(call, queries, options.entropy, keys))

    differentiates = "his" in options.metrics or "gnorm" in options.metrics
    probe = AttentionHooks(on_attention=look, on_projection=tape.on_projection)
    with use_hooks(probe), torch.set_grad_enabled(differentiates), FrozenLinear(model.packed):
        logits = model.logits(batch.inputs)
    found = _from_gradients(model, batch, options, tape, logits) if differentiates else {}
    if "ae" in options.metrics:
        # a row that several layers share has the mean of their entropies
        found["ae"] = torch.stack([torch.stack(entropies[row.module]).mean(0) for row in grid.rows], dim=1)
    return found


def _from_gradients(model, batch, options, tape, logits) -> dict[str, torch.Tensor]:
    """HIS and Gnorm: by one backward pass where both have one objective, by two where not."""
    # gradients too small for float16 would be zero; what the scores are made of is divided again
    scale = FP16_LOSS_SCALE if model.model.dtype == torch.float16 else 1.0
    wanted = {"his": (options.objective, tape.outputs), "gnorm": (options.gnorm_objective, tape.results)}
    wanted = {metric: wanted[metric] for metric in wanted if metric in options.metrics}
    objectives = list(dict.fromkeys(objective for objective, _ in wanted.values()))
    found = {}
    for number, objective in enumerate(objectives):
        metrics = [metric for metric, (its, _) in wanted.items() if its == objective]
        value = scale * objective_value(objective, logits, batch)
        more_to_come = number + 1 < len(objectives)
        gradients = tape.gradients(value, *(wanted[metric][1] for metric in metrics), retain_graph=more_to_come)
        for metric, gradient in zip(metrics, gradients, strict=True):
            if metric == "his":
                found |= importance(model.grid, tape.outputs, gradient)
            else:
                found["gnorm"] = gradient_norms(model.grid, tape.inputs, gradient)
    return {name: values / scale for name, values in found.items()}


def _warn_of_underflow(per_example: dict[str, np.ndarray], model: PrunableModel) -> None:
    """Half precision has no number between 0 and 6e-8: a score that is exactly 0 may be a gradient lost."""
    if model.model.dtype != torch.float16:
        return
    for metric in ("his", "gnorm"):
        zero = (per_example[metric] == 0).all(0) if metric in per_example else np.zeros(1, bool)
        if zero.any():
            row, head = (int(i) for i in np.argwhere(zero)[0][-2:])
            warnings.warn(
                f"{metric.upper()} is exactly 0 for {int(zero.sum())} entries, the first at row {row} "
                f"({model.grid.row_names[row]}), head {head}: in float16 gradients this small are lost; load the model with "
                "dtype='float32' or 'bfloat16'",
                HeadPruneWarning,
                stacklevel=3,
            )


def _check_finite(metric: str, values: np.ndarray, model: PrunableModel) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row, head = (int(i) for i in np.argwhere(bad)[0][-2:])
        raise HeadPruneError(
            f"{metric} is not a finite number for {int(bad.any(0).sum())} entries, the first at row {row} "
            f"({model.grid.row_names[row]}), head {head}; {model.describe_non_finite() or OVERFLOW_HINT}"
        )
