"""Head traits against a slow reference, for every kind of attention; independence of padding, batches and blocks."""

import copy

import datasets
import numpy as np
import pytest
import torch
from helpers.reference_traits import reference_traits, special_value_shares
from helpers.tiny_models import REPRESENTATIVE, examples_for, tiny

import headprune_core as hp
from headprune_core.data.encoding import special_ids
from headprune_core.inspection import attention_traits
from headprune_core.inspection.distance_kernel import BINS, bin_edges, distance_bin, text_kernel
from headprune_core.inspection.head_traits import head_traits

CLOSE = {"rtol": 0, "atol": 1e-6}


def few_tokens(family, **options):
    """Examples with few different tokens, special ones among them, so that every role occurs."""
    examples = examples_for(family, **options)
    if "input_ids" not in examples.column_names:
        return examples
    end = examples["input_ids"][0][-1] if family in ("t5-classifier", "bart-classifier") else None
    columns = {name: examples[name] for name in examples.column_names}
    for name in ("input_ids", "target_ids"):
        if name in columns:
            columns[name] = [[1 + token % 6 for token in ids] for ids in columns[name]]
    if end is not None:
        columns["input_ids"] = [[3 + token % 4 for token in ids[:-1]] + [end] for ids in columns["input_ids"]]
    return datasets.Dataset.from_dict(columns)


@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_traits_equal_the_plain_reference(family):
    model, examples = tiny(family), few_tokens(family, count=4)
    wrapped = hp.PrunableModel(copy.deepcopy(model).double())
    traits = head_traits(wrapped, examples, batch_size=3)
    expected = reference_traits(model, family, examples, special_ids(wrapped))
    for name, values in expected.items():
        role, null = name.removesuffix("_null"), name.endswith("_null")
        found = traits.nulls[role] if null else traits.per_example[name]
        tolerance = {"rtol": 3e-6} if name == "output_norm" else CLOSE  # models round to single precision in their norms
        np.testing.assert_allclose(found, values, **tolerance, err_msg=name)
    missing = set(traits.nulls) - set(expected) - {"segment", "sink"}
    assert all(np.isnan(traits.per_example[role]).all() for role in missing)


@pytest.mark.parametrize("family", ["bert", "qwen3", "gemma2"])
def test_value_weighted_attention_equals_norms_of_transformed_vectors(family):
    model, examples = tiny(family), few_tokens(family, count=3)
    wrapped = hp.PrunableModel(model)
    traits = head_traits(wrapped, examples)
    for number, example in enumerate(examples):
        expected = special_value_shares(model, family, example, special_ids(wrapped))
        np.testing.assert_allclose(traits.per_example["weighted_special"][number], expected, **CLOSE)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit"])
