"""Traits of the heads in one attention call, from attention probabilities that are computed in blocks of query rows.

A query row counts for a role if at least one key that it can see belongs to the role, and at least one does not. The null of
a role is the share that the row would have if its attention were uniform over all keys that it can see.

Shapes: N examples, T query tokens, S key tokens, H heads, K roles.
"""

import torch
from torch import Tensor, nn

from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.model.head_layout import AttentionRow
from headprune_core.scores.entropy import attention_entropy

from .distance_kernel import BINS
from .token_patterns import PATTERNS, TokenPatterns

BLOCK_ELEMENTS = 2**20  # maximum number of probabilities in memory at a time


@torch.no_grad()
def attention_traits(call: AttentionCall, row: AttentionRow, patterns: TokenPatterns) -> dict[str, Tensor]:
    """Compute the traits of every head in one attention call.

    Args:
        call: The attention call, with its output.
        row: The attention row, with the weights of the output projection.
        patterns: The patterns of the roles for the inputs.

    Returns:
        float64 tensors by name: "shares" and "nulls" (N, H, K) in the order of PATTERNS, nan where no row counts;
        "sink", "sink_null" and "sink_position" (N, H); "entropy" (N, H), normalized; "special" and "weighted_special"
        (N, H), the share of attention and of value-weighted attention on special tokens; "output_norm" (N, H); and
        "kernel" (N, H, BINS), nan if positions cannot be compared.

    Raises:
        HeadPruneError: If the heads of the call can see different keys.
    """
    real = patterns.queries.real
    totals = _Totals(call, row, patterns)
    step = max(1, BLOCK_ELEMENTS // (real.shape[0] * call.query.shape[1] * call.key.shape[2]))
    for start in range(0, real.shape[1], step):
        totals.add(start, min(start + step, real.shape[1]))
    found = totals.means()
    found["entropy"] = attention_entropy(call, real, "normalized")
    found["output_norm"] = _mean_over(real, transformed_norms(row, call.output.transpose(1, 2)))
    return {name: values.double() for name, values in found.items()}


class _Totals:
    """Sums over query rows, block by block."""

    def __init__(self, call: AttentionCall, row: AttentionRow, patterns: TokenPatterns):
        self._call, self._patterns = call, patterns
        n, heads, keys = len(call.query), call.query.shape[1], call.key.shape[2]
        device = call.query.device
        value = call.value.repeat_interleave(heads // call.value.shape[1], dim=1)
        self._sizes = transformed_norms(row, value) * patterns.keys.real[:, None]
        self._special = patterns.keys.special.to(self._sizes.dtype)[:, None].expand(n, heads, keys)
        self._shares = torch.zeros(2, n, heads, len(PATTERNS), dtype=torch.float64, device=device)
        self._rows = torch.zeros(n, len(PATTERNS), dtype=torch.float64, device=device)
        self._columns = torch.zeros(2, n, heads, keys, dtype=torch.float64, device=device)
        self._column_rows = torch.zeros(n, dtype=torch.float64, device=device)
        self._on_special = torch.zeros(2, n, heads, dtype=torch.float64, device=device)
        self._kernel = torch.zeros(n, heads, BINS, dtype=torch.float64, device=device)

    def add(self, start: int, stop: int) -> None:
        """Add the query rows from `start` to `stop`."""
        real = self._patterns.queries.real[:, start:stop]
        attention = self._call.probabilities(start, stop)[0].masked_fill(~real[:, None, :, None], 0.0)
        visible = _visible(self._call, start, stop, real) & self._patterns.keys.real[:, None]
        total, seen = attention.sum(-1), visible.sum(-1)  # with sinks, the total is below 1
        pairs = self._patterns.block(start, stop) & visible[..., None]
        count = pairs.sum(2)
        counts = (count > 0) & (count < seen[..., None]) & real[..., None]
        shares = torch.einsum("nhts,ntsk->nhtk", attention, pairs.to(attention.dtype))
        uniform = (count / seen.clamp(min=1)[..., None]).to(attention.dtype)
        self._shares[0] += torch.einsum("nhtk,ntk->nhk", shares, counts.to(attention.dtype))
        self._shares[1] += torch.einsum("nht,ntk->nhk", total, uniform * counts)
        self._rows += counts.sum(1)
        chooses = (real & (seen > 1)).to(attention.dtype)
        self._columns[0] += torch.einsum("nhts,nt->nhs", attention, chooses)
        per_key = total * (chooses / seen.clamp(min=1))[:, None]
        self._columns[1] += torch.einsum("nht,nts->nhs", per_key, visible.to(attention.dtype))
        self._column_rows += chooses.sum(1)
        weights = torch.stack([self._special, self._special * self._sizes, self._sizes], dim=-1)
        special, weighted, everything = (attention @ weights).unbind(-1)
        self._on_special[0] += special.sum(-1)
        self._on_special[1] += (weighted / everything.clamp(min=torch.finfo(weighted.dtype).tiny)).sum(-1)
        kernel = self._patterns.kernel(attention, start)
        if kernel is not None:
            self._kernel += kernel

    def means(self) -> dict[str, Tensor]:
        """Means over the query rows that count, by name."""
        rows = self._rows[:, None].where(self._rows[:, None] > 0, torch.nan)
        all_rows = self._patterns.queries.real.sum(-1, keepdim=True)
        columns = self._columns / self._column_rows.clamp(min=1)[:, None, None]
        sink, position = columns[0].max(-1)
        return {
            "shares": self._shares[0] / rows,
            "nulls": self._shares[1] / rows,
            "sink": sink,
            "sink_null": columns[1].amax(-1),
            "sink_position": position,
            "special": self._on_special[0] / all_rows,
            "weighted_special": self._on_special[1] / all_rows,
            "kernel": self._kernel / all_rows[..., None] if not self._patterns.crosses else self._kernel * torch.nan,
        }


def _visible(call: AttentionCall, start: int, stop: int, real: Tensor) -> Tensor:
    """Which keys each query can see, bool (N, T, S), for all heads alike."""
    size, keys = stop - start, call.key.shape[2]
    shape = (len(real), size, keys)
    if call.causal:
        return torch.ones(size, keys, dtype=torch.bool, device=real.device).tril(start).expand(shape)
    if call.mask is None:
        return torch.ones(1, dtype=torch.bool, device=real.device).expand(shape)
    mask = call.mask[:, :, start:stop] if call.mask.shape[2] > 1 else call.mask
    visible = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    visible = visible & real[:, None, :, None]
    if not torch.equal(visible, visible[:, :1].expand_as(visible)):
        raise HeadPruneError("heads of one layer can see different tokens, so their attention cannot be compared")
    return visible[:, 0].expand(shape)


def transformed_norms(row: AttentionRow, vectors: Tensor) -> Tensor:
    """Return the norms of vectors after the output projection of their head.

    Args:
        row: The attention row, with the weights of the output projection.
        vectors: (N, H, T, D) values or head outputs, for every head of the row.

    Returns:
        (N, H, T) norms.
    """
    return _norms(vectors, _grams(row, vectors))


def _grams(row: AttentionRow, like: Tensor) -> Tensor:
    """(H, D, D) Gram matrices of each head's part of the output projection: |W v|^2 = v' W' W v."""
    blocks = row.out.blocks(outputs=False)
    transposed = isinstance(row.out.module, nn.Linear)  # the weight of a Conv1D is transposed
    parts = torch.stack([block if transposed else block.T for block in blocks]).to(_precise(like))
    return parts.transpose(1, 2) @ parts


def _norms(vectors: Tensor, grams: Tensor) -> Tensor:
    """Norms (N, H, T) of projected vectors (N, H, T, D)."""
    vectors = vectors.to(_precise(vectors))
    return ((vectors @ grams) * vectors).sum(-1).clamp(min=0).sqrt()


def _precise(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _mean_over(real: Tensor, values: Tensor) -> Tensor:
    """Mean (N, H) of values (N, H, T) over real tokens."""
    return torch.where(real[:, None], values, 0.0).double().sum(-1) / real.sum(-1, keepdim=True)
