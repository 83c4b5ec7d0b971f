"""The data of the attention view: tokens and attention as a JSON-able dictionary.

Numbers are unsigned 16-bit integers round(65535 p), little-endian, as base64. Texts of up to 512 tokens have all pairs; of
longer texts, each query has its 64 strongest keys and the sum of the others.
"""

import base64
import hashlib
import json

import numpy as np

FORMAT = "headprune-attention/1"
FULL_UP_TO = 512  # tokens
STRONGEST = 64  # keys of each query in longer texts
SCALE = 65535


def attention_document(found) -> dict:
    """Return the data of the attention view.

    Args:
        found: The `TextAttention`.

    Returns:
        A dictionary with:

        - "format": "headprune-attention/1"; "id": digest of the content; "model"; "kind"; "notes";
        - "queries" and "keys" with "tokens", "surface", "special" and "segment" for each token;
        - "storage": "all pairs", or "strongest keys" with "per_query", their number;
        - "heads": for each entry "row", "head", "layer" and "label", and "raw" and "weighted" attention. All pairs are
          "values", (T, S) integers. Strongest keys are "keys", (T, per_query) positions, "values" of the same shape, and
          "rest", (T,), the sums of the others.

        The weighted attention of each query is divided by its sum, so both kinds of attention sum to 1.
    """
    full = max(found.attention.shape[1:]) <= FULL_UP_TO
    heads = []
    for (row, head, layer), label, raw, weighted in zip(
        found.heads, found.labels, found.attention, found.weighted, strict=True
    ):
        totals = weighted.sum(-1, keepdims=True)
        shares = np.divide(weighted, totals, out=np.zeros_like(weighted), where=totals > 0)
        entry = {"row": row, "head": head, "layer": layer, "label": label}
        heads.append(entry | {"raw": _packed(raw, full), "weighted": _packed(shares, full)})
    document = {
        "format": FORMAT,
        "model": found.model,
        "kind": found.kind,
        "notes": list(found.notes),
        "queries": _side(found.queries),
        "keys": _side(found.keys),
        "heads": heads,
    }
    document |= (
        {"storage": "all pairs"} if full else {"storage": "strongest keys", "per_query": min(STRONGEST, len(found.keys))}
    )
    digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    return document | {"id": digest[:16]}


def _side(tokens) -> dict:
    return {
        "tokens": list(tokens.tokens),
        "surface": list(tokens.surface),
        "special": [int(special) for special in tokens.special],
        "segment": list(tokens.segment),
    }


def _packed(attention: np.ndarray, full: bool) -> dict[str, str]:
    """Attention (T, S) in [0, 1] as base64 integers."""
    if full:
        return {"values": _base64(_integers(attention))}
    count = min(STRONGEST, attention.shape[1])
    keys = np.argsort(-attention, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(attention, keys, axis=1)
    rest = attention.sum(1, dtype=np.float64) - values.sum(1, dtype=np.float64)
    return {"keys": _base64(keys.astype("<u4")), "values": _base64(_integers(values)), "rest": _base64(_integers(rest))}


def _integers(shares: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(shares, 0.0, 1.0) * SCALE).astype("<u2")


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
