"""Estimated cost of evaluating masks against measured cost, and batches that fit into the memory of the process."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import EVERYTHING, examples_for, tiny
from torch.utils.flop_counter import FlopCounterMode

import headprune_core as hp
from headprune_core.measure import token_results
from headprune_core.model import forward_cost as cost
from headprune_core.scores import evaluation_cost

ROOT = Path(__file__).parents[1]
LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA_70B = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
LARGE = {"8B": (LLAMA_8B, 8_030_261_248), "70B": (LLAMA_70B, 70_553_706_496)}  # published numbers of parameters

# Examples under masks, with a vocabulary of 128,000, in a process with an address space of so many GiB
LIMITED = """
import json, resource, sys, threading, time
import datasets, numpy as np, psutil, torch, transformers as t
import headprune_core as hp

torch.set_num_threads(1)
count, tokens, n_masks, gib = json.loads(sys.argv[1])
sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
torch.manual_seed(0)
config = t.LlamaConfig(**sizes, vocab_size=128_000, pad_token_id=0, bos_token_id=1, eos_token_id=2)
model = hp.PrunableModel(t.LlamaForCausalLM(config))
generator = np.random.default_rng(0)
examples = datasets.Dataset.from_dict({"input_ids": generator.integers(5, 128_000, (count, tokens)).tolist()})
masks = generator.random((n_masks, *model.grid.shape)) < 0.6
process = psutil.Process()
resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30),) * 2)
estimated = hp.estimate_evaluation(model, examples, masks)
sizes, peaks, run = [], [process.memory_info().rss], model.logits

def logits(inputs):
    sizes.append(len(inputs["input_ids"]))
    return run(inputs)

def watch():
    while not finished.wait(0.01):
        peaks.append(process.memory_info().rss)

