"""Distances of heads against a slow reference; independence of batches and padding; heads that are not comparable."""

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.reference import _attentions, _forward, prepared
from helpers.role_models import causal_model, texts
from helpers.tiny_models import FAMILIES, GROUPED, examples_for, tiny
from scipy.spatial.distance import jensenshannon

import headprune_core as hp
from headprune_core.inspection import nearest_heads


def windowed():
    """A Mistral, which is a LLaMA with grouped queries and a sliding window."""
    torch.manual_seed(0)
    return t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=6)).eval()


def reference(model, family, examples):
    """(R * H, R * H) distances by loops over examples, heads and query tokens, with eager attention."""
    model, found = prepared(model), []
    for example in examples:
        output, z = _forward(model, FAMILIES[family], example)
        attentions = [a[0].detach().numpy() for a in _attentions(output)]
        layers = len(attentions) // len(z)  # ALBERT: several layers share a row
        rows = [np.mean(attentions[row * layers : (row + 1) * layers], axis=0) for row in range(len(z))]
        heads = [(row, head) for row in rows for head in row]
        one = np.full((len(heads),) * 2, np.nan)
        for i, (row, first) in enumerate(heads):
            for j, (other, second) in enumerate(heads):
                if row.shape == other.shape and ((row > 0) == (other > 0)).all():
                    tokens = [q for q in range(len(first)) if (first[q] > 0).sum() > 1]
                    one[i, j] = np.mean([jensenshannon(first[q], second[q], base=2) for q in tokens])
        found.append(one)
    return np.mean(found, axis=0)


def unequal_targets():
    """Inputs and targets of different lengths, so that the shapes of attention tell its kinds apart."""
    generator = np.random.default_rng(0)
    lengths = ((7, 4), (5, 8), (9, 6))
    inputs, targets = ([generator.integers(5, 90, pair[k]).tolist() for pair in lengths] for k in (0, 1))
    return datasets.Dataset.from_dict({"input_ids": inputs, "target_ids": targets})


CASES = {
    "bert": (lambda: tiny("bert"), "bert", lambda: examples_for("bert", count=4)),
    "gpt2": (lambda: tiny("gpt2"), "gpt2", lambda: examples_for("gpt2", count=4)),
    "window": (windowed, "llama", lambda: examples_for("llama", count=4)),
    "mixed windows": (lambda: tiny("gemma2"), "gemma2", lambda: examples_for("gemma2", count=4)),
    "t5": (lambda: tiny("t5"), "t5", unequal_targets),
    "shared weights": (lambda: tiny("albert"), "albert", lambda: examples_for("albert", count=4)),
}


@pytest.mark.parametrize("case", CASES)
def test_distances_equal_the_slow_reference(case):
    build, family, examples = (part() if number != 1 else part for number, part in enumerate(CASES[case]))
    found = hp.head_distances(hp.PrunableModel(build), examples, batch_size=3).matrix
    expected = reference(build, family, examples)
    kinds = {row.kind for row in hp.PrunableModel(build).grid.rows}
    if len(kinds) > 1:  # causal and other attention of equal shape differ by their zeros
        assert np.isnan(found).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert (found.diagonal() == 0).all()


def test_batches_padding_and_blocks_do_not_change_distances(monkeypatch):
    model, examples = hp.PrunableModel(tiny("qwen3")), examples_for("qwen3", count=6)
    together = hp.head_distances(model, examples).matrix
    alone = hp.head_distances(model, examples, batch_size=1).matrix
    np.testing.assert_allclose(together, alone, atol=2e-6)
    monkeypatch.setattr(nearest_heads, "BLOCK_ELEMENTS", 300)  # two or three query rows at a time
    np.testing.assert_allclose(hp.head_distances(model, examples).matrix, together, atol=2e-6)


def test_the_nearest_heads_are_sorted_and_comparable():
    found = hp.head_distances(hp.PrunableModel(tiny("t5")), unequal_targets())
    heads = found.grid.shape[1]
    near = found.nearest(0, 1, count=100)
    assert set(zip(near["row"], near["head"], strict=True)) == {(r, h) for r in (0, 1) for h in range(heads)} - {(0, 1)}
    assert near.distance.is_monotonic_increasing
    assert near.distance.iloc[0] == np.nanmin(np.delete(found.matrix[1], 1))
    assert found.nearest(0, 1, count=2).equals(near.head(2))


def test_heads_with_equal_and_with_disjoint_attention_have_the_ends_of_the_range():
    model = causal_model()
    with torch.no_grad():  # the last head of the first layer becomes a copy of the first one
        weight, bias = model.transformer.h[0].attn.c_attn.weight, model.transformer.h[0].attn.c_attn.bias
        for part in (0, 64):
            weight[:, part + 48 : part + 64] = weight[:, part : part + 16]
            bias[part + 48 : part + 64] = bias[part : part + 16]
    found = hp.head_distances(hp.PrunableModel(model), texts())
    assert found.matrix[0, 3] < 1e-6
    assert found.nearest(0, 0, count=1)[["row", "head"]].iloc[0].tolist() == [0, 3]
    assert found.matrix[0, 2] > 0.95  # the previous token, and the token itself


def test_masks_tell_apart_what_modules_do_not_say():
    """Rows whose window is unknown count as full attention, but the keys that they see differ."""
    model = tiny("gemma2")
    known = hp.head_distances(hp.PrunableModel(model), examples_for("gemma2", count=4)).matrix
    wrapped = hp.PrunableModel(model)
    for row in wrapped.grid.rows:
        row.module.sliding_window = None
    found = hp.head_distances(wrapped, examples_for("gemma2", count=4)).matrix
    np.testing.assert_array_equal(np.isnan(found), np.isnan(known))
    assert np.isnan(found).any()


def test_wrong_heads_counts_and_attention_are_refused():
    model = tiny("bert")
    found = hp.head_distances(hp.PrunableModel(model), examples_for("bert", count=3))
    with pytest.raises(hp.HeadPruneError, match="the model has no head 4 in row 0; rows are 0 to 2, heads 0 to 3"):
        found.nearest(0, 4)
    with pytest.raises(hp.HeadPruneError, match="count must be at least 1"):
        found.nearest(0, 0, count=0)
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.self.query.bias[0] = torch.nan
    with pytest.raises(hp.HeadPruneError, match=r"the attention of head 0 in row 1 is not finite for example \d"):
        hp.head_distances(hp.PrunableModel(model), examples_for("bert", count=3))


def test_progress_counts_examples():
    reports = []
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=3)
    hp.head_distances(model, examples, progress=lambda *report: reports.append(report))
    assert reports == [(done, 3, "Comparing heads") for done in range(4)]
