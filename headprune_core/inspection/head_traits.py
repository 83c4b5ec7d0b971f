"""Traits of every head: where its attention goes, how far, how broadly, and how large its output is.

One forward pass per batch; attention matrices are computed in blocks and not stored. Traits are kept per example, so that
means, intervals and roles are computed later without the model.

Sources: shares of attention by position and token, Clark et al. 2019 (arXiv 1906.04341); value-weighted attention, Kobayashi
et al. 2020 (arXiv 2004.10102); attention sinks, Gu et al. 2025 (arXiv 2410.10781); induction, Olsson et al. 2022
(arXiv 2209.11895).
"""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch
from scipy.stats import mode

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models

from .attention_traits import attention_traits
from .roles import ROLES, RoleShares, label_stability, role_counts, role_table
from .sink_tokens import token_names, tokens_at
from .token_patterns import PATTERNS, Streams, TokenPatterns

FURTHER = ("entropy", "output_norm", "relative_output_norm", "special", "weighted_special")


@dataclass(frozen=True)
class HeadTraits:
    """Traits of every head, with their per-example values.

    Attributes:
        grid: The HeadGrid of the model.
        per_example: (N, R, H) by name. Shares of attention, 0 to 1: "previous", "next", "self", "first", "delimiter",
            "same_token", "induction", "segment", "local", and "sink", the largest mean share of any one key. Further:
            "entropy" (normalized, 0 to 1), "output_norm", "relative_output_norm" (divided by the layer's mean), "special"
            and "weighted_special", the shares of attention and of value-weighted attention on special tokens. nan where an
            example has no token to which the trait applies.
        nulls: (N, R, H) by role, the share under uniform attention over the keys that each query can see.
        sink_position: int (N, R, H), position of the key with the largest mean share.
        sink_token: (R, H), the most frequent token at this position, as the tokenizer writes it; "" for images.
        sink_token_share: (R, H), share of the examples in which this token is there.
        kernel: (R, H, 64), mean share of attention by distance (see `distance_kernel`); nan for cross-attention.
        populations: For each row, "full attention" or "sliding window of n tokens"; rows of different kinds are not pooled.
        settings: Number of examples and precision.
    """

    grid: HeadGrid
    per_example: dict[str, np.ndarray]
    nulls: dict[str, np.ndarray]
    sink_position: np.ndarray
    sink_token: np.ndarray
    sink_token_share: np.ndarray
    kernel: np.ndarray
    populations: tuple[str, ...]
    settings: dict

    def mean(self, name: str) -> np.ndarray:
        """Return the mean (R, H) of a trait over the examples to which it applies; nan if there is none.

        Args:
            name: Name of the trait.

        Raises:
            HeadPruneError: If the name is unknown.
        """
        if name not in self.per_example:
            raise HeadPruneError(f"unknown trait {name!r}; choose one of {', '.join(self.per_example)}")
        return mean_where_known(self.per_example[name])

    def lift(self, role: str) -> np.ndarray:
        """Return the share of a role minus its null, (N, R, H).

        Args:
            role: Name of the role.

        Raises:
            HeadPruneError: If the role has no null.
        """
        if role not in self.nulls:
            raise HeadPruneError(f"unknown role {role!r}; choose one of {', '.join(self.nulls)}")
        return self.per_example[role] - self.nulls[role]

    def roles(self, threshold: float = 0.25, *, confidence: float = 0.95, seed: int = 0) -> pd.DataFrame:
        """Return the role of every head; see `role_table`."""
        return role_table(self._shares, threshold, confidence=confidence, seed=seed)

    def role_counts(self, thresholds=None) -> pd.DataFrame:
        """Return the number of heads of each role at several thresholds; see `headprune_core.inspection.roles`."""
        return role_counts(self._shares, thresholds)

    def label_stability(self, threshold: float = 0.25, *, splits: int = 20, seed: int = 0) -> float:
        """Return the share of heads with the same role in both halves of the examples, mean over random splits."""
        return label_stability(self._shares, threshold, splits=splits, seed=seed)

    @property
    def _shares(self) -> RoleShares:
        shares = {role: self.per_example[role] for role in ROLES}
        sinks = self.sink_token, self.sink_token_share
        return RoleShares(shares, self.nulls, self.per_example["entropy"], self.populations, *sinks)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per head: row, head, population, the mean of each trait and the null of each role."""
        rows, heads = self.grid.shape
        columns = {"row": np.repeat(np.arange(rows), heads), "head": np.tile(np.arange(heads), rows)}
        columns["population"] = np.repeat(np.array(self.populations, dtype=object), heads)
        columns |= {name: self.mean(name).ravel() for name in self.per_example}
        columns |= {f"{role}_null": mean_where_known(values).ravel() for role, values in self.nulls.items()}
        return pd.DataFrame(columns)


@runs_models
def head_traits(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> HeadTraits:
    """Compute the traits of every head.

    Args:
        model: An unpruned model.
        examples: Examples, with or without labels.
        batch_size: Maximum batch size; it does not affect the traits.
        dtype: Precision of matrix multiplications, "float32" or "bfloat16"; None uses the model's dtype.
        progress: Called as progress(done, total, note) before each batch; raise `Cancelled` in it to stop.

    Returns:
        The traits, with their per-example values.

    Raises:
        HeadPruneError: If an example is invalid, the model is pruned, or attention is not finite.

    Example:
        >>> traits = head_traits(model, examples)
        >>> traits.roles().primary.value_counts()
    """
    model.grid.check_unpruned("inspecting heads")
    encoded = encode(model, examples)
    traced, collected, done = model.in_precision(dtype), _Collected(len(encoded)), 0
    for full_batch in encoded.batches(batch_size, model.device, token_limit=token_limit(model, dtype)):
        for batch, found in in_parts(full_batch, lambda batch: _batch_traits(traced, batch)):
            if progress is not None:
                progress(done, len(encoded), "Inspecting heads")
            collected.add(batch.index, found)
            done += len(batch)
    if progress is not None:
        progress(done, len(encoded), "Inspecting heads")
    values = collected.values
    bad = ~np.isfinite(values["entropy"] + values["output_norm"] + values["sink"])
    if bad.any():
        example, row, head = np.argwhere(bad)[0]
        raise HeadPruneError(
            f"the attention of head {head} in row {model.grid.row_labels[row]} is not finite for example {example}; check "
            "the model's weights, or load it with dtype='float32'"
        )
    norm = values["output_norm"]
    per_example = {name: values["shares"][..., k] for k, name in enumerate(PATTERNS)} | {"sink": values["sink"]}
    per_example |= {name: values[name] for name in FURTHER if name in values}
    layer_mean = norm.mean(-1, keepdims=True)
    per_example["relative_output_norm"] = np.divide(norm, layer_mean, out=np.zeros_like(norm), where=layer_mean > 0)
    nulls = {name: values["nulls"][..., k] for k, name in enumerate(PATTERNS)} | {"sink": values["sink_null"]}
    assert tuple(nulls) == ROLES
    token, count = mode(values["sink_token"].astype(int), axis=0)
    return HeadTraits(
        grid=model.grid,
        per_example=per_example,
        nulls=nulls,
        sink_position=values["sink_position"].astype(int),
        sink_token=token_names(model, token),
        sink_token_share=count / len(encoded),
        kernel=values["kernel"].mean(0),
        populations=populations(model),
        settings={"examples": len(encoded), "dtype": dtype or str(model.model.dtype)[6:]},
    )


def populations(model: PrunableModel) -> tuple[str, ...]:
    """Return for each row "full attention" or the size of its sliding window, according to the model's modules."""
    windows = [getattr(row.module, "sliding_window", None) for row in model.grid.rows]
    return tuple(f"sliding window of {size:,} tokens" if size else "full attention" for size in windows)


