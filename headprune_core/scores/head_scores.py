"""Score heads with one forward and one backward pass; Gnorm needs a second backward pass if its objective differs.

Scores are kept per example, so that means, intervals and correlations can be computed later without the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models

from .activation_capture import ActivationCapture
from .entropy import attention_entropy
from .gradient_norm import gradient_norms
from .hies import hies
from .importance import REDUCTIONS, importance, reduced
from .objectives import objective_value
from .score_checks import cause_of_non_finite, check_finite, warn_of_underflow

METRICS = ("his", "ae", "gnorm")
FP16_LOSS_SCALE = 1024.0  # objectives are multiplied by this in float16, so that small gradients do not become zero
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head, with their per-example values.

    Attributes:
        grid: The HeadGrid of the model.
        per_example: "his" and "ae" (N, R, H), and "gnorm" (N, 3, R, H), the norms of the Q, K and V blocks; float64.
        settings: Options of `score_heads` that the scores were computed with.
        his_by_reduction: HIS (N, R, H) with each of its reductions, for comparison.
    """

    grid: HeadGrid
    per_example: dict[str, np.ndarray]
    settings: dict = field(default_factory=dict)
    his_by_reduction: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def his(self) -> np.ndarray:
        """Head importance score (HIS), (R, H): the mean over examples."""
        return self._values("his").mean(0)

    @property
    def ae(self) -> np.ndarray:
        """Attention entropy (AE) in nats, (R, H): the mean over examples."""
        return self._values("ae").mean(0)

    @property
    def gnorm(self) -> np.ndarray:
        """Gnorm, (R, H): the product of the mean Q, K and V gradient norms."""
        return self._values("gnorm").mean(0).prod(0)

    def hies(self, alpha: float, *, normalize: str = "layer", entropy_direction: str = "low") -> np.ndarray:
        """Compute HIES (R, H) at `alpha`, with the arguments of `headprune_core.hies`."""
        return hies(self.his, self.ae, alpha, normalize=normalize, entropy_direction=entropy_direction)

    def reduced_by(self, reduction: str) -> "HeadScores":
        """Return the same scores with another reduction of HIS, without running the model.

        Args:
            reduction: "example", "token" or "batch".

        Returns:
            The scores.

        Raises:
            HeadPruneError: If the reduction is unknown or HIS was not computed.
        """
        self._values("his")
        if reduction not in self.his_by_reduction:
            raise HeadPruneError(f"his_reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        values = self.per_example | {"his": self.his_by_reduction[reduction]}
        return replace(self, per_example=values, settings=self.settings | {"his_reduction": reduction})

    def bootstrap(self, metric: str, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0):
        """Compute a percentile bootstrap interval over examples, without running the model.

        Args:
            metric: "his", "ae" or "gnorm".
            resamples: Number of resamples.
            confidence: Confidence level.
            seed: Seed of the resamples.

        Returns:
            Lower and upper limits, each (R, H).

        Raises:
            HeadPruneError: If the metric was not computed.
        """
        values = self._values(metric)
        n = len(values)
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=resamples) / n
        means = np.tensordot(weights, values, 1)
        means = means.prod(1) if metric == "gnorm" else means
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
        return low, high

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per head: row, head, and each metric that was computed."""
        rows, heads = self.grid.shape
        index = {"row": np.repeat(np.arange(rows), heads), "head": np.tile(np.arange(heads), rows)}
        return pd.DataFrame(index | {metric: getattr(self, metric).ravel() for metric in self.per_example})

    def _values(self, metric: str) -> np.ndarray:
        if metric not in self.per_example:
            raise HeadPruneError(f"{metric!r} was not computed; these scores contain {', '.join(self.per_example)}")
        return self.per_example[metric]


@runs_models
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
    """Compute importance, entropy and gradient-norm scores for every head.

    Args:
        model: An unpruned model.
        examples: The calibration examples, from `load_examples` or a Dataset of model inputs.
        metrics: Scores to compute: "his", "ae" and "gnorm".
        batch_size: Maximum batch size. It is reduced automatically if memory is low, and affects the scores only for
            his_reduction="batch".
        objective: Objective of HIS: "loss", "prediction" or "logit_norm"; see `objective_value`.
        gnorm_objective: Objective of Gnorm, one of the same.
        his_reduction: "example", "token" or "batch"; see `reduced`.
        entropy: "exact", "normalized", "A", "B" or "C"; see `attention_entropy`.
        special_tokens: If False, exclude special tokens from the entropy, as queries and as keys.
        dtype: Precision of matrix multiplications, "float32" or "bfloat16"; None uses the model's dtype.
        progress: Called as progress(done, total, note) before each batch; raise `Cancelled` in it to stop.

    Returns:
        The scores, with their per-example values.

    Raises:
        HeadPruneError: If an option or an example is invalid, if labels are needed and missing, or if a score is not
            finite.
    """
    unknown = set(metrics) - set(METRICS)
    if unknown or not metrics:
        raise HeadPruneError(f"metrics must be some of {', '.join(METRICS)}, got {sorted(metrics)}")
    model.grid.check_unpruned("scoring")
    encoded = encode(model, examples)
    options = _Options(tuple(metrics), objective, gnorm_objective, entropy, special_tokens)
    scored_model, (rows, heads) = model.in_precision(dtype), model.grid.shape
    shapes = {"ae": (rows, heads), "gnorm": (3, rows, heads), "example": (rows, heads), "token": (rows, heads)}
    values = {name: np.empty((len(encoded), *shape)) for name, shape in shapes.items()}
    done = 0
    for full_batch in encoded.batches(batch_size, model.device, token_limit=token_limit(model, dtype)):
        for batch, batch_values in in_parts(full_batch, lambda batch: _score_batch(scored_model, batch, options)):
            if progress is not None:
                progress(done, len(encoded), "Scoring heads")
            for name, part in batch_values.items():
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
    objectives = {"his": objective, "gnorm": gnorm_objective}
    for metric, array in per_example.items():

        def cause(example: int, metric: str = metric) -> str:
            batch = encoded.batch(np.array([example]), model.device)
            return cause_of_non_finite(scored_model, lambda: scored_model.logits(batch.inputs), objectives.get(metric))

        check_finite(metric, array, model, cause)
    warn_of_underflow(per_example, model)
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
    """Compute the values of one batch: "example", "token" and "ae" (N, R, H), "gnorm" (N, 3, R, H)."""
    grid, kinds = model.grid, {row.module: row.kind for row in model.grid.rows}
    entropies: dict[torch.nn.Module, list[torch.Tensor]] = {row.module: [] for row in grid.rows}
    capture = ActivationCapture(grid, heads="his" in options.metrics, projections="gnorm" in options.metrics)

    def on_attention(call: AttentionCall) -> None:
        capture.on_attention(call)
        if "ae" in options.metrics:
            kind = kinds[call.module]
            queries, keys = (batch.queries(kind), None) if options.special_tokens else batch.words(kind)
            entropies[call.module].append(attention_entropy(call, queries, options.entropy, keys))

    needs_gradients = "his" in options.metrics or "gnorm" in options.metrics
    hooks = AttentionHooks(on_attention=on_attention, on_projection=capture.on_projection)
    with use_hooks(hooks), torch.set_grad_enabled(needs_gradients), FrozenLinear(model.packed):
        logits = model.logits(batch.inputs)
    result = _from_gradients(model, batch, options, capture, logits) if needs_gradients else {}
    if "ae" in options.metrics:
        # A row that several layers share has the mean of their entropies.
        result["ae"] = torch.stack([torch.stack(entropies[row.module]).mean(0) for row in grid.rows], dim=1)
    return result


def _from_gradients(model, batch, options, capture, logits) -> dict[str, torch.Tensor]:
    """Compute HIS and Gnorm with one backward pass per objective."""
    # Gradients too small for float16 would become zero, so the objective is scaled up and the results are scaled down.
    scale = FP16_LOSS_SCALE if model.model.dtype == torch.float16 else 1.0
    sources = {"his": (options.objective, capture.outputs), "gnorm": (options.gnorm_objective, capture.results)}
    sources = {metric: sources[metric] for metric in sources if metric in options.metrics}
    objectives = list(dict.fromkeys(objective for objective, _ in sources.values()))
    result = {}
    for number, objective in enumerate(objectives):
        metrics = [metric for metric, (metric_objective, _) in sources.items() if metric_objective == objective]
        value = scale * objective_value(objective, logits, batch)
        retain = number + 1 < len(objectives)
        gradients = capture.gradients(value, *(sources[metric][1] for metric in metrics), retain_graph=retain)
        for metric, gradient in zip(metrics, gradients, strict=True):
            if metric == "his":
                result |= importance(model.grid, capture.outputs, gradient)
            else:
                result["gnorm"] = gradient_norms(model.grid, capture.inputs, gradient)
    return {name: values / scale for name, values in result.items()}
