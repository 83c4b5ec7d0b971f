"""2048 tokens: HIS against finite differences of the loss, entropy against the explicit softmax in double precision."""

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.reference import Double, inputs, prepared
from helpers.tiny_models import GROUPED, SMALL, T5, randomized

import headprune_core as hp
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.scores.entropy import attention_entropy

TOKENS = 2048
SHORT = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": TOKENS}
PLAIN, SHARED = SMALL | SHORT, GROUPED | SHORT | {"num_key_value_heads": 1}
BUILDS = {
    "encoder": lambda: t.BertForSequenceClassification(t.BertConfig(**PLAIN, num_labels=3)),
    "causal": lambda: t.LlamaForCausalLM(t.LlamaConfig(**SHARED)),
    "window": lambda: t.MistralForCausalLM(t.MistralConfig(**SHARED, sliding_window=300)),
    "bias": lambda: t.T5ForSequenceClassification(t.T5Config(**T5 | {"num_layers": 1, "num_heads": 2}, num_labels=3)),
}


def long_and_shorter():
    generator = np.random.default_rng(0)
    # the end of the text is what T5's classifier reads at
    rows = [[*generator.integers(5, 90, n - 1).tolist(), 1] for n in (TOKENS, 700)]
    return datasets.Dataset.from_dict({"input_ids": rows, "label": [0, 2]})


def loss(model, example, gates):
    """The loss in double precision; for a language model, that of the library."""
    by_module = {row.module: gate[:, None] for row, gate in zip(model.grid.rows, gates, strict=True)}
    ids = torch.tensor([example["input_ids"]])
    with torch.no_grad(), Double(), use_hooks(AttentionHooks(gates=by_module)):
        if model.task == "language":
            return model.model(input_ids=ids, labels=ids).loss.item()
        logits = model.model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits, torch.tensor([example["label"]])).item()


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_his_is_the_derivative_of_the_loss(kind):
    model, examples = hp.PrunableModel(randomized(BUILDS[kind]).double()), long_and_shorter()
    found = hp.score_heads(model, examples, metrics=("his",), batch_size=2).per_example["his"]
    step = 1e-5
    for n, example in enumerate(examples):
        for row, head in ((0, 1), (1, 0)):
            bump = torch.zeros(2, 2, dtype=torch.double)
            bump[row, head] = step
            slope = (loss(model, example, 1 + bump) - loss(model, example, 1 - bump)) / (2 * step)
            assert abs(slope) > 1e-5
            assert found[n, row, head] == pytest.approx(abs(slope), rel=1e-4, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUILDS)
def test_entropy_equals_that_of_the_softmax_of_the_library(kind):
    """Both examples are in one batch, so that the shorter is padded."""
    model, examples = randomized(BUILDS[kind]), long_and_shorter()
    found = hp.score_heads(hp.PrunableModel(model), examples, metrics=("ae",), batch_size=2).per_example["ae"]
    model = prepared(model)
    for n, example in enumerate(examples):
        with torch.no_grad(), Double():
            output = model(**inputs(model, example), output_attentions=True)
        if kind == "bias":
            attentions = output.encoder_attentions + output.decoder_attentions + output.cross_attentions
        else:
            attentions = output.attentions
        expected = torch.stack([torch.special.entr(a[0]).sum(-1).mean(-1) for a in attentions])
        assert expected.dtype == torch.double
        np.testing.assert_allclose(found[n], expected, rtol=1e-4, atol=1e-5)


def window(tokens, reach):
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    return (distance >= 0) & (distance < reach)


SHAPES = {
    "whole": {},
    "causal": {"causal": True},
    "padding": {"real": (TOKENS, 700)},
    "window and padding": {"real": (TOKENS, 700), "seen": window(TOKENS, 100)},
    "bias and padding": {"real": (TOKENS, 700), "bias": True},
    "bias, window and padding": {"real": (TOKENS, 700), "bias": True, "seen": window(TOKENS, 100)},
    "soft cap": {"causal": True, "softcap": 2.0},
    "sink": {"causal": True, "sinks": torch.tensor([1.0, 4.0])},
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("groups", [2, 1])
def test_entropy_of_a_call_equals_that_of_its_softmax(shape, groups):
    generator, options = torch.Generator().manual_seed(0), dict(shape)
    lengths, seen, bias = options.pop("real", None), options.pop("seen", None), options.pop("bias", False)
    examples = 1 if lengths is None else 2
    query, key = (torch.randn(examples, n, TOKENS, 8, generator=generator) * 1.5 for n in (2, groups))
    real = torch.arange(TOKENS) < torch.tensor(lengths or [TOKENS])[:, None]
    allowed = real[:, None, None, :].expand(-1, 1, TOKENS, -1)
    allowed = allowed if seen is None else allowed & seen
    places = torch.randn(1, 2, TOKENS, TOKENS, generator=generator) if bias else torch.zeros(1, 1, 1, 1)
    mask = None if lengths is None else allowed
    mask = places.masked_fill(~allowed, torch.finfo(torch.float32).min) if bias else mask
    call = AttentionCall(torch.nn.Identity(), query, key, key, mask, 8**-0.5, **{"causal": False} | options)
    found = attention_entropy(call, real)

    if options.get("causal"):
        allowed = allowed & window(TOKENS, TOKENS)
    for n in range(examples):
        for head in range(2):
            scores = query[n, head].double() @ key[n, head * groups // 2].double().T / 8**0.5
            if "softcap" in options:
                scores = options["softcap"] * (scores / options["softcap"]).tanh()
            scores = (scores + places[0, head % places.shape[1]].double()).masked_fill(~allowed[n, 0], -torch.inf)
            if "sinks" in options:
                scores = torch.cat([scores, options["sinks"][head].double().expand(TOKENS, 1)], -1)
            a = scores[real[n]].softmax(-1)[:, :TOKENS]
            expected = -(a * a.clamp_min(1e-300).log()).sum(-1).mean().item()
            assert found[n, head].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
