"""score_heads: one forward and one backward pass for HIS and AE, one backward more for Gnorm.

Every score is kept per example, so that means, intervals and correlations can be taken later without the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import datasets
import numpy as np
import pandas as pd
import torch

from ..anatomy import HeadGrid
from ..batches import Batch, encode
from ..errors import HeadPruneError
from ..models import PrunableModel
from ..probe import AttentionCall, Probe, probing
from .entropy import attention_entropy
from .gradient_norm import ProjectionTape
from .hies import hies
from .importance import importance, unit_gates
from .objectives import objective_value

METRICS = ("his", "ae", "gnorm")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head.

    per_example: "his" and "ae" (N, R, H); "gnorm" (N, 3, R, H), the norms of the Q, K and V blocks. Float64.
    settings: what they were computed with.
    """

    grid: HeadGrid
    per_example: dict[str, np.ndarray]
    settings: dict = field(default_factory=dict)

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
    progress: Progress | None = None,
) -> HeadScores:
    """Compute `metrics` for every head of `model` on `examples`.

    objective (for HIS) and gnorm_objective: "loss", "prediction" or "logit_norm". his_reduction: "example", "token" or
    "batch". entropy: "exact", "normalized", "A", "B" or "C". The result does not depend on batch_size, except with
    his_reduction="batch". Raises HeadPruneError for unusable examples and for scores that are not finite.
    """
    unknown = set(metrics) - set(METRICS)
    if unknown or not metrics:
        raise HeadPruneError(f"metrics {sorted(unknown)} are not known; expected some of {', '.join(METRICS)}")
    encoded = encode(model, examples)
    options = _Options(tuple(metrics), objective, gnorm_objective, his_reduction, entropy)
    rows, heads = model.grid.shape
    shapes = {"his": (len(encoded), rows, heads), "ae": (len(encoded), rows, heads), "gnorm": (len(encoded), 3, rows, heads)}
    values = {metric: np.empty(shapes[metric]) for metric in METRICS if metric in metrics}
    done = 0
    for batch in encoded.batches(batch_size, model.device):
        if progress is not None:
            progress(done, len(encoded), "Scoring heads")
        for metric, part in _score_batch(model, batch, options).items():
            values[metric][batch.index] = part.double().cpu().numpy()
        done += len(batch.index)
    if progress is not None:
        progress(done, len(encoded), "Scoring heads")
    for metric, array in values.items():
        _check_finite(metric, array, model.grid)
    settings = {"examples": len(encoded), "objective": objective, "gnorm_objective": gnorm_objective}
    return HeadScores(model.grid, values, settings | {"his_reduction": his_reduction, "entropy": entropy})


@dataclass(frozen=True)
class _Options:
    metrics: tuple[str, ...]
    objective: str
    gnorm_objective: str
    his_reduction: str
    entropy: str


def _score_batch(model: PrunableModel, batch: Batch, options: _Options) -> dict[str, torch.Tensor]:
    """The scores of one batch by metric: "his" and "ae" (N, R, H), "gnorm" (N, 3, R, H)."""
    grid = model.grid
    like = next(model.model.parameters())
    gates, by_module = unit_gates(grid, batch, options.his_reduction, like)
    entropies: dict[int, list[torch.Tensor]] = {i: [] for i in range(grid.shape[0])}
    number = {row.module: i for i, row in enumerate(grid.rows)}

    def keep_entropy(call: AttentionCall) -> None:
        entropies[number[call.module]].append(attention_entropy(call, batch.real, options.entropy))

    tape = ProjectionTape(grid)
    probe = Probe(
        gates=by_module if "his" in options.metrics else {},
        on_attention=keep_entropy if "ae" in options.metrics else None,
        on_projection=tape.record if "gnorm" in options.metrics else None,
    )
    differentiates = "his" in options.metrics or "gnorm" in options.metrics
    with probing(probe), torch.set_grad_enabled(differentiates):
        logits = model.logits(batch.inputs)
    scores = {}
    if "his" in options.metrics:
        value = objective_value(options.objective, model.task, logits, batch)
        (gradient,) = torch.autograd.grad(value.sum(), gates, retain_graph="gnorm" in options.metrics)
        scores["his"] = importance(gradient, options.his_reduction)
    if "ae" in options.metrics:
        # a row that several layers share has the mean of their entropies
        scores["ae"] = torch.stack([torch.stack(entropies[i]).mean(0) for i in range(grid.shape[0])], dim=1)
    if "gnorm" in options.metrics:
        scores["gnorm"] = tape.norms(objective_value(options.gnorm_objective, model.task, logits, batch))
    return scores


def _check_finite(metric: str, values: np.ndarray, grid: HeadGrid) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row, head = (int(i) for i in np.argwhere(bad)[0][-2:])
        raise HeadPruneError(
            f"{metric} is not a finite number for {int(bad.any(0).sum())} entries, the first at row {row} "
            f"({grid.row_names[row]}), head {head}; check the weights for NaN, or load the model with dtype='float32'"
        )
