"""Attention entropy (AE) in nats: the mean of -sum_j A_ij log A_ij over the real query tokens i (Greedy-Gnorm, Eq. 3).

For one row of attention scores s with probabilities p, the entropy is logsumexp(s) - sum p s, and sum p s equals
scale * q . (sum p k), which is a second attention call with the keys as values. Memory grows with T, not T^2, and log 0
never occurs. If the kernel that returns the logsumexp is not available, the softmax is computed in chunks of query rows.
"""

from dataclasses import replace

import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall

KINDS = ("exact", "normalized", "A", "B", "C")
EPSILON = 1e-8
_EXPLICIT_ELEMENTS = 2**24  # maximum number of probabilities in memory at a time


@torch.no_grad()
def attention_entropy(
    call: AttentionCall, queries: Tensor | None, kind: str = "exact", keys: Tensor | None = None
) -> Tensor:
    """Compute the mean entropy of each head in one attention call.

    Args:
        call: The attention call.
        queries: bool (N, T), query tokens to average over; None for all.
        kind: "exact"; "normalized", each row divided by the log of its number of visible keys; or, for comparison, the
            explicit forms "A" (exact), "B" -sum a log(a + eps) and "C" -sum (a + eps) log(a + eps) (Eqs. 18-20).
        keys: bool (N, S), keys to include, with attention renormalized over them; None for all.

    Returns:
        (N, H) entropies in nats, float64.

    Raises:
        HeadPruneError: If `kind` is unknown.
    """
    if kind not in KINDS:
        raise HeadPruneError(f"entropy must be one of {', '.join(KINDS)}, got {kind!r}")
    call = replace(call, query=call.query.detach().float(), key=call.key.detach().float(), mask=_restrict_keys(call, keys))
    streams = call.query.device.type == "cpu" and call.plain and (call.mask is None or call.mask.dtype == torch.bool)
    if streams and kind in ("exact", "normalized"):
        rows = _streamed(call)
    else:
        rows = _explicit(call, kind if kind in ("B", "C") else "A")
    if kind == "normalized":
        visible = _visible_keys(call)
        rows = torch.where(visible > 1, rows / visible.log(), 0.0)  # with one visible key, entropy is 0
    if queries is None:
        return rows.double().mean(-1)
    rows = torch.where(queries[:, None, :], rows, 0.0)
    return rows.double().sum(-1) / queries.sum(-1, keepdim=True)


def _restrict_keys(call: AttentionCall, keys: Tensor | None) -> Tensor | None:
    """Return the call's mask restricted to `keys` (N, S); a row without any of them is left fully visible."""
    if keys is None:
        return call.mask
    keys = keys[:, None, None, :]
    if call.mask is not None and call.mask.dtype != torch.bool:
        return call.mask.masked_fill(~keys, -torch.inf)
    mask = keys if call.mask is None else keys & call.mask
    if call.causal:
        size = call.key.shape[2]
        mask = mask & torch.ones(size, size, dtype=torch.bool, device=keys.device).tril()
    return mask | ~mask.any(-1, keepdim=True)


def _streamed(call: AttentionCall) -> Tensor:
    """Compute entropies (N, H, T) from one attention call with V := K and its logsumexp."""
    query = call.query
    key = call.key.repeat_interleave(query.shape[1] // call.key.shape[1], dim=1)
    bias = None
    if call.mask is not None:
        bias = torch.zeros(call.mask.shape, dtype=query.dtype, device=query.device).masked_fill(~call.mask, -torch.inf)
    mean_key, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, key, 0.0, call.causal and call.mask is None, attn_mask=bias, scale=call.scale
    )
    return (lse - call.scale * mean_key.mul_(query).sum(-1)).clamp_min(0.0)


def _explicit(call: AttentionCall, variant: str) -> Tensor:
    """Compute entropies (N, H, T) from the softmax, in chunks of query rows."""
    n, heads, queries, _ = call.query.shape
    step = max(1, _EXPLICIT_ELEMENTS // (n * heads * call.key.shape[2]))
    parts = []
    for start in range(0, queries, step):
        a, visible = call.probabilities(start, start + step)
        if variant == "A":
            parts.append(torch.special.entr(a).sum(-1))
        else:
            log = (a + EPSILON).log()
            parts.append(-torch.where(visible, (a + EPSILON if variant == "C" else a) * log, 0.0).sum(-1))
    return torch.cat(parts, dim=-1)


def _visible_keys(call: AttentionCall) -> Tensor:
    """Return the number of keys visible to each query row, broadcastable to (N, H, T)."""
    queries, keys = call.query.shape[2], call.key.shape[2]
    if call.mask is None:
        count = (
            torch.arange(1, queries + 1, device=call.query.device) if call.causal else call.query.new_full((queries,), keys)
        )
        return count.to(call.query.dtype)
    visible = call.mask if call.mask.dtype == torch.bool else call.mask > torch.finfo(call.mask.dtype).min / 2
    return visible.expand(*visible.shape[:-1], keys).sum(-1).to(call.query.dtype)
