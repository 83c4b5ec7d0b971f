"""The plain ways that speed is compared with have to be right themselves: on tiny models, against the tests' references."""

from itertools import pairwise

import datasets
import numpy as np
import torch
from helpers.reference_greedy import reference_greedy
from helpers.tiny_models import random_examples, tiny, tiny_tokenizer

import headprune_core as hp
from benchmarks import alpha, curves, greedy, latency


def test_the_plain_curve_decides_as_the_engine_does():
    model, tokenizer = tiny("bert"), tiny_tokenizer()
    texts = [" ".join(f"w{i}" for i in ids) for ids in random_examples(count=40)["input_ids"]]
    masks = curves.nested_masks(np.random.default_rng(0).random((3, 4)), removed=(1, 5, 12))
    assert (~masks).sum((1, 2)).tolist() == [1, 5, 12]
    assert (masks[0] | ~masks[1]).all()
    before = model.bert.encoder.layer[0].attention.output.dense.weight.clone()
    found = curves.plain_decisions(model, tokenizer, texts, masks)
    assert torch.equal(model.bert.encoder.layer[0].attention.output.dense.weight, before)
    examples = datasets.Dataset.from_dict({"text": texts})
    expected = hp.evaluate_masks(hp.PrunableModel(model, tokenizer), examples, masks)
    np.testing.assert_array_equal(found, expected.logits.argmax(-1))


def test_both_plain_greedy_ways_are_the_reference():
    examples = random_examples(count=3)
    expected = reference_greedy(tiny("bert"), "bert", examples, steps=4)
    sentences = [torch.tensor(ids) for ids in examples["input_ids"]]
    for every_weight in (True, False):
        order, scores = greedy.plain_greedy(tiny("bert"), sentences, 4, every_weight)
        assert order == expected.order
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-4)


def test_the_plain_alpha_path_is_the_engines():
    labels = ("no constraint", "groups of four", "parameters, third kept, by hand")
    result = alpha.run(torch.device("cpu"), shape=(4, 8), sample=10**6, repeats=1, labels=labels)
    his, ae = np.random.default_rng(0).random((2, 4, 8))
    starts = alpha.every_crossing(his, ae)
    masks = alpha.plain_masks(his, ae, (starts[1:] + starts[:-1]) / 2, {})
    changes = sum((one != other).any() for one, other in pairwise(masks))
    assert result["paths"]["no constraint"]["intervals"] == changes + 1
    for path in result["paths"].values():
        assert path["equal masks"] == path["gaps that were timed"] > 10
    assert len(alpha.table(result).splitlines()) == 3 + 3


def test_latency_stands_beside_the_operations():
    result = latency.run(torch.device("cpu"), sparsities=(0.0, 0.5), batches=(1,), tokens=(8,), repeats=1)
    whole, half = (values["latency"][0] for values in result["models"].values())
    assert whole["flops_ratio"] == 1 < half["flops_ratio"]
    assert result["models"]["0.5"]["parameters"] < result["models"]["0"]["parameters"]
    assert len(latency.table(result).splitlines()) == 4
