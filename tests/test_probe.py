"""The probe: one shared model, many callers, nothing left behind."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from reference import plain_logits
from tiny import FAMILIES, random_examples, tiny

import headprune_core as hp
from headprune_core.encoding import encode
from headprune_core.probe import Probe, probing


@pytest.fixture(scope="module")
def shared():
    return hp.PrunableModel(tiny("bert"))


def answer(model, ids=(5, 6, 7, 8)):
    with torch.no_grad():
        return model.logits({"input_ids": torch.tensor([ids])})


def test_eight_threads_on_one_model_get_what_each_gets_alone(shared, eager_switching):
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


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_probe_logits_are_those_of_sdpa(family):
    model, examples = tiny(family), random_examples()
    expected = plain_logits(model, examples)
    wrapped = hp.PrunableModel(model)
    for batch in encode(wrapped, examples).batches(4, wrapped.device):
        with torch.no_grad():
            logits = wrapped.logits(batch.inputs)
        for i, row, real in zip(batch.index, logits, batch.real, strict=True):
            found = row[real] if wrapped.task == "language" else row
            np.testing.assert_allclose(found, expected[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gate_scales_what_the_output_projection_reads(family):
    model = tiny(family)
    scaled, factors = copy.deepcopy(model), torch.rand(len(FAMILIES[family].projections(model)), 4) * 2
    with torch.no_grad():
        for (*_, out), factor in zip(FAMILIES[family].projections(scaled), factors, strict=True):
            out.weight *= factor.repeat_interleave(out.weight.shape[1] // 4)
    wrapped = hp.PrunableModel(model)
    with probing(Probe(gates={r.module: f[:, None] for r, f in zip(wrapped.grid.rows, factors, strict=True)})):
        gated = answer(wrapped)
    torch.testing.assert_close(gated, answer(hp.PrunableModel(scaled)), rtol=1e-4, atol=1e-5)


def test_another_thread_does_not_see_the_probe(shared):
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with ThreadPoolExecutor(1) as pool, probing(Probe(gates=gates)):
        here, there = answer(shared), pool.submit(answer, shared).result()
    assert torch.equal(there, answer(shared))
    assert not torch.allclose(here, there)


def test_an_inner_probe_gives_way_to_the_outer_one(shared):
    outer, inner = [], []
    with probing(Probe(on_attention=outer.append)):
        with probing(Probe(on_attention=inner.append)):
            answer(shared)
        answer(shared)
    assert (len(outer), len(inner)) == (3, 3)


def test_an_error_leaves_nothing_behind(shared):
    def fail(_call):
        raise ZeroDivisionError

    before, seen = answer(shared), []
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with pytest.raises(ZeroDivisionError), probing(Probe(gates=gates, on_attention=fail)):
        answer(shared)
    assert torch.equal(answer(shared), before)
    with probing(Probe(on_attention=seen.append)):
        answer(shared)
    assert len(seen) == 3


def test_wrapping_twice_shows_each_projection_once():
    model, seen = tiny("bert"), []
    hp.PrunableModel(model)
    twice = hp.PrunableModel(model)
    with probing(Probe(on_projection=lambda projection, x, y: seen.append(projection) or y)):
        answer(twice)
    assert len(seen) == len(set(seen)) == 3 * 3


def test_what_on_projection_returns_takes_the_place_of_the_output(shared):
    values = {row.v for row in shared.grid.rows}
    nothing = Probe(on_projection=lambda projection, x, y: y * 0 if projection in values else y)
    gates = {row.module: torch.zeros(4, 1) for row in shared.grid.rows}
    with probing(nothing):
        without_values = answer(shared)
    with probing(Probe(gates=gates)):
        without_heads = answer(shared)
    torch.testing.assert_close(without_values, without_heads)


@pytest.mark.parametrize(("family", "causal"), [("bert", False), ("llama", True)])
def test_the_call_says_whether_a_module_looks_back(family, causal):
    calls = []
    with probing(Probe(on_attention=calls.append)):
        answer(hp.PrunableModel(tiny(family)))
    assert [call.causal for call in calls] == [causal] * 3
