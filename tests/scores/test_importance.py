"""HIS against finite differences of the loss, and its three reductions against plain sums."""

import numpy as np
import pytest
import torch
from helpers.reference import Double, inputs, token_products
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, columns, examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.data import encoded
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks

STEP = 1e-6  # so small that no ReLU and no choice of experts turns over on the way


def plain_loss(model, example, gates):
    """The loss that the model itself computes on one example, with its heads scaled by `gates` (R, H)."""
    by_module = {row.module: gate[:, None] for row, gate in zip(model.grid.rows, gates, strict=True)}
    given = inputs(model.model, example)
    with torch.no_grad(), Double(), use_hooks(AttentionHooks(gates=by_module)):
        if model.task == "classification":
            logits = model.model(**given).logits
            return torch.nn.functional.cross_entropy(logits, torch.tensor([example["label"]])).item()
        given.pop("decoder_input_ids", None)  # the library makes them from the labels by itself
        labels = torch.tensor([example.get("target_ids", example["input_ids"])])
        return model.model(**given, labels=labels).loss.item()


def batch_means(signed, lengths, batch_size):
    """(N, R, H) absolute values of batch means; batches by length, longest first."""
    order, result = np.argsort(-np.array(lengths), kind="stable"), np.empty_like(signed)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        result[batch] = np.abs(signed[batch].mean(0))
    return result


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_his_is_the_derivative_of_the_loss_by_the_scale_of_a_head(family):
    model, examples = hp.PrunableModel(tiny(family).double()), examples_for(family, count=3).select([0, 2])
    found = hp.score_heads(model, examples, metrics=("his",)).per_example["his"]
    rows, heads = model.grid.shape
    for n, example in enumerate(examples):
        for row, head in np.ndindex(rows, heads):
            bump = torch.zeros(rows, heads, dtype=torch.double)
            bump[row, head] = STEP
            near, far = (plain_loss(model, example, 1 + s * bump) - plain_loss(model, example, 1 - s * bump) for s in (1, 2))
            slope = (8 * near - far) / (12 * STEP)
            assert found[n, row, head] == pytest.approx(abs(slope), rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module", params=REPRESENTATIVE)
def products(request):
    """(model, examples, signed sums (N, R, H), sums of absolute values by token, lengths), from the plain reference."""
    model, examples = tiny(request.param), examples_for(request.param)
    by_token = token_products(model, request.param, examples)
    lengths = [len(example.get("input_ids", (0,))) + len(example.get("target_ids", ())) for example in examples]
    signed, absolute = np.stack([p.sum(1) for p in by_token]), np.stack([np.abs(p).sum(1) for p in by_token])
    return hp.PrunableModel(model), examples, signed, absolute, lengths


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_reductions_equal_plain_sums(products, batch_size):
    model, examples, signed, absolute, lengths = products
    expected = {"example": np.abs(signed), "token": absolute, "batch": batch_means(signed, lengths, batch_size)}
    for reduction, values in expected.items():
        options = {"metrics": ("his",), "his_reduction": reduction, "batch_size": batch_size}
        scores = hp.score_heads(model, examples, **options)
        np.testing.assert_allclose(scores.per_example["his"], values, rtol=1e-4, atol=1e-5 * values.max())
        assert scores.settings["his_reduction"] == reduction
        # one run has them all
        assert set(scores.his_by_reduction) == set(expected)
        for other, other_values in expected.items():
            np.testing.assert_allclose(
                scores.his_by_reduction[other], other_values, rtol=1e-4, atol=1e-5 * other_values.max()
            )
            by_other = scores.reduced_by(other)
            np.testing.assert_array_equal(by_other.per_example["his"], scores.his_by_reduction[other])
            assert by_other.settings == scores.settings | {"his_reduction": other}
        np.testing.assert_array_equal(scores.per_example["his"], scores.his_by_reduction[reduction])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "t5", "vit"])
@pytest.mark.parametrize("reduction", ["example", "token", "batch"])
def test_another_reduction_needs_no_rescoring(family, reduction):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    run = hp.score_heads(model, examples, batch_size=4, his_reduction=reduction)
    again = hp.score_heads(model, examples, batch_size=4).reduced_by(reduction)
    np.testing.assert_allclose(again.his, run.his, rtol=1e-6)
    assert again.settings == run.settings
    for metric in ("ae", "gnorm"):
        np.testing.assert_array_equal(again.per_example[metric], run.per_example[metric])
    np.testing.assert_allclose(again.hies(0.5), run.hies(0.5), atol=1e-6)
    np.testing.assert_allclose(again.bootstrap("his"), run.bootstrap("his"), rtol=1e-6)


def test_an_unknown_or_unavailable_reduction_is_refused():
    model = hp.PrunableModel(tiny("bert"))
    with pytest.raises(hp.HeadPruneError, match="his_reduction must be one of example, token, batch, got 'sum'"):
        hp.score_heads(model, random_examples(), metrics=("his",)).reduced_by("sum")
    with pytest.raises(hp.HeadPruneError, match="'his' was not computed"):
        hp.score_heads(model, random_examples(), metrics=("ae",)).reduced_by("token")


def test_the_batch_reduction_depends_on_its_batches_alone(monkeypatch):
    """On which examples form a batch; neither on how they are packed nor on whether batches were split to save memory."""
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(count=20, longest=60)
    options = {"metrics": ("his",), "his_reduction": "batch", "batch_size": 8}
    whole, logits = hp.score_heads(model, examples, **options), model.logits
    sizes = []

    def limited(inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise MemoryError("no more")
        return logits(inputs)

    monkeypatch.setattr(encoded, "BATCH_COST", {"cpu": 10**6})  # as few batches as there can be
    full = hp.score_heads(model, examples, **options)
    monkeypatch.setattr(model, "logits", limited)
    split = hp.score_heads(model, examples, **options)
    assert max(sizes) > 4
    for other in (full, split):
        np.testing.assert_allclose(other.per_example["his"], whole.per_example["his"], rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_only_the_batch_reduction_depends_on_the_batch_size():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()

    def his(reduction, batch_size):
        return hp.score_heads(model, examples, metrics=("his",), his_reduction=reduction, batch_size=batch_size).his

    for reduction in ("example", "token"):
        np.testing.assert_allclose(his(reduction, 1), his(reduction, 9), rtol=1e-4)
    assert not np.allclose(his("batch", 1), his("batch", 9), rtol=0.1)
    assert (his("token", 9) >= his("example", 9)).all()
    assert (his("example", 9) >= his("batch", 9) * (1 - 1e-5)).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_a_head_that_the_output_projection_ignores_has_no_importance(family):
    model = tiny(family)
    row = 0 if family == "albert" else 1
    *_, out = FAMILIES[family].projections(model)[row]
    with torch.no_grad():
        columns(out).unflatten(1, (4, -1))[:, 2] = 0
    his = hp.score_heads(hp.PrunableModel(model), examples_for(family), metrics=("his",)).his
    assert his[row, 2] == 0
    assert (np.delete(his.ravel(), 4 * row + 2) > 0).all()


def test_padding_has_no_importance():
    model = hp.PrunableModel(tiny("bert"))
    alone, long = random_examples(count=2).select([0]), random_examples(count=2)
    assert len(alone[0]["input_ids"]) < len(long[1]["input_ids"])
    his = hp.score_heads(model, long, his_reduction="token").per_example["his"][0]
    np.testing.assert_allclose(his, hp.score_heads(model, alone, his_reduction="token").his, rtol=1e-4)
