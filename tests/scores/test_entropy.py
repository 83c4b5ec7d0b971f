"""Attention entropy against the explicit softmax in double precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headprune_core import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.scores import entropy
from headprune_core.scores.entropy import KINDS, attention_entropy

GENERATOR = torch.Generator().manual_seed(0)


def random_call(tokens, *, examples=2, heads=4, kv_heads=4, size=8, keys=None, scale=None, sharpness=1.5, **more):
    query = torch.randn(examples, heads, tokens, size, generator=GENERATOR) * sharpness
    key = torch.randn(examples, kv_heads, keys or tokens, size, generator=GENERATOR) * sharpness
    return call_of(query, key, scale=size**-0.5 if scale is None else scale, **more)


def call_of(query, key, *, mask=None, scale=0.5, causal=False, **more):
    return AttentionCall(torch.nn.Identity(), query, key, key, mask, scale, causal, **more)


def padding(tokens, *lengths):
    """Real tokens (N, T), and the same as a mask over keys (N, 1, T, T)."""
    real = torch.arange(tokens) < torch.tensor(lengths)[:, None]
    return real, real[:, None, None, :].expand(-1, 1, tokens, -1).clone()


def everything(call):
    return torch.ones(call.query.shape[0], call.query.shape[2], dtype=torch.bool)


def plain(call, real, kind="exact", epsilon=1e-8, keys=None):
    """(N, H), one example, head and query at a time, over the visible keys that are in `keys` (N, S)."""
    examples, heads = call.query.shape[:2]
    group = heads // call.key.shape[1]
    result = np.zeros((examples, heads))
    for n in range(examples):
        for h in range(heads):
            scores = call.scale * (call.query[n, h].double() @ call.key[n, h // group].double().T).numpy()
            if call.softcap is not None:
                scores = call.softcap * np.tanh(scores / call.softcap)
            rows = []
            for i in np.flatnonzero(real[n]):
                row, allowed = scores[i], np.ones(scores.shape[1], bool)
                if call.mask is not None:
                    mask = call.mask.expand(examples, heads, *scores.shape)[n, h, i].numpy()
                    row, allowed = (row, mask) if mask.dtype == bool else (row + mask.astype(float), mask > -1e30)
                if call.causal:
                    allowed = allowed & (np.arange(len(row)) <= i)
                if keys is not None:
                    allowed = allowed & keys[n].numpy()
                row = row[allowed]
                a = np.exp(row - row.max())
                a /= a.sum() + (0 if call.sinks is None else np.exp(call.sinks[h].item() - row.max()))
                value = {
                    "B": lambda a: -(a * np.log(a + epsilon)).sum(),
                    "C": lambda a: -((a + epsilon) * np.log(a + epsilon)).sum(),
                    "normalized": lambda a: -(a * np.log(a)).sum() / np.log(len(a)) if len(a) > 1 else 0.0,
                }.get(kind, lambda a: -(a[a > 0] * np.log(a[a > 0])).sum())
                rows.append(value(a))
            result[n, h] = np.mean(rows)
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_without_a_mask(kind, causal, kv_heads):
    call = random_call(17, kv_heads=kv_heads, causal=causal)
    np.testing.assert_allclose(
        attention_entropy(call, everything(call), kind), plain(call, everything(call), kind), atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["boolean", "additive", "lowest number"])
def test_with_padding_as_a_mask(kind, form):
    real, mask = padding(12, 12, 7)
    if form != "boolean":
        lowest = -torch.inf if form == "additive" else torch.finfo(torch.float32).min
        mask = torch.zeros(mask.shape).masked_fill(~mask, lowest)
    call = random_call(12, mask=mask)
    np.testing.assert_allclose(attention_entropy(call, real, kind), plain(call, real, kind), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_with_padding_and_causality_in_one_mask(kind):
    real, mask = padding(9, 9, 4)
    call = random_call(9, kv_heads=2, mask=mask & torch.ones(9, 9, dtype=torch.bool).tril())
    np.testing.assert_allclose(attention_entropy(call, real, kind), plain(call, real, kind), atol=1e-5)


@pytest.mark.parametrize("tokens", [512, 2048])
@pytest.mark.parametrize("causal", [False, True])
def test_streamed_equals_explicit_on_long_texts(tokens, causal):
    call = random_call(tokens, examples=1, heads=2, kv_heads=1, causal=causal)
    streamed, explicit = (attention_entropy(call, everything(call), kind) for kind in ("exact", "A"))
    torch.testing.assert_close(streamed, explicit, rtol=1e-5, atol=1e-5)


def test_streamed_equals_explicit_for_sharp_attention():
    call = random_call(64, sharpness=8.0)
    streamed, explicit = (attention_entropy(call, everything(call), kind) for kind in ("exact", "A"))
    torch.testing.assert_close(streamed, explicit, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["A", "B", "C"])
@pytest.mark.parametrize("causal", [False, True])
def test_chunks_of_query_rows_change_nothing(kind, causal, monkeypatch):
    real, mask = padding(11, 11, 6)
    staircase = torch.ones(11, 11, dtype=torch.bool).tril(4)
    call = random_call(11, mask=None if causal else mask & staircase, causal=causal)
    whole = attention_entropy(call, real, kind)
    monkeypatch.setattr(entropy, "_EXPLICIT_ELEMENTS", 2 * 4 * 11 * 3)  # three rows at a time
    torch.testing.assert_close(attention_entropy(call, real, kind), whole)


@pytest.mark.parametrize("kind", ["exact", "A", "B", "C"])
def test_uniform_attention_has_the_log_of_the_number_of_keys(kind):
    real, mask = padding(20, 20, 5)
    call = random_call(20, mask=mask, sharpness=0.0)
    expected = torch.tensor([20.0, 5.0]).log()[:, None].expand(2, 4)
    torch.testing.assert_close(attention_entropy(call, real, kind), expected.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_normalized_uniform_attention_is_one(causal):
    call = random_call(20, causal=causal, sharpness=0.0)
    # the first row of a causal model sees one key and counts as 0
    expected = torch.full((2, 4), 19 / 20 if causal else 1.0, dtype=torch.double)
    torch.testing.assert_close(attention_entropy(call, everything(call), "normalized"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sharpness", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("causal", [False, True])
def test_normalized_lies_between_zero_and_one(sharpness, causal):
    call = random_call(33, causal=causal, sharpness=sharpness)
    value = attention_entropy(call, everything(call), "normalized")
    assert value.min() >= 0
    assert value.max() <= 1 + 1e-6


def test_attention_to_one_key_has_no_entropy():
    query = torch.ones(1, 1, 6, 4)
    key = torch.zeros(1, 1, 6, 4)
    key[0, 0, 2] = 500.0
    call = call_of(query, key)
    for kind in KINDS:
        assert attention_entropy(call, everything(call), kind).item() == pytest.approx(0.0, abs=1e-4)


def test_one_key_has_zero_and_not_negative_entropy():
    call = random_call(9, heads=64, kv_heads=64, sharpness=4.0, causal=True)
    value = attention_entropy(call, torch.arange(9).expand(2, 9) == 0)
    assert value.min() >= 0
    assert value.max() < 1e-4


@pytest.mark.slow
def test_the_variants_differ_by_what_their_epsilon_adds():
    query, key = torch.ones(1, 1, 2048, 4), torch.zeros(1, 1, 2048, 4)
    call = call_of(query, key)
    a, b, c = (attention_entropy(call, everything(call), kind).item() for kind in "ABC")
    assert a - b == pytest.approx(np.log1p(2048e-8), abs=5e-6)  # uniform: B takes the log of a little more
    key[0, 0, 7] = 500.0
    a, b, c = (attention_entropy(call, everything(call), kind).item() for kind in "ABC")
    assert (a, b) == pytest.approx((0.0, 0.0), abs=1e-7)
    assert c == pytest.approx(-2047e-8 * np.log(1e-8), rel=1e-3)  # all on one key: C counts the others too


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [None, "boolean", "additive"])
@pytest.mark.parametrize("special", [{"softcap": 1.5}, {"sinks": torch.tensor([-1.0, 0.0, 1.0, 3.0])}])
def test_soft_caps_and_sinks(kind, form, special):
    """The log in a normalized entropy counts the visible keys, not the sink."""
    real, mask = padding(12, 12, 7)
    mask = mask & torch.ones(12, 12, dtype=torch.bool).tril()
    if form == "additive":
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    call = random_call(12, kv_heads=2, mask=None if form is None else mask, causal=form is None, **special)
    np.testing.assert_allclose(attention_entropy(call, real, kind), plain(call, real, kind), atol=1e-5)
    bare = replace(call, softcap=None, sinks=None)
    assert not np.allclose(attention_entropy(call, real, kind), plain(bare, real, kind), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [None, "boolean", "bias by head"])
def test_cross_attention_to_an_encoder_of_another_length(kind, form):
    real = torch.arange(5) < torch.tensor([5, 3])[:, None]
    mask = (torch.arange(11) < torch.tensor([4, 11])[:, None])[:, None, None].expand(-1, 1, 5, -1)
    if form == "bias by head":
        mask = torch.randn(1, 4, 5, 11, generator=GENERATOR).masked_fill(~mask, torch.finfo(torch.float32).min)
    call = random_call(5, keys=11, mask=None if form is None else mask)
    np.testing.assert_allclose(attention_entropy(call, real, kind), plain(call, real, kind), atol=1e-5)


def test_without_queries_all_are_averaged():
    call = random_call(9)
    torch.testing.assert_close(attention_entropy(call, None), attention_entropy(call, everything(call)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["causal", "none", "boolean", "additive"])
def test_entropy_over_selected_keys(kind, form):
    """Attention over the selected keys is renormalized; only queries that see one of them are compared."""
    real, mask = padding(12, 12, 8)
    if form == "additive":
        mask = torch.randn(2, 4, 12, 12, generator=GENERATOR).masked_fill(~mask, -torch.inf)
    elif form in ("causal", "none"):
        mask = None
    call = random_call(12, kv_heads=2, mask=mask, causal=form == "causal")
    keys = real & (torch.arange(12) % 3 > 0)
    queries = keys.clone()
    expected = plain(call, queries, kind, keys=keys)
    np.testing.assert_allclose(attention_entropy(call, queries, kind, keys), expected, atol=1e-5)
    assert not np.allclose(attention_entropy(call, queries, kind), expected, atol=0.01)


def test_the_scale_of_the_model_is_used():
    sharp, flat = (random_call(9, scale=scale) for scale in (2.0, 1e-6))
    np.testing.assert_allclose(attention_entropy(sharp, everything(sharp)), plain(sharp, everything(sharp)), atol=1e-5)
    np.testing.assert_allclose(attention_entropy(flat, everything(flat)), np.log(9), rtol=1e-5)


def test_an_unknown_kind_is_refused():
    call = random_call(4)
    with pytest.raises(HeadPruneError, match="entropy must be one of exact, normalized, A, B, C, got 'D'"):
        attention_entropy(call, everything(call), "D")
