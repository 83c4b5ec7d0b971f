"""Attention hooks: several threads share one model, and no hook remains after a call."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.reference import plain_logits
from helpers.tiny_models import FAMILIES, SMALL, columns, examples_for, random_examples, tiny
from transformers import BertConfig, BertForMaskedLM

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks


@pytest.fixture(scope="module")
def shared():
    return hp.PrunableModel(tiny("bert"))


def answer(model, family="bert"):
    examples = examples_for(family, count=3).select([2])
    (batch,) = encode(model, examples).batches(1, model.device)
    with torch.no_grad():
        return model.logits(batch.inputs)


@pytest.mark.slow
def test_eight_threads_on_one_model_get_independent_results(shared, eager_switching):
    texts = [random_examples(count=6 + number, seed=number) for number in range(8)]

    def task(number):
        generator, examples = np.random.default_rng(number), texts[number]
        reduction = ("example", "token")[number % 2]
        scores = hp.score_heads(shared, examples, batch_size=1 + number, his_reduction=reduction)
        masks = generator.random((3, *shared.grid.shape)) < 0.6
        logits = hp.evaluate_masks(shared, examples, masks, batch_size=2 + number).logits
        return [*scores.per_example.values(), logits]

    alone = [task(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = [result for _ in range(3) for result in pool.map(task, range(8))]
    for number, results in enumerate(together):
        for result, expected in zip(results, alone[number % 8], strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_without_hooks_logits_equal_those_of_the_library(family):
    model, examples = tiny(family), examples_for(family)
    expected = plain_logits(model, examples)
    wrapped = hp.PrunableModel(model)
    for batch in encode(wrapped, examples).batches(4, wrapped.device):
        with torch.no_grad():
            logits = wrapped.logits(batch.inputs)
        read = batch.real if batch.decoder_real is None else batch.decoder_real
        for n, i in enumerate(batch.index):
            found = logits[n] if wrapped.task == "classification" else logits[n][read[n]]
            np.testing.assert_allclose(found, expected[i], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gate_scales_the_input_of_the_output_projection(family):
    model = tiny(family)
    scaled, factors = copy.deepcopy(model), torch.rand(len(FAMILIES[family].projections(model)), 4) * 2
    with torch.no_grad():
        for (*_, out), factor in zip(FAMILIES[family].projections(scaled), factors, strict=True):
            weight = columns(out)
            weight *= factor.repeat_interleave(weight.shape[1] // 4)
    wrapped = hp.PrunableModel(model)
    before = answer(wrapped, family)
    with use_hooks(AttentionHooks(gates={r.module: f[:, None] for r, f in zip(wrapped.grid.rows, factors, strict=True)})):
        gated = answer(wrapped, family)
    torch.testing.assert_close(gated, answer(hp.PrunableModel(scaled), family), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(gated, before, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_has_the_inputs_and_output_of_its_module(family):
    """The output equals the softmax attention of the call's inputs, and is the input of the output projection."""
    wrapped, calls, read = hp.PrunableModel(tiny(family)), [], []
    hooks = [
        out.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        for *_, out in FAMILIES[family].projections(wrapped.model)
    ]
    with use_hooks(AttentionHooks(on_attention=calls.append)):
        answer(wrapped, family)
    for hook in hooks:
        hook.remove()
    assert [call.module for call in calls] == [wrapped.grid.rows[row].module for row in wrapped.grid.layers]
    for call, x in zip(calls, read, strict=True):
        torch.testing.assert_close(call.output.flatten(2), x, rtol=0, atol=0)
        torch.testing.assert_close(call.attend(), call.output, rtol=1e-5, atol=1e-5)
        probabilities, seen = call.probabilities()
        assert (probabilities[~seen.expand_as(probabilities)] == 0).all()
        sums = probabilities.sum(-1)
        assert (sums < 1).all() if family == "gpt-oss" else torch.allclose(sums, torch.ones(()))
        assert (call.softcap is not None) == (family == "gemma2")
        assert (call.sinks is not None) == (family == "gpt-oss")
        assert call.plain == (family not in ("gemma2", "gpt-oss"))
        start = call.probabilities(2, 4)
        torch.testing.assert_close(start[0], probabilities[:, :, 2:4])


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_tracing_leaves_hooks_on_q_k_and_v_only(family):
    wrapped = hp.PrunableModel(tiny(family))
    hooked = {module for module in wrapped.model.modules() if module._forward_hooks}
    assert hooked == {part for row in FAMILIES[family].projections(wrapped.model) for part in row[:3]}