def test_blocks_batches_and_repetition_change_nothing(family, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), few_tokens(family, count=7)
    whole = head_traits(model, examples)
    again = head_traits(model, examples)
    monkeypatch.setattr(attention_traits, "BLOCK_ELEMENTS", 1)
    single = head_traits(model, examples, batch_size=1)
    for name, values in whole.per_example.items():
        np.testing.assert_array_equal(values, again.per_example[name])
        np.testing.assert_allclose(values, single.per_example[name], rtol=3e-6, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(whole.sink_position, single.sink_position)
    np.testing.assert_allclose(whole.kernel, single.kernel, **CLOSE)


@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_the_kernel_holds_all_attention_by_distance(family):
    model, examples = hp.PrunableModel(tiny(family)), few_tokens(family, count=4)
    traits = head_traits(model, examples)
    assert traits.kernel.shape == (*model.grid.shape, BINS)
    for row, kernel in zip(model.grid.rows, traits.kernel, strict=True):
        if row.kind == "cross":
            assert np.isnan(kernel).all()
        elif family not in ("gpt-oss", "vit", "deit"):  # sinks hold a part, and the class token has no distance
            np.testing.assert_allclose(kernel.sum(-1), 1, rtol=1e-5)
    if family in ("gpt2", "qwen3"):
        assert (traits.kernel[..., :31] == 0).all()  # nothing sees later tokens


@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_equals_sums_over_pairs(causal):
    torch.manual_seed(0)
    attention = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    attention = attention.tril() if causal else attention
    expected = torch.zeros(2, 3, BINS, dtype=torch.float64)
    for query in range(9):
        for key in range(9):
            expected[..., int(distance_bin(torch.tensor(query - key)))] += attention[..., query, key]
    for step in (1, 4, 9):
        found = sum(text_kernel(attention[:, :, start : start + step], start) for start in range(0, 9, step))
        torch.testing.assert_close(found, expected)


def test_bins_are_exact_near_and_cover_every_distance():
    edges = bin_edges()
    assert len(edges) == BINS
    assert edges == sorted(edges)
    offsets = torch.arange(-200_000, 200_000)
    bins = distance_bin(offsets)
    assert bins.min() == 0
    assert bins.max() == BINS - 1
    assert (bins.diff() >= 0).all()
    for near in range(-3, 4):
        assert (bins == distance_bin(torch.tensor(near))).sum() == 1
    for edge in edges:
        assert edges[int(distance_bin(torch.tensor(edge)))] == edge


def test_pairs_have_the_role_of_the_same_text():
    model = hp.PrunableModel(tiny("bert"))
    pair = {"input_ids": [[3, 7, 8, 0, 9, 10, 0]] * 4, "token_type_ids": [[0, 0, 0, 0, 1, 1, 1]] * 4}
    traits = head_traits(model, datasets.Dataset.from_dict(pair))
    np.testing.assert_allclose(traits.nulls["segment"], (4 * 4 + 3 * 3) / 49, rtol=1e-6)
    single = head_traits(model, datasets.Dataset.from_dict({"input_ids": pair["input_ids"]}))
    assert np.isfinite(single.per_example["segment"]).all()  # the special token in the middle separates the texts
    one_text = head_traits(model, datasets.Dataset.from_dict({"input_ids": [[3, 7, 8, 9, 0]] * 4}))
    assert np.isnan(one_text.per_example["segment"]).all()


def test_sliding_windows_are_a_population_of_their_own():
    model = hp.PrunableModel(tiny("gemma2"))
    traits = head_traits(model, few_tokens("gemma2", count=4, longest=20))
    assert set(traits.populations) == {"full attention", "sliding window of 6 tokens"}
    windowed = np.array([name.startswith("sliding") for name in traits.populations])
    assert (traits.nulls["previous"][:, windowed].mean() > traits.nulls["previous"][:, ~windowed].mean()).all()
    counts = traits.role_counts([0.25])
    assert counts.groupby("population").heads.sum().to_dict() == {
        name: model.grid.shape[1] * traits.populations.count(name) for name in set(traits.populations)
    }


def test_attention_that_is_not_finite_is_refused():
    model = tiny("bert")
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.self.query.weight[0] = torch.nan
    with pytest.raises(hp.HeadPruneError, match="the attention of head 0 in row 1 is not finite for example 0"):
        head_traits(hp.PrunableModel(model), few_tokens("bert", count=3))


def test_a_pruned_model_is_refused():
    model = hp.PrunableModel(tiny("bert"))
    mask = np.ones(model.grid.shape, bool)
    mask[0, 0] = False
    with pytest.raises(hp.HeadPruneError, match="inspecting heads requires an unpruned model"):
        head_traits(hp.prune_heads(model, mask), few_tokens("bert", count=3))


def test_progress_and_cancel():
    model, reports = hp.PrunableModel(tiny("bert")), []

    def cancel(done, total, note):
        raise hp.Cancelled("stop")

    head_traits(model, few_tokens("bert", count=5), batch_size=2, progress=lambda *report: reports.append(report))
    assert reports[0] == (0, 5, "Inspecting heads")
    assert reports[-1] == (5, 5, "Inspecting heads")
    with pytest.raises(hp.Cancelled):
        head_traits(model, few_tokens("bert", count=5), progress=cancel)