finished = threading.Event()
watcher = threading.Thread(target=watch)
model.logits = logits
watcher.start()
together = hp.evaluate_masks(model, examples, masks)
finished.set()
watcher.join()
few = 2
single = hp.evaluate_masks(model, examples.select(range(few)), masks, batch_size=1)
names = ("losses", "right")
print(json.dumps({
    "estimated": estimated.peak_bytes, "measured": max(peaks) - peaks[0], "sizes": sizes,
    "together": {name: getattr(together, name)[:, :few].tolist() for name in names},
    "single": {name: getattr(single, name).tolist() for name in names},
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [[12, 64, 2, 3], *([[32, 128, 4, 4]] if EVERYTHING else [])])
def test_a_vocabulary_of_128k_is_evaluated_in_little_memory_within_the_estimate(size):
    """All examples at once do not fit into the address space that is left."""
    command = [sys.executable, "-c", LIMITED, json.dumps(size)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.5 <= found["measured"] / found["estimated"] <= 2
    assert 1 < max(found["sizes"]) < size[0]
    for name, values in found["together"].items():
        np.testing.assert_allclose(values, found["single"][name], rtol=1e-5)


def meta_model(name):
    """A LLaMA of the given size without weights."""
    sizes, _ = LARGE[name]
    with torch.device("meta"):
        model = t.LlamaForCausalLM(t.LlamaConfig(**sizes, num_key_value_heads=8, vocab_size=128_256)).to(torch.bfloat16)
    return hp.PrunableModel(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_the_cost_of_a_large_model_is_known_before_its_weights_are_there(name, monkeypatch):
    """Two FLOPs per parameter and token for each pass, as in Kaplan et al. 2020, and two bytes per parameter."""
    model, (sizes, parameters), tokens = meta_model(name), LARGE[name], 32 * 128
    examples = datasets.Dataset.from_dict({"input_ids": [list(range(5, 133))] * 32})
    multiplied = parameters - 128_256 * sizes["hidden_size"]  # the input embeddings are looked up
    scoring = hp.estimate_scoring(model, examples)
    evaluation = hp.estimate_evaluation(model, examples, 4)
    assert scoring.flops == pytest.approx(3 * 2 * multiplied * tokens, rel=0.05)
    assert evaluation.flops == pytest.approx(5 * 2 * multiplied * tokens, rel=0.05)
    for estimate in (scoring, evaluation):
        assert estimate.model_bytes == pytest.approx(2 * parameters, rel=1e-3)
        assert 0 < estimate.seconds < float("inf")
    logits = 128 * 128_256 * 10  # of one example, twice in float32 and once in bfloat16
    # The queries, keys, values, attention and output of every layer are kept.
    kept = 128 * 2 * sizes["num_hidden_layers"] * (3 * sizes["hidden_size"] + 2 * 8 * 128)
    reduced = evaluation_cost.LOGITS_AT_ONCE * evaluation_cost.REDUCTION_BYTES
    monkeypatch.setattr(cost, "free_memory", lambda device: 2**30)  # less than the weights: one example at a time
    assert hp.estimate_evaluation(model, examples, 4).peak_bytes == pytest.approx(logits + kept + reduced, rel=0.1)
    monkeypatch.setattr(cost, "free_memory", lambda device: 6 * parameters)  # room for all, but not for packed weights
    assert hp.estimate_evaluation(model, examples, 4).peak_bytes == pytest.approx(32 * (logits + kept) + reduced, rel=0.1)
    monkeypatch.setattr(cost, "free_memory", lambda device: 20 * parameters)
    assert hp.estimate_evaluation(model, examples, 4).peak_bytes > 2 * multiplied


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_a_model_without_weights_costs_what_it_costs_with_them(family, monkeypatch):
    whole = hp.PrunableModel(tiny(family))
    without = tiny(family).to("meta")
    without.tie_weights()
    meta = hp.PrunableModel(without)
    examples = examples_for(family, count=8)
    monkeypatch.setattr(cost, "free_memory", lambda device: 2**40)
    for estimate in (hp.estimate_scoring, lambda *of: hp.estimate_evaluation(*of, 3)):
        assert estimate(meta, examples).flops == estimate(whole, examples).flops
        assert estimate(meta, examples).model_bytes == estimate(whole, examples).model_bytes
        assert estimate(meta, examples).peak_bytes == pytest.approx(estimate(whole, examples).peak_bytes, rel=0.5)


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "vit"])
def test_flops_equal_the_counted_ones(family, monkeypatch):
    """Masks that differ in the first layer only, so that every pass computes nearly everything."""
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5, longest=13).select([4] * 6)
    masks = np.ones((3, *model.grid.shape), bool)
    masks[np.arange(3), 0, np.arange(3)] = False
    estimate = hp.estimate_evaluation(model, examples, masks)
    monkeypatch.setattr(model.packed, "_usable", False)  # packed products are not counted
    with FlopCounterMode(display=False) as counter:
        hp.evaluate_masks(model, examples, masks)
    # Attention in a target that is shorter than its text is overestimated.
    assert estimate.flops == pytest.approx(counter.get_total_flops(), rel=0.45 if family == "t5" else 0.3)
    assert hp.estimate_evaluation(model, examples, 3).flops == pytest.approx(estimate.flops)


def test_masks_that_share_layers_cost_less():
    model, examples = hp.PrunableModel(tiny("llama")), examples_for("llama")
    first, last = np.ones((2, 4, *model.grid.shape), bool)
    first[np.arange(4), 0, np.arange(4)] = last[np.arange(4), -1, np.arange(4)] = False
    costs = [hp.estimate_evaluation(model, examples, masks).flops for masks in (last, first, 4)]
    assert costs[0] < 0.8 * costs[1] == pytest.approx(0.8 * costs[2])
    assert hp.estimate_evaluation(model, examples, np.repeat(first[:1], 9, 0)).flops < costs[1]  # equal masks run once


@pytest.mark.parametrize("masks", [0, np.ones((3, 4), bool), np.ones((1, 2, 4), bool)])
def test_masks_of_another_shape_are_refused(masks):
    with pytest.raises(hp.HeadPruneError, match="masks must"):
        hp.estimate_evaluation(hp.PrunableModel(tiny("llama")), examples_for("llama"), masks)


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "vit"])
def test_batches_shrink_to_free_memory_without_changing_results(family, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=12)
    masks = np.random.default_rng(0).random((3, *model.grid.shape)) < 0.6
    whole, sizes, logits = hp.evaluate_masks(model, examples, masks), [], model.logits

    def noted(inputs):
        sizes.append(len(next(iter(inputs.values()))))
        return logits(inputs)

    monkeypatch.setattr(model, "logits", noted)
    monkeypatch.setattr(evaluation_cost, "LOGITS_AT_ONCE", 0)
    most = hp.estimate_evaluation(model, examples, masks, batch_size=1).peak_bytes
    monkeypatch.setattr(cost, "free_memory", lambda device: 3 * most / cost.MEMORY_SHARE)
    small = hp.evaluate_masks(model, examples, masks)
    assert max(sizes) <= 6
    assert len(set(sizes)) > 1 or max(sizes) < 6
    for name in ("accuracy", "losses", "agreement", "correlation"):
        np.testing.assert_allclose(getattr(small, name), getattr(whole, name), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 90 * 9 * 4, 10**9])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_logits_may_be_reduced_in_any_number_of_parts(family, at_once, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    masks = np.random.default_rng(0).random((2, *model.grid.shape)) < 0.6
    whole = hp.evaluate_masks(model, examples, masks)
    monkeypatch.setattr(token_results, "LOGITS_AT_ONCE", at_once)
    parts = hp.evaluate_masks(model, examples, masks)
    for name in ("accuracy", "losses", "agreement", "correlation"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)
