"""AE, the attention entropy in nats (Greedy-Gnorm, Eq. 3): the mean over an example's real query tokens i of
-sum_j A_ij log A_ij over the real keys j.

For one row of scores s with probabilities p, H = logsumexp(s) - sum p s, and sum p s = scale * q . (sum p k): a second
attention call with the keys as values. Memory grows with T, not T^2, and log 0 never arises. Where the kernel that also
returns the logsumexp is not to be had, the softmax is formed explicitly, some query rows at a time.

kind  "exact": the formula. "normalized": each row divided by the log of the number of keys that it may see.
      "A" (exact), "B" -sum a log(a + eps), "C" -sum (a + eps) log(a + eps): explicit, for comparison (Eqs. 18-20).
"""

import torch
from torch import Tensor

from ..errors import HeadPruneError
from ..probe import AttentionCall

KINDS = ("exact", "normalized", "A", "B", "C")
EPSILON = 1e-8
_EXPLICIT_ELEMENTS = 2**24  # probabilities held at once by the explicit way


@torch.no_grad()
def attention_entropy(call: AttentionCall, real: Tensor, kind: str = "exact") -> Tensor:
    """(N, H) mean entropy of one attention call over the real query tokens, real (N, T) being False on padding."""
    if kind not in KINDS:
        raise HeadPruneError(f"entropy {kind!r} is not known; expected one of {', '.join(KINDS)}")
    query, key = call.query.detach().float(), call.key.detach().float()
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scale = call.scaling if call.scaling is not None else query.shape[-1] ** -0.5
    bias = _additive(call.mask, query)
    if kind in ("exact", "normalized"):
        streams = query.device.type == "cpu" and (call.mask is None or call.mask.dtype == torch.bool)
        rows = (_streamed if streams else _explicit)(query, key, bias, scale, call.causal)
    else:
        rows = _explicit(query, key, bias, scale, call.causal, variant=kind)
    if kind == "normalized":
        keys = _visible_keys(call, query, key)
        rows = torch.where(keys > 1, rows / keys.log(), 0.0)  # one key: nothing to be uncertain about
    rows = torch.where(real[:, None, :], rows, 0.0)
    return rows.double().sum(-1) / real.sum(-1, keepdim=True)


def _streamed(query, key, bias, scale, causal):
    """(N, H, T) entropies from one attention call with V := K and its logsumexp."""
    mean_key, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, key, 0.0, causal, attn_mask=bias, scale=scale
    )
    return (lse - scale * (query * mean_key).sum(-1)).clamp_min(0.0)


def _explicit(query, key, bias, scale, causal, variant="A"):
    """(N, H, T) entropies from the softmax itself, in chunks of query rows."""
    n, heads, queries, _ = query.shape
    keys = key.shape[2]
    step = max(1, _EXPLICIT_ELEMENTS // (n * heads * keys))
    parts = []
    for start in range(0, queries, step):
        scores = scale * query[:, :, start : start + step] @ key.transpose(-1, -2)
        if bias is not None:
            scores = scores + (bias[:, :, start : start + step] if bias.shape[2] > 1 else bias)
        if causal:
            row = torch.arange(start, start + scores.shape[2], device=query.device)
            scores = scores.masked_fill(torch.arange(keys, device=query.device) > row[:, None], -torch.inf)
        a = scores.softmax(-1)
        if variant == "A":
            parts.append(torch.special.entr(a).sum(-1))
        else:
            log = (a + EPSILON).log()
            seen = scores > -torch.inf
            parts.append(-torch.where(seen, (a + EPSILON if variant == "C" else a) * log, 0.0).sum(-1))
    return torch.cat(parts, dim=-1)


def _additive(mask, query):
    """The mask as something to add to scores, in the query's dtype, with query and key axes."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        return mask.detach().to(query.dtype)
    return torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(~mask, -torch.inf)


def _visible_keys(call, query, key):
    """How many keys each query row may see, broadcasting to (N, H, T)."""
    queries, keys = query.shape[2], key.shape[2]
    if call.causal:
        return torch.arange(1, queries + 1, device=query.device, dtype=query.dtype)
    if call.mask is None:
        return query.new_full((queries,), keys)
    seen = call.mask if call.mask.dtype == torch.bool else call.mask > torch.finfo(call.mask.dtype).min / 2
    return seen.sum(-1).to(query.dtype)