def mean_where_known(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis without nan; nan where all values are."""
    known = np.isfinite(values)
    count = known.sum(0)
    return np.divide(np.where(known, values, 0.0).sum(0), count, out=np.full(values.shape[1:], np.nan), where=count > 0)


class _Collected:
    """Values of all examples, by name, filled batch by batch."""

    def __init__(self, examples: int):
        self._examples = examples
        self.values: dict[str, np.ndarray] = {}

    def add(self, index: np.ndarray, found: dict[str, torch.Tensor]) -> None:
        for name, part in found.items():
            array = part.cpu().numpy()
            self.values.setdefault(name, np.empty((self._examples, *array.shape[1:])))[index] = array


def _batch_traits(model: PrunableModel, batch: Batch) -> dict[str, torch.Tensor]:
    """Traits of one batch, (N, R, H, ...) by name; a row that several layers share has the mean of their traits."""
    rows = {row.module: row for row in model.grid.rows}
    streams, patterns = Streams(model, batch), {}
    found: dict[torch.nn.Module, list[dict]] = {module: [] for module in rows}

    def on_attention(call: AttentionCall) -> None:
        row = rows[call.module]
        if row.kind not in patterns:
            patterns[row.kind] = TokenPatterns(*streams.of(row.kind), crosses=row.kind == "cross")
        found[call.module].append(attention_traits(call, row, patterns[row.kind]))

    hooks = AttentionHooks(on_attention=on_attention)
    with use_hooks(hooks), torch.no_grad(), FrozenLinear(model.packed):
        model.logits(batch.inputs)
    per_row = [_mean_of_layers(found[row.module]) for row in model.grid.rows]
    values = {name: torch.stack([row[name] for row in per_row], dim=1) for name in per_row[0]}
    return values | {
        "sink_token": tokens_at(values["sink_position"].long(), [streams.of(row.kind)[1] for row in model.grid.rows])
    }


def _mean_of_layers(layers: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    if len(layers) == 1:
        return layers[0]
    found = {name: torch.stack([layer[name] for layer in layers]).mean(0) for name in layers[0]}
    strongest = torch.stack([layer["sink"] for layer in layers]).argmax(0, keepdim=True)
    positions = torch.stack([layer["sink_position"] for layer in layers])
    return found | {"sink_position": positions.gather(0, strongest)[0]}
