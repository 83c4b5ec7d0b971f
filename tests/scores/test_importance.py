"""HIS against finite differences of the loss, and its three reductions against plain sums."""

import numpy as np
import pytest
import torch
from reference import token_products
from tiny import FAMILIES, random_examples, tiny

import headprune_core as hp
from headprune_core.probe import Probe, probing

STEP = 0.02  # LLaMA normalises in single precision, so differences of tiny steps would be rounding


def plain_loss(model, example, gates):
    """The model's own idea of its loss on one example, its heads scaled by `gates` (R, H)."""
    ids = torch.tensor([example["input_ids"]])
    by_module = {row.module: gate[:, None] for row, gate in zip(model.grid.rows, gates, strict=True)}
    with torch.no_grad(), probing(Probe(gates=by_module)):
        if model.task == "language":
            return model.model(input_ids=ids, labels=ids).loss.item()
        logits = model.model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits, torch.tensor([example["label"]])).item()


def reference_his(family, model, examples, reduction, batch_size):
    """(N, R, H) from signed products per token; batches by length, the longest first."""
    products = token_products(model, family, examples)
    if reduction == "token":
        return np.stack([np.abs(p).sum(1) for p in products])
    signed = np.stack([p.sum(1) for p in products])
    if reduction == "example":
        return np.abs(signed)
    order = np.argsort([-len(ids) for ids in examples["input_ids"]], kind="stable")
    result = np.empty_like(signed)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        result[batch] = np.abs(signed[batch].mean(0))
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_his_is_the_slope_of_the_loss_as_a_head_is_turned_down(family):
    model, examples = hp.PrunableModel(tiny(family).double()), random_examples(count=3)
    found = hp.score_heads(model, examples, metrics=("his",)).per_example["his"]
    rows, heads = model.grid.shape
    for n, example in enumerate(examples):
        for row, head in np.ndindex(rows, heads):
            bump = torch.zeros(rows, heads, dtype=torch.double)
            bump[row, head] = STEP
            near, far = (plain_loss(model, example, 1 + s * bump) - plain_loss(model, example, 1 - s * bump) for s in (1, 2))
            slope = (8 * near - far) / (12 * STEP)
            assert found[n, row, head] == pytest.approx(abs(slope), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reduction", ["example", "token", "batch"])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_reductions_equal_plain_sums(family, reduction, batch_size):
    model, examples = tiny(family), random_examples()
    expected = reference_his(family, model, examples, reduction, batch_size)
    options = {"metrics": ("his",), "his_reduction": reduction, "batch_size": batch_size}
    found = hp.score_heads(hp.PrunableModel(model), examples, **options).per_example["his"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_only_the_batch_reduction_depends_on_the_batch_size():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()

    def his(reduction, batch_size):
        return hp.score_heads(model, examples, metrics=("his",), his_reduction=reduction, batch_size=batch_size).his

    for reduction in ("example", "token"):
        np.testing.assert_allclose(his(reduction, 1), his(reduction, 9), rtol=1e-4)
    assert not np.allclose(his("batch", 1), his("batch", 9), rtol=0.1)
    assert (his("token", 9) >= his("example", 9)).all()
    assert (his("example", 9) >= his("batch", 9) * (1 - 1e-5)).all()


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_head_that_the_output_projection_ignores_matters_nothing(family):
    model = tiny(family)
    *_, out = FAMILIES[family].projections(model)[1]
    with torch.no_grad():
        out.weight[:, 16:24] = 0
    his = hp.score_heads(hp.PrunableModel(model), random_examples(), metrics=("his",)).his
    assert his[1, 2] == 0
    assert (np.delete(his.ravel(), 6) > 0).all()


def test_padding_matters_nothing():
    model = hp.PrunableModel(tiny("bert"))
    alone, long = random_examples(count=2).select([0]), random_examples(count=2)
    assert len(alone[0]["input_ids"]) < len(long[1]["input_ids"])
    his = hp.score_heads(model, long, his_reduction="token").per_example["his"][0]
    np.testing.assert_allclose(his, hp.score_heads(model, alone, his_reduction="token").his, rtol=1e-4)
