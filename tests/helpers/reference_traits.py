"""Slow reference of the head traits: eager attention in double precision, one example and one pair of tokens at a time."""

import math

import numpy as np
import torch
from helpers.reference import _attentions, _forward, inputs, prepared
from helpers.tiny_models import FAMILIES, columns


def reference_traits(model, family, examples, special):
    """Return (N, R, H) arrays by name: the share of each role, its null as "<role>_null", entropy and output_norm."""
    model, family = prepared(model), FAMILIES[family]
    found = [_one(model, family, example, special) for example in examples]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _one(model, family, example, special):
    output, z = _forward(model, family, example)
    attentions = [a[0].detach().numpy() for a in _attentions(output)]
    streams = _streams(model, example)
    calls_per_row = len(attentions) // len(z)
    rows = []
    for row, (outputs, projections) in enumerate(zip(z, family.projections(model), strict=True)):
        layers = []
        for call in range(calls_per_row):
            attention = attentions[row * calls_per_row + call]
            queries, keys = streams(row, attention)
            layers.append(_call(attention, outputs[call][0].detach(), projections[-1], queries, keys, special))
        rows.append({name: np.mean([layer[name] for layer in layers], axis=0) for name in layers[0]})
    nothing = np.full(attentions[0].shape[0], np.nan)  # cross-attention has fewer roles
    return {name: np.stack([row.get(name, nothing) for row in rows]) for name in rows[0]}


def _streams(model, example):
    """A function of the row and its attention that returns the tokens of its queries and keys; None for images."""
    if "pixel_values" in example:
        return lambda row, attention: (None, None)
    given = inputs(model, example)
    text = given["input_ids"][0].tolist()
    if not model.config.is_encoder_decoder:
        return lambda row, attention: (text, text)
    start = model.config.decoder_start_token_id
    decoder = given["decoder_input_ids"][0].tolist() if "decoder_input_ids" in given else [start, *text[:-1]]
    encoder_rows = getattr(model.config, "encoder_layers", None) or model.config.num_layers

    def of(row, attention):
        if row < encoder_rows:
            return text, text
        return (decoder, text) if (row - encoder_rows) % 2 else (decoder, decoder)

    return of


def _call(attention, z, out, queries, keys, special):
    heads = [_head(attention[head], queries, keys, special) for head in range(len(attention))]
    found = {name: np.array([one[name] for one in heads]) for name in heads[0]}
    weight, size = columns(out).detach(), z.shape[-1] // len(attention)
    parts = [slice(head * size, (head + 1) * size) for head in range(len(attention))]
    found["output_norm"] = np.array([float((z[:, part] @ weight[:, part].T).norm(dim=-1).mean()) for part in parts])
    return found


def _head(a, queries, keys, special):
    """Traits of one head with the attention `a` (T, S)."""
    size, found = a.shape, {}
    for role, belongs in _roles(a, queries, keys, special).items():
        shares, nulls = [], []
        for i in range(size[0]):
            visible = [j for j in range(size[1]) if a[i, j] > 0]
            members = [j for j in visible if belongs(i, j)]
            if 0 < len(members) < len(visible):
                shares.append(sum(a[i, j] for j in members))
                nulls.append(a[i].sum() * len(members) / len(visible))
        found[role] = np.mean(shares) if shares else math.nan
        found[f"{role}_null"] = np.mean(nulls) if shares else math.nan
    choosing = [i for i in range(size[0]) if (a[i] > 0).sum() > 1]
    found["sink"] = max(sum(a[i, j] for i in choosing) / max(len(choosing), 1) for j in range(size[1]))
    entropies = []
    for i in range(size[0]):
        visible = a[i][a[i] > 0]
        entropies.append(-(visible * np.log(visible)).sum() / math.log(len(visible)) if len(visible) > 1 else 0.0)
    return found | {"entropy": np.mean(entropies)}


def _roles(a, queries, keys, special):
    if queries is None:
        patches = math.isqrt(a.shape[1])
        before = a.shape[1] - patches**2

        def near(i, j, reach):
            if min(i, j) < before:
                return False
            (y, x), (v, u) = divmod(i - before, patches), divmod(j - before, patches)
            return max(abs(y - v), abs(x - u)) <= reach

        return {
            "self": lambda i, j: near(i, j, 0),
            "first": lambda i, j: j == 0,
            "local": lambda i, j: near(i, j, 1),
        }
    same = {}

    def is_same(i, j):
        return queries[i] == keys[j] and queries[i] not in special

    same["first"] = lambda i, j: j == 0
    same["delimiter"] = lambda i, j: j > 0 and keys[j] in special
    if queries is not keys:
        return same | {"same_token": is_same, "induction": lambda i, j: j > 0 and is_same(i, j - 1)}
    return same | {
        "previous": lambda i, j: j == i - 1,
        "next": lambda i, j: j == i + 1,
        "self": lambda i, j: j == i,
        "local": lambda i, j: abs(i - j) <= 3,
        "same_token": lambda i, j: i != j and is_same(i, j),
        "induction": lambda i, j: 0 < j < i and is_same(i, j - 1),
    }


def special_value_shares(model, family, example, special):
    """Value-weighted share on special tokens (R, H) (Kobayashi et al. 2020); v must be a projection of its own."""
    model, family = prepared(model), FAMILIES[family]
    values = []
    hooks = [
        row[2].register_forward_hook(lambda *call: values.append(call[2][0].detach())) for row in family.projections(model)
    ]
    output, _ = _forward(model, family, example)
    for hook in hooks:
        hook.remove()
    text = example["input_ids"]
    rows = []
    for attention, value, (*_, out) in zip(output.attentions, values, family.projections(model), strict=True):
        a, weight = attention[0].detach(), columns(out).detach()
        heads, size = len(a), weight.shape[1] // len(a)
        groups = value.shape[1] // size
        shares = []
        for head in range(heads):
            group = head * groups // heads
            f = value[:, group * size : (group + 1) * size] @ weight[:, head * size : (head + 1) * size].T
            weighted = a[head] * f.norm(dim=-1)
            marked = torch.tensor([token in special for token in text])
            shares.append(float((weighted[:, marked].sum(-1) / weighted.sum(-1)).mean()))
        rows.append(shares)
    return np.array(rows)
