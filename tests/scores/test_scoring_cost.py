"""What scoring is said to take, against what it takes: arithmetic counted as it runs, memory that autograd really keeps."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import REPRESENTATIVE, examples_for, tiny
from torch.utils.flop_counter import FlopCounterMode

import headprune_core as hp
from headprune_core.model import forward_cost as cost


def kept_bytes(work):
    """Bytes of distinct tensors that autograd saves, weights left out."""
    sizes = {}

    def pack(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(sizes.values())


@pytest.mark.parametrize("family", sorted({*REPRESENTATIVE} - {"gpt-oss"}))  # whose experts are no linear layers
def test_multiply_adds_are_those_that_are_counted(family, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5, longest=13)
    encoded = [len(row.get("input_ids", ())) for row in examples], [len(row.get("target_ids", ())) for row in examples]
    examples = examples.select(range(4, 5))  # one alone, so that nothing is padded
    longest, target = (max(lengths[4:]) for lengths in encoded)
    said = 2 * model.cost.of(1, longest, target).multiply_adds
    monkeypatch.setattr(model.packed, "_usable", False)  # packed products are not counted
    with FlopCounterMode(display=False) as counter:
        hp.score_heads(model, examples, metrics=("ae",))
    counts = counter.get_flop_counts()["Global"]
    products = sum(count for name, count in counts.items() if "mm" in str(name) and "bmm" not in str(name))
    assert 0.9 * products <= said <= 1.1 * products


def test_memory_is_of_the_right_size():
    model = hp.PrunableModel(tiny("bert"))
    examples = examples_for("bert", count=40, longest=60)
    said = hp.estimate_scoring(model, examples, batch_size=40)
    kept = kept_bytes(lambda: hp.score_heads(model, examples, batch_size=40))
    assert kept > 0
    assert said.peak_bytes == pytest.approx(kept, rel=3)


@pytest.mark.parametrize("objective", ["labels", "teacher"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit"])
def test_a_recovery_is_the_arithmetic_that_is_counted(family, objective):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5, longest=13).select([4] * 8)
    options = {"steps": 3, "batch_size": 4, "objective": objective}
    said = hp.estimate_recovery(model, examples, **options)
    model.packed._usable = False  # packed products are not counted
    with FlopCounterMode(display=False) as counter:
        hp.recover(model, examples, teacher=model, **options)
    assert said.flops == pytest.approx(counter.get_total_flops(), rel=0.3)  # which leaves out some of attention


def test_a_recovery_needs_four_times_the_weights_and_what_autograd_keeps():
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=40, longest=60)
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    kept = kept_bytes(lambda: hp.recover(model, examples, steps=1, batch_size=40))
    said = hp.estimate_recovery(model, examples, steps=1, batch_size=40).peak_bytes
    assert kept > weights
    assert said - 4 * weights == pytest.approx(kept, rel=0.7)


def test_more_work_costs_more():
    model = hp.PrunableModel(tiny("bert"))
    few, many = (examples_for("bert", count=count, longest=60) for count in (5, 50))
    assert hp.estimate_scoring(model, many).flops > 5 * hp.estimate_scoring(model, few).flops
    both, one = (hp.estimate_scoring(model, few, gnorm_objective=name) for name in ("logit_norm", "loss"))
    assert both.flops > one.flops
    entropy = hp.estimate_scoring(model, few, metrics=("ae",))
    assert one.flops > entropy.flops > 0
    assert hp.estimate_scoring(model, many, dtype="bfloat16").peak_bytes < hp.estimate_scoring(model, many).peak_bytes


def test_batches_are_as_small_as_free_memory_asks_and_the_scores_stay(monkeypatch):
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=20)
    whole = hp.score_heads(model, examples)
    sizes, logits = [], model.logits

    def noted(inputs):
        sizes.append(inputs["input_ids"].shape)
        return logits(inputs)

    monkeypatch.setattr(model, "logits", noted)
    monkeypatch.setattr(
        cost, "free_memory", lambda device: 2 * 30 * 4 * cost.ACTIVATION_FACTOR * model.cost.token.values / cost.MEMORY_SHARE / 2
    )
    small = hp.score_heads(model, examples)
    assert max(np.prod(size) for size in sizes) <= 30
    for metric in ("his", "ae", "gnorm"):
        np.testing.assert_allclose(getattr(small, metric), getattr(whole, metric), rtol=1e-4)
