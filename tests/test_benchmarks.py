"""Plain implementations that speed is compared with must be correct: on tiny models, they match the tests' references."""

import subprocess
import sys
from itertools import pairwise

import datasets
import numpy as np
import pytest
import torch
from helpers.reference_greedy import reference_greedy
from helpers.tiny_models import random_examples, tiny, tiny_tokenizer

import headprune_core as hp
from benchmarks import alpha, curves, entropy, gpu, gpu_parts, greedy, latency, traits
from benchmarks.plain_batched import PlainBatched, share_weights
from headprune_core.cli.main import main

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_plain_curve_predicts_as_the_engine_does():
    model, tokenizer = tiny("bert"), tiny_tokenizer()
    texts = [" ".join(f"w{i}" for i in ids) for ids in random_examples(count=40)["input_ids"]]
    masks = curves.nested_masks(np.random.default_rng(0).random((3, 4)), removed=(1, 5, 12))
    assert (~masks).sum((1, 2)).tolist() == [1, 5, 12]
    assert (masks[0] | ~masks[1]).all()
    before = model.bert.encoder.layer[0].attention.output.dense.weight.clone()
    predictions = curves.plain_decisions(model, tokenizer, texts, masks)
    assert torch.equal(model.bert.encoder.layer[0].attention.output.dense.weight, before)
    examples = datasets.Dataset.from_dict({"text": texts})
    expected = hp.evaluate_masks(hp.PrunableModel(model, tokenizer), examples, masks)
    np.testing.assert_array_equal(predictions, expected.logits.argmax(-1))


def test_the_memory_of_traits_is_measured_beside_that_of_plain_attention(monkeypatch):
    ways = {way: traits.measure_way(way, 512, torch.device("cpu")) for way in traits.WAYS}
    assert all(size >= 0 for size in ways.values())
    monkeypatch.setattr(
        traits.subprocess, "run", lambda command, **_: type("Done", (), {"stdout": str(1 + len(command[-3]))})
    )
    config = tiny("bert").config
    result = traits.run(torch.device("cpu"), tokens=8, long=64, config=config)
    assert result["bytes"] == {way: 1 + len(way) for way in traits.WAYS}
    assert result["time, times scoring AE alone"] == result["seconds"]["traits"] / result["seconds"]["AE"] > 0
    assert "memory: 1.56× that of plain attention" in traits.table(result)


def test_both_plain_greedy_ways_equal_the_reference():
    examples = random_examples(count=3)
    expected = reference_greedy(tiny("bert"), "bert", examples, steps=4)
    sentences = [torch.tensor(ids) for ids in examples["input_ids"]]
    for every_weight in (True, False):
        order, scores = greedy.plain_greedy(tiny("bert"), sentences, 4, every_weight)
        assert order == expected.order
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-4)


@pytest.mark.slow
def test_plain_alpha_path_equals_the_engine():
    labels = ("no constraint", "groups of four", "parameters, third kept, overrides")
    result = alpha.run(torch.device("cpu"), shape=(4, 8), sample=10**6, repeats=1, labels=labels)
    his, ae = np.random.default_rng(0).random((2, 4, 8))
    starts = alpha.every_crossing(his, ae)
    masks = alpha.plain_masks(his, ae, (starts[1:] + starts[:-1]) / 2, {})
    changes = sum((one != other).any() for one, other in pairwise(masks))
    assert result["paths"]["no constraint"]["intervals"] == changes + 1
    for path in result["paths"].values():
        assert path["equal masks"] == path["gaps that were timed"] > 10
    assert len(alpha.table(result).splitlines()) == 3 + 3


@pytest.mark.slow
def test_latency_reports_the_flops_ratio():
    result = latency.run(torch.device("cpu"), sparsities=(0.0, 0.5), batches=(1,), tokens=(8,), repeats=1)
    unpruned, half = (values["latency"][0] for values in result["models"].values())
    assert unpruned["flops_ratio"] == 1 < half["flops_ratio"]
    assert result["models"]["0.5"]["parameters"] < result["models"]["0"]["parameters"]
    assert len(latency.table(result).splitlines()) == 4


def test_entropy_ways_agree():
    results = [entropy.measure_way(way, 80, torch.device("cpu")) for way in entropy.WAYS]
    assert results[0]["entropy"] == []
    np.testing.assert_allclose(results[1]["entropy"], results[2]["entropy"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_plain_batched_scores_equal_the_engine(family, batch_size):
    model, examples = tiny(family), random_examples(count=9)
    labels = examples["label"] if family == "bert" else None
    plain = PlainBatched(share_weights(model)).scores(examples["input_ids"], labels, batch_size)
    scores = hp.score_heads(hp.PrunableModel(model), examples)
    for reference, metric in zip(plain, ("his", "ae", "gnorm"), strict=True):
        np.testing.assert_allclose(getattr(scores, metric), reference, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu_parts.PARTS)
def test_every_gpu_part_runs_on_tiny_sizes(name):
    rows = gpu_parts.PARTS[name][0](torch.device("cpu"), True)
    assert len(rows) >= 1
    assert all(len(row) == 4 and all(isinstance(cell, str) for cell in row) for row in rows)
    values = {what: value for what, value, *_ in rows}
    assert values.get("pruning order, float32", "identical") == "identical"
    assert values.get("predictions, float32", "0 of 16 differ") == "0 of 16 differ"


FAKE_WORKER = """
import json, sys, time
for name in sys.argv[1:]:
    if name == "dies":
        sys.exit("CUDA error: no memory")
    if name == "hangs":
        time.sleep(60)
    result = {"rows": [["what", "1 s", "other: 2 s", "2"]], "seconds": 1}
    if name == "fails":
        result = {"error": "ValueError: a | b"}
    print(json.dumps(result), flush=True)
    if name == "fails":
        break
"""


def run_fake_worker(monkeypatch, names, limit):
    monkeypatch.setattr(gpu_parts, "PARTS", dict.fromkeys(names, (None, 1.0)))
    monkeypatch.setattr(gpu, "START", 9.0)
    return gpu.run(torch.device("cpu"), small=True, limit=limit, command=[sys.executable, "-c", FAKE_WORKER])


@pytest.mark.slow
def test_gpu_parts_that_fail_do_not_stop_the_rest(monkeypatch):
    result = run_fake_worker(monkeypatch, ["first", "dies", "second", "hangs", "fails", "last"], limit=60.0)
    assert [name for name, part in result["parts"].items() if "rows" in part] == ["first", "second", "last"]
    assert result["parts"]["dies"]["error"] == "the process ended with status 1: CUDA error: no memory"
    assert result["parts"]["hangs"]["error"] == "stopped after 1 s"
    lines = gpu.table(result).splitlines()
    assert len(lines) == 2 + 1 + 6
    assert "| fails | failed | ValueError: a \\| b |" in lines[-2]


def test_gpu_parts_without_time_are_named(monkeypatch):
    result = run_fake_worker(monkeypatch, ["first", "second"], limit=gpu.SHORTEST)
    assert {part["error"] for part in result["parts"].values()} == {"not started: the 5 s for all parts are over"}


@NO_CUDA
@pytest.mark.slow
def test_gpu_benchmark_without_a_gpu_says_so():
    run = subprocess.run([sys.executable, "benchmarks/gpu.py"], capture_output=True, text=True, cwd=gpu.ROOT, check=False)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, gpu.NO_GPU, "")


@NO_CUDA
def test_gpu_benchmark_on_the_command_line(capsys):
    assert main(["bench", "gpu"]) == 0
    assert capsys.readouterr().out.strip() == gpu.NO_GPU