def test_a_refused_model_keeps_no_hook():
    model = BertForMaskedLM(BertConfig(**SMALL))
    with pytest.raises(hp.HeadPruneError):
        hp.PrunableModel(model)
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_not_active_in_another_thread(shared):
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with ThreadPoolExecutor(1) as pool, use_hooks(AttentionHooks(gates=gates)):
        here, there = answer(shared), pool.submit(answer, shared).result()
    assert torch.equal(there, answer(shared))
    assert not torch.allclose(here, there)


def test_outer_hooks_are_restored_after_inner_ones(shared):
    outer, inner = [], []
    with use_hooks(AttentionHooks(on_attention=outer.append)):
        with use_hooks(AttentionHooks(on_attention=inner.append)):
            answer(shared)
        answer(shared)
    assert (len(outer), len(inner)) == (3, 3)


def test_hooks_are_inactive_after_an_error(shared):
    def fail(_call):
        raise ZeroDivisionError

    before, seen = answer(shared), []
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with pytest.raises(ZeroDivisionError), use_hooks(AttentionHooks(gates=gates, on_attention=fail)):
        answer(shared)
    assert torch.equal(answer(shared), before)
    with use_hooks(AttentionHooks(on_attention=seen.append)):
        answer(shared)
    assert len(seen) == 3


def test_wrapping_twice_reports_each_projection_once():
    model, seen = tiny("bert"), []
    hp.PrunableModel(model)
    twice = hp.PrunableModel(model)
    with use_hooks(AttentionHooks(on_projection=lambda projection, x, y: seen.append(projection) or y)):
        answer(twice)
    assert len(seen) == len(set(seen)) == 3 * 3


def test_the_return_value_of_on_projection_replaces_the_output(shared):
    values = {row.v.module for row in shared.grid.rows}
    nothing = AttentionHooks(on_projection=lambda projection, x, y: y * 0 if projection in values else y)
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with use_hooks(nothing):
        without_values = answer(shared)
    with use_hooks(AttentionHooks(gates=gates)):
        without_heads = answer(shared)
    torch.testing.assert_close(without_values, without_heads)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_has_the_visible_keys_of_each_query(family):
    """All keys, or in causal attention those up to the query, and within a window if there is one."""
    wrapped, calls = hp.PrunableModel(tiny(family)), []
    with use_hooks(AttentionHooks(on_attention=calls.append)):
        answer(wrapped, family)
    for number, (call, layer) in enumerate(zip(calls, wrapped.grid.layers, strict=True)):
        _, seen = call.probabilities()
        queries, keys = seen.shape[-2:]
        distance = torch.arange(queries)[:, None] - torch.arange(keys)
        expected = torch.ones(queries, keys, dtype=torch.bool)
        kind = wrapped.grid.rows[layer].kind
        if kind == "decoder" or wrapped.task == "language" or family in ("llama-classifier", "gpt2-classifier"):
            expected &= distance >= 0
        types = getattr(wrapped.model.config, "layer_types", None) or [None] * len(calls)
        if family == "mistral" or types[number] == "sliding_attention":
            expected &= distance.abs() < (5 if family == "modernbert" else 6)
        assert torch.equal(seen[0, 0], expected)
        assert torch.equal(seen.expand(1, 4, -1, -1)[0, 3], expected)
