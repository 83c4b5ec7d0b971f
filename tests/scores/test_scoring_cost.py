"""Estimated costs against measured ones: FLOPs counted during the run, and memory that autograd keeps."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import REPRESENTATIVE, examples_for, tiny
from torch.utils.flop_counter import FlopCounterMode

import headprune_core as hp
from headprune_core.model import forward_cost as cost


def kept_bytes(work):
    """Bytes of the distinct tensors that autograd saves, without weights."""
    sizes = {}

    def pack(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(sizes.values())


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({*REPRESENTATIVE} - {"gpt-oss"}))  # its experts are not linear layers
def test_multiply_adds_equal_the_counted_ones(family, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5, longest=13)
    encoded = [len(row.get("input_ids", ())) for row in examples], [len(row.get("target_ids", ())) for row in examples]
    examples = examples.select(range(4, 5))  # a single example, so that there is no padding
    longest, target = (max(lengths[4:]) for lengths in encoded)
    estimated = 2 * model.cost.of(1, longest, target).multiply_adds
    monkeypatch.setattr(model.packed, "_usable", False)  # packed products are not counted
    with FlopCounterMode(display=False) as counter:
        hp.score_heads(model, examples, metrics=("ae",))
    counts = counter.get_flop_counts()["Global"]
    products = sum(count for name, count in counts.items() if "mm" in str(name) and "bmm" not in str(name))
    assert 0.9 * products <= estimated <= 1.1 * products


def test_the_memory_estimate_has_the_right_order():
    model = hp.PrunableModel(tiny("bert"))
    examples = examples_for("bert", count=40, longest=60)
    estimate = hp.estimate_scoring(model, examples, batch_size=40)
    kept = kept_bytes(lambda: hp.score_heads(model, examples, batch_size=40))
    assert kept > 0
    assert estimate.peak_bytes == pytest.approx(kept, rel=3)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["labels", "teacher"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit"])
def test_fine_tuning_flops_equal_the_counted_ones(family, objective):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5, longest=13).select([4] * 8)
    options = {"steps": 3, "batch_size": 4, "objective": objective}
    estimate = hp.estimate_recovery(model, examples, **options)
    model.packed._usable = False  # packed products are not counted
    with FlopCounterMode(display=False) as counter:
        hp.recover(model, examples, teacher=model, **options)
    assert estimate.flops == pytest.approx(counter.get_total_flops(), rel=0.3)  # the counter omits a part of attention


def test_fine_tuning_memory_is_four_times_the_weights_plus_activations():
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=40, longest=60)
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    kept = kept_bytes(lambda: hp.recover(model, examples, steps=1, batch_size=40))
    estimate = hp.estimate_recovery(model, examples, steps=1, batch_size=40).peak_bytes
    assert kept > weights
    assert estimate - 4 * weights == pytest.approx(kept, rel=0.7)


def test_more_work_costs_more():
    model = hp.PrunableModel(tiny("bert"))
    few, many = (examples_for("bert", count=count, longest=60) for count in (5, 50))
    assert hp.estimate_scoring(model, many).flops > 5 * hp.estimate_scoring(model, few).flops
    both, one = (hp.estimate_scoring(model, few, gnorm_objective=name) for name in ("logit_norm", "loss"))
    assert both.flops > one.flops
    entropy = hp.estimate_scoring(model, few, metrics=("ae",))
    assert one.flops > entropy.flops > 0
    assert hp.estimate_scoring(model, many, dtype="bfloat16").peak_bytes < hp.estimate_scoring(model, many).peak_bytes


def test_batches_shrink_to_free_memory_without_changing_scores(monkeypatch):
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=20)
    whole = hp.score_heads(model, examples)
    sizes, logits = [], model.logits

    def noted(inputs):
        sizes.append(inputs["input_ids"].shape)
        return logits(inputs)

    monkeypatch.setattr(model, "logits", noted)
    monkeypatch.setattr(
        cost,
        "free_memory",
        lambda device: 2 * 30 * 4 * cost.ACTIVATION_FACTOR * model.cost.token.values / cost.MEMORY_SHARE / 2,
    )
    small = hp.score_heads(model, examples)
    assert max(np.prod(size) for size in sizes) <= 30
    for metric in ("his", "ae", "gnorm"):
        np.testing.assert_allclose(getattr(small, metric), getattr(whole, metric), rtol=1e-4)
