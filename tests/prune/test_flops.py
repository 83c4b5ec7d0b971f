"""Operations per token against PyTorch's own counter, as a model runs."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, tiny
from torch.utils.flop_counter import FlopCounterMode

import headprune_core as hp
from headprune_core.prune.flops import flops_before, head_flops_per_token, tokens_of
from headprune_core.prune.latency import example_inputs

COUNTED = sorted({*FAMILIES} - {"gpt-oss", "vit", "deit"})  # experts are no linear layers; images have convolutions


def counted(model, inputs) -> dict[str, int]:
    """Operator -> operations of one forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.logits(inputs)
    return {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}


@pytest.fixture
def explicit(monkeypatch):
    """Attention by products that the counter knows; it leaves the CPU's fused one out."""
    monkeypatch.setattr("headprune_core.model.attention_hooks._softmax_attention", lambda call: call.attend())


@pytest.mark.slow
@pytest.mark.parametrize("length", [7, 40])
@pytest.mark.parametrize("family", COUNTED)
@pytest.mark.usefixtures("explicit")
def test_operations_are_those_that_pytorch_counts(family, length):
    model = hp.PrunableModel(tiny(family))
    found = sum(counted(model, example_inputs(model, 2, length)).values()) / (2 * length)
    assert hp.flops_per_token(model, length) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert", "gpt2", "gpt-neox", "qwen3", "t5", "bart-classifier"])
@pytest.mark.usefixtures("explicit")
def test_a_pruned_model_is_counted_as_it_is(family):
    model = hp.PrunableModel(tiny(family))
    mask = np.random.default_rng(0).random(model.grid.shape) < 0.5
    mask[-1], mask[0] = mask.shape[0] == 1, True  # a row without heads, where there are several
    mask[0, 1] = False
    pruned = hp.prune_heads(model, mask)
    found = sum(counted(pruned, example_inputs(pruned, 2, 20)).values()) / 40
    assert hp.flops_per_token(pruned, 20) == pytest.approx(found, rel=1e-9)
    assert head_flops_per_token(pruned, 20) < head_flops_per_token(model, 20)
    others = [hp.flops_per_token(one, 20) - head_flops_per_token(one, 20) for one in (model, pruned)]
    assert others[0] == pytest.approx(others[1])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_model_says_what_the_whole_one_took(family):
    model = hp.PrunableModel(tiny(family))
    mask = np.random.default_rng(0).random(model.grid.shape) < 0.5
    mask[-1], mask[0, 1] = mask.shape[0] == 1 and mask[-1], True
    length = None if model.reads_images else 20
    pruned = hp.prune_heads(model, mask)
    assert flops_before(pruned, length) == pytest.approx(hp.flops_per_token(model, length), rel=1e-12)
    assert hp.flops_per_token(pruned, length) < flops_before(pruned, length)


@pytest.mark.parametrize("family", ["vit", "deit"])
@pytest.mark.usefixtures("explicit")
def test_images_bring_their_own_number_of_tokens(family):
    model = hp.PrunableModel(tiny(family))
    tokens = tokens_of(model, None)
    assert tokens == {"vit": 17, "deit": 6}[family]
    found = counted(model, example_inputs(model, 3, tokens))
    products = sum(count for name, count in found.items() if "conv" not in name) / (3 * tokens)
    assert hp.flops_per_token(model) == pytest.approx(products, rel=1e-9)
    assert hp.flops_per_token(model, 1000) == hp.flops_per_token(model)


@pytest.mark.parametrize("family", ["bert", "albert", "gpt2", "qwen3", "t5", "bart-classifier", "vit"])
def test_heads_do_what_would_go_with_them(family):
    """Worked out from shapes: every weight of a projection, once for each call, and two products of attention."""
    model = hp.PrunableModel(tiny(family))
    length = tokens_of(model, 20)
    weights = sum(
        sum(
            part.numel()
            for part in {id(p.weight): p.weight for p in FAMILIES[family].projections(model.model)[row]}.values()
        )
        for row in model.grid.layers
    )
    sizes = sum(model.grid.rows[row].heads * model.grid.rows[row].head_size for row in model.grid.layers)
    assert head_flops_per_token(model, length) == 2 * weights + 4 * length * sizes
    assert head_flops_per_token(model, length) < hp.flops_per_token(model, length)


def test_longer_texts_take_more_for_each_token():
    model = hp.PrunableModel(tiny("llama"))
    shorter, longer = (hp.flops_per_token(model, length) for length in (10, 30))
    assert longer - shorter == 4 * 20 * 3 * 32


def test_lengths_that_cannot_be_are_refused():
    model = hp.PrunableModel(tiny("roberta"))
    for length in (None, 0):
        with pytest.raises(hp.HeadPruneError, match="sequence_length must be the number of tokens per example"):
            hp.flops_per_token(model, length)
    with pytest.raises(hp.HeadPruneError, match="at most 68, the model's maximum"):
        hp.flops_per_token(model, 69)
