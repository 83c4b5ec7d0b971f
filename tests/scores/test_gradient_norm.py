"""Norms of weight gradients, computed without the gradients, against the weight gradients of torch."""

import numpy as np
import pytest
import torch
from helpers.reference import reference_scores
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, columns, examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.scores.gradient_norm import block_gradient_norms

GRAM, DIRECT = 3, 40  # tokens; below and above d_in d_out / (d_in + d_out), where the two ways cost the same


def true_norms(linear, x, delta, blocks):
    """(blocks,) from the weight gradient of one example; x and delta may be lists, for a layer used several times."""
    sum((linear(a) * d).sum() for a, d in zip(x, delta, strict=True)).backward()
    gradient, linear.weight.grad = linear.weight.grad, None
    return torch.stack([block.norm() for block in gradient.chunk(blocks)])


@pytest.mark.parametrize("tokens", [1, GRAM, DIRECT])
@pytest.mark.parametrize(("d_in", "d_out", "blocks"), [(16, 16, 4), (24, 12, 2), (12, 32, 1)])
def test_norms_are_those_of_the_true_weight_gradient(tokens, d_in, d_out, blocks):
    torch.manual_seed(tokens)
    linear = torch.nn.Linear(d_in, d_out).double()
    x, delta = torch.randn(5, tokens, d_in).double(), torch.randn(5, tokens, d_out).double()
    expected = torch.stack([true_norms(linear, x[n : n + 1], delta[n : n + 1], blocks) for n in range(5)])
    delta = delta.unflatten(-1, (blocks, -1))
    torch.testing.assert_close(block_gradient_norms(x, delta), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tokens", [GRAM, DIRECT])
def test_a_weight_used_twice_has_the_norm_of_the_sum(tokens):
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 16).double()
    x, delta = torch.randn(2, 1, tokens, 16).double(), torch.randn(2, 1, tokens, 16).double()
    blocks = delta.unflatten(-1, (4, 4))
    end_to_end = block_gradient_norms(torch.cat([*x], dim=1), torch.cat([*blocks], dim=1))
    torch.testing.assert_close(end_to_end[0], true_norms(linear, x, delta, 4), rtol=1e-5, atol=1e-6)
    apart = sum(block_gradient_norms(a, d) for a, d in zip(x, blocks, strict=True))
    assert (end_to_end < apart).all()


@pytest.mark.parametrize("tokens", [GRAM, DIRECT])
def test_gradients_that_cancel_have_no_norm(tokens):
    x = torch.randn(1, 1, 16).expand(1, 2 * tokens, 16)
    delta = torch.randn(1, tokens, 4, 4)
    norms = block_gradient_norms(x, torch.cat([delta, -delta], dim=1))
    torch.testing.assert_close(norms, torch.zeros(1, 4).double(), rtol=0, atol=1e-5)


def test_zero_padding_does_not_change_norms():
    x, delta = torch.randn(2, DIRECT, 16), torch.randn(2, DIRECT, 4, 4)
    x[:, GRAM:], delta[:, GRAM:] = 7.0, 0.0
    short = block_gradient_norms(x[:, :GRAM], delta[:, :GRAM])
    torch.testing.assert_close(block_gradient_norms(x, delta), short, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
@pytest.mark.parametrize("longest", [4, 60])
def test_models_with_short_and_long_inputs(family, longest):
    model, examples = tiny(family), examples_for(family, count=4, longest=longest)
    *_, expected = reference_scores(model, family, examples)
    found = hp.score_heads(hp.PrunableModel(model), examples, metrics=("gnorm",)).per_example["gnorm"]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_the_loss_as_objective(family):
    model, examples = tiny(family), examples_for(family, count=4)
    *_, expected = reference_scores(model, family, examples, gnorm_objective="loss")
    scores = hp.score_heads(hp.PrunableModel(model), examples, metrics=("gnorm",), gnorm_objective="loss")
    found = scores.per_example["gnorm"]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "gemma2", "gpt-oss"])
def test_query_heads_of_a_group_share_the_norms_of_key_and_value(family):
    model = hp.PrunableModel(tiny(family))
    norms = hp.score_heads(model, examples_for(family), metrics=("gnorm",)).per_example["gnorm"]
    q, k, v = norms.swapaxes(0, 1)
    for shared in (k, v):
        assert (shared[..., 0] == shared[..., 1]).all()
        assert (shared[..., 1] != shared[..., 2]).all()
    assert (q[..., 0] != q[..., 1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "albert"])
def test_a_head_that_the_output_projection_ignores_scores_zero(family):
    model = tiny(family)
    wrapped = hp.PrunableModel(model)
    heads = [head for head, group in enumerate(wrapped.grid.kv_group[0]) if group == 0]  # of one key-value head all
    *_, out = FAMILIES[family].projections(model)[0]
    with torch.no_grad():
        columns(out).unflatten(1, (4, -1))[:, heads] = 0
    gnorm = hp.score_heads(wrapped, examples_for(family), metrics=("gnorm",)).gnorm
    assert (gnorm[0, heads] == 0).all()
    assert (np.delete(gnorm.ravel(), heads) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
@pytest.mark.parametrize("objective", ["loss", "logit_norm"])
def test_one_objective_for_both_scores_equals_two_runs(family, objective):
    """One backward pass computes both; each equals the score computed separately."""
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    options = {"objective": objective, "gnorm_objective": objective}
    both = hp.score_heads(model, examples, **options)
    for metric in ("his", "gnorm"):
        alone = hp.score_heads(model, examples, metrics=(metric,), **options)
        values = alone.per_example[metric]
        np.testing.assert_allclose(both.per_example[metric], values, rtol=1e-5, atol=1e-7 * values.max())
    other = {"loss": "logit_norm", "logit_norm": "loss"}[objective]
    mixed = hp.score_heads(model, examples, objective=objective, gnorm_objective=other)
    np.testing.assert_allclose(mixed.his, both.his, rtol=1e-5)
    assert not np.allclose(mixed.gnorm, both.gnorm, rtol=0.01)


@pytest.mark.parametrize("same", [True, False])
def test_one_objective_takes_one_backward_pass(same, monkeypatch):
    calls, grad = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or grad(*a, **k))
    model = hp.PrunableModel(tiny("bert"))
    calls.clear()
    hp.score_heads(
        model, random_examples(), gnorm_objective="loss" if same else "logit_norm", batch_size=9, metrics=("his",)
    )
    alone = len(calls)
    calls.clear()
    hp.score_heads(model, random_examples(), gnorm_objective="loss" if same else "logit_norm", batch_size=9)
    assert len(calls) == (alone if same else 2 * alone)
