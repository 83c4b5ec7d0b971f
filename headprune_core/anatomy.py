"""Where the heads of a model are, found by running it once on a few tokens and looking at what its attention modules do.

A row is an attention module that owns weights; a layer is one attention call of the forward pass. They differ where
layers share weights (ALBERT: one row, twelve layers). Rows and heads keep their numbers for ever.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from .errors import HeadPruneError
from .probe import ATTENTION, AttentionCall, Probe, probing, watch_projection

# The field's names for the projections of an attention module; the first that is there is taken.
PROJECTIONS = {
    "q": ("q_proj", "query", "q_lin", "q", "query_proj", "wq", "to_q"),
    "k": ("k_proj", "key", "k_lin", "k", "key_proj", "wk", "to_k"),
    "v": ("v_proj", "value", "v_lin", "v", "value_proj", "wv", "to_v"),
}
OUTPUTS = ("o_proj", "out_proj", "out_lin", "o", "out", "dense", "wo", "to_out")


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """One attention module: its path, its heads and the four projections around them."""

    name: str
    module: nn.Module
    heads: int
    kv_heads: int
    head_size: int
    q: nn.Module
    k: nn.Module
    v: nn.Module
    out: nn.Module

    @property
    def parameters_per_head(self) -> float:
        """Weights and biases that go with one head: its q rows, its share of a k and a v block, its output columns."""
        per_query = _rows(self.q) + self.out.weight.shape[0]
        per_key = _rows(self.k) + _rows(self.v)
        return self.head_size * (per_query + per_key * self.kv_heads / self.heads)


@dataclass(frozen=True, eq=False)
class HeadGrid:
    """The grid of prunable heads, R rows by H heads.

    layers[i] is the row that the i-th attention call of a forward pass uses; kv_group (R, H) numbers the key-value head
    that each query head reads; parameters_per_head (R, H) counts weights, a shared key-value block split evenly.
    """

    rows: tuple[AttentionRow, ...]
    layers: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.rows[0].heads

    @property
    def row_names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows)

    @property
    def kv_group(self) -> np.ndarray:
        return np.stack([np.arange(row.heads) * row.kv_heads // row.heads for row in self.rows])

    @property
    def parameters_per_head(self) -> np.ndarray:
        return np.stack([np.full(row.heads, row.parameters_per_head) for row in self.rows])


def find_heads(model: PreTrainedModel) -> tuple[HeadGrid, str]:
    """Switch `model` to our attention function, run it once and return its head grid and its task.

    The task is "classification" (logits of shape (N, C)) or "language" (logits of shape (N, T, V)).
    Raises HeadPruneError, naming the model and the reason, where heads cannot be found.
    """
    name = type(model).__name__
    if getattr(model.config, "is_encoder_decoder", False):
        raise HeadPruneError(f"{name} is an encoder-decoder; expected an encoder or a decoder alone (BERT, LLaMA, ...)")
    calls: list[AttentionCall] = []
    # without SDPA in its class a model has attention that SDPA would get wrong (sinks, soft caps)
    if model._can_set_attn_implementation() and model._supports_sdpa:
        model.set_attn_implementation(ATTENTION)
        logits = _try_out(model, Probe(on_attention=calls.append))
    if not calls:
        raise HeadPruneError(
            f"{name} computes attention in its own way, not as SDPA through the Transformers attention interface, so its "
            "heads cannot be reached; choose a model of a family that does (BERT, RoBERTa, ELECTRA, DistilBERT, LLaMA, ...)"
        )
    paths = {module: path for path, module in model.named_modules()}
    first_call = {call.module: call for call in reversed(calls)}
    order = list(dict.fromkeys(call.module for call in calls))
    rows = tuple(_row(model, paths[module], first_call[module]) for module in order)
    heads = Counter(row.heads for row in rows)
    if len(heads) > 1:
        raise HeadPruneError(f"{name} has rows of {sorted(heads)} heads; expected the same number of heads in every row")
    looks_back = all(getattr(module, "is_causal", True) for module in order)
    return HeadGrid(rows, tuple(order.index(call.module) for call in calls)), _task(model, logits, looks_back)


def watch(grid: HeadGrid) -> None:
    """Make the q, k and v projections of every row visible to probes."""
    for projection in {p for row in grid.rows for p in (row.q, row.k, row.v)}:
        watch_projection(projection)


def _try_out(model: PreTrainedModel, probe: Probe) -> torch.Tensor | None:
    """The logits for one text of 4 tokens, None where the model gives none."""
    tokens = torch.ones((1, 4), dtype=torch.long, device=model.device)
    try:
        with torch.no_grad(), probing(probe):
            return getattr(model(input_ids=tokens), "logits", None)
    except Exception as error:  # a model that wants other inputs fails in its own way
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(
            f"{type(model).__name__} does not run on a text alone ({type(error).__name__}: {reason}); expected a model for "
            "sequence classification or a causal language model"
        ) from error


def _task(model: PreTrainedModel, logits: torch.Tensor | None, looks_back: bool) -> str:
    shape = None if logits is None else tuple(logits.shape)
    if shape is not None and len(shape) == 2 and shape[1] > 1:
        return "classification"
    if looks_back and shape == (1, 4, model.get_input_embeddings().num_embeddings):
        return "language"
    found = "no logits" if shape is None else f"logits of shape {shape}"
    raise HeadPruneError(
        f"{type(model).__name__} gives {found} for one text of 4 tokens; expected (1, two or more classes), or "
        "(1, 4, vocabulary) of a language model that looks only backwards"
    )


def _row(model: PreTrainedModel, path: str, call: AttentionCall) -> AttentionRow:
    module = call.module
    found = {part: _child(module, names) for part, names in PROJECTIONS.items()}
    parent = model.get_submodule(path.rpartition(".")[0])
    found["out"] = _child(module, OUTPUTS) or _child(getattr(parent, "output", parent), OUTPUTS)
    missing = [part for part, projection in found.items() if projection is None]
    if missing:
        raise HeadPruneError(
            f"{type(model).__name__}: {path} ({type(module).__name__}) has no separate linear layer for "
            f"{', '.join(missing)}; expected one each for q, k, v and the output"
        )
    _, heads, _, size = call.query.shape
    row = AttentionRow(path, module, heads, call.key.shape[1], size, **found)
    widths = [found[part].weight.shape[0] for part in "qkv"]
    if widths != [heads * size, row.kv_heads * size, row.kv_heads * size]:
        raise HeadPruneError(
            f"{type(model).__name__}: {path} has q, k, v projections of width {widths}, which do not split into "
            f"{heads} query and {row.kv_heads} key-value heads of size {size}"
        )
    return row


def _child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    children = (getattr(module, name, None) for name in names)
    return next((child for child in children if isinstance(child, nn.Linear)), None)


def _rows(projection: nn.Module) -> int:
    """Parameters in one output row of a linear layer."""
    return projection.weight.shape[1] + (projection.bias is not None)
