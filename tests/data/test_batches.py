"""Batches: packed with minimum padding, split if memory runs out, with the same scores in every case."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, examples_for, random_examples, tiny
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.batches import in_parts
from headprune_core.data.encoded import BATCH_COST, packed
from headprune_core.data.encoding import encode

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=7).map(np.array)
MEMORY = {
    "python": MemoryError(),
    "numpy": MemoryError("Unable to allocate 9.00 TiB for an array with shape (9,) and data type float32"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    ),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
}


def cost(lengths, batches):
    """Total cost: tokens with padding, plus BATCH_COST per batch."""
    return sum(len(batch) * lengths[batch].max() + BATCH_COST["cpu"] for batch in batches)


def partitions(items):
    """All partitions of items into groups."""
    if not items:
        yield []
        return
    first, *rest = items
    for groups in partitions(rest):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


def fits(lengths, batch, batch_size, token_limit):
    small = token_limit is None or len(batch) == 1 or len(batch) * lengths[batch].max() <= token_limit
    return len(batch) <= batch_size and small


@given(LENGTHS, st.integers(1, 8), st.none() | st.integers(1, 400))
def test_packing_has_minimum_cost(lengths, batch_size, token_limit):
    found = packed(lengths, batch_size, token_limit)
    every = ([np.array(group) for group in groups] for groups in partitions(list(range(len(lengths)))))
    allowed = [ways for ways in every if all(fits(lengths, batch, batch_size, token_limit) for batch in ways)]
    assert cost(lengths, found) == min(cost(lengths, ways) for ways in allowed)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=80).map(np.array), st.integers(1, 90), st.integers(1, 5000))
def test_every_example_is_in_one_batch_within_the_limits(lengths, batch_size, token_limit):
    for limit in (None, token_limit):
        batches = packed(lengths, batch_size, limit)
        order = np.concatenate(batches)
        assert sorted(order) == list(range(len(lengths)))
        assert (np.diff(lengths[order]) <= 0).all()
        assert all(fits(lengths, batch, batch_size, limit) for batch in batches)


def test_equally_long_examples_fill_their_batches():
    assert [len(batch) for batch in packed(np.full(70, 9), 32)] in ([32, 32, 6], [6, 32, 32], [32, 6, 32])
    assert [len(batch) for batch in packed(np.full(10, 9), 32, token_limit=45)] == [5, 5]


def test_short_texts_need_little_padding():
    lengths = np.random.default_rng(0).integers(12, 65, 960)
    batches = packed(lengths, 32)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.02
    assert len(batches) < 1.5 * 960 / 32


def test_one_long_text_does_not_lengthen_the_others():
    lengths = np.array([500, *[10] * 31])
    assert [len(batch) for batch in packed(lengths, 32)] == [1, 31]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_invalid_batch_size_is_refused(batch_size):
    with pytest.raises(hp.HeadPruneError, match=f"batch_size must be at least 1, got {batch_size}"):
        next(encode(hp.PrunableModel(tiny("bert")), random_examples()).batches(batch_size, torch.device("cpu")))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_contain_every_example_once_longest_first(family):
    encoded = encode(hp.PrunableModel(tiny(family)), examples_for(family, count=11))
    batches = list(encoded.batches(4, torch.device("cpu")))
    order = np.concatenate([batch.index for batch in batches])
    assert sorted(order) == list(range(11))
    assert (np.diff(encoded.lengths[order]) <= 0).all()
    assert max(map(len, batches)) <= 4
    limited = list(encoded.batches(11, torch.device("cpu"), token_limit=40))
    assert all(len(batch) * encoded.lengths[batch.index].max() <= 40 for batch in limited)


def pieces(batch):
    """The values of a batch for each example, by name."""
    named = {name: getattr(batch, name) for name in vars(batch) if name not in ("inputs", "task")} | batch.inputs
    return {name: values for name, values in named.items() if values is not None}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [2, 5, 6])
def test_halves_keep_content_and_order(family, count):
    encoded = encode(hp.PrunableModel(tiny(family)), examples_for(family, count=6).select(range(count)))
    whole = encoded.batch(np.arange(count), torch.device("cpu"))
    halves = whole.halves()
    assert sum(map(len, halves)) == count
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    first, second = map(pieces, halves)
    assert set(first) == set(second) == set(pieces(whole))
    for name, values in pieces(whole).items():
        joined = torch.cat([torch.as_tensor(first[name]), torch.as_tensor(second[name])])
        assert torch.equal(joined, torch.as_tensor(values))


def short_of_memory(model, monkeypatch, error, most):
    """Make the model fail for batches of more than `most` examples; return the sizes of the batches tried."""
    tried, logits = [], model.logits

    def limited(inputs):
        size = len(next(iter(inputs.values())))
        tried.append(size)
        if size > most:
            raise error
        return logits(inputs)

    monkeypatch.setattr(model, "logits", limited)
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("error", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("most", [1, 3])
def test_a_batch_is_halved_until_it_fits(error, most, monkeypatch):
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()
    whole = hp.score_heads(model, examples, batch_size=9)
    tried = short_of_memory(model, monkeypatch, error, most)
    reports = []
    found = hp.score_heads(model, examples, batch_size=9, progress=lambda *report: reports.append(report[:2]))
    assert max(tried) > most
    assert sum(size for size in tried if size <= most) == 9
    for metric, values in whole.per_example.items():
        np.testing.assert_allclose(found.per_example[metric], values, rtol=1e-4, atol=1e-6)
    assert reports == sorted(reports)
    assert (reports[0], reports[-1]) == ((0, 9), (9, 9))


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_halving_does_not_change_scores(family, monkeypatch):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    whole = hp.score_heads(model, examples, batch_size=9)
    masks = np.random.default_rng(0).random((2, *model.grid.shape)) < 0.6
    answers = hp.evaluate_masks(model, examples, masks, batch_size=9)
    tried = short_of_memory(model, monkeypatch, MEMORY["cpu"], 2)
    found = hp.score_heads(model, examples, batch_size=9)
    for metric, values in whole.per_example.items():
        np.testing.assert_allclose(found.per_example[metric], values, rtol=1e-4, atol=1e-6 * values.max())
    halved = hp.evaluate_masks(model, examples, masks, batch_size=9)
    for name in ("accuracy", "agreement", "trials"):
        np.testing.assert_array_equal(getattr(halved, name), getattr(answers, name))
    np.testing.assert_allclose(halved.loss, answers.loss, rtol=1e-5)
    np.testing.assert_allclose(halved.correlation, answers.correlation, rtol=1e-5)
    assert max(tried) > 2


def test_memory_shortage_under_masks_is_handled_too(monkeypatch):
    """The unpruned model's logits stay in memory during the masked forward pass, which may then run out of memory."""
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()
    masks = np.random.default_rng(0).random((3, 3, 4)) < 0.6
    answers, logits, calls = hp.evaluate_masks(model, examples, masks, batch_size=9), model.logits, []

    def limited(inputs):
        calls.append(len(inputs["input_ids"]))
        if calls[-1] > 2 and len(calls) % 2 == 0:
            raise MEMORY["cuda"]
        return logits(inputs)

    monkeypatch.setattr(model, "logits", limited)
    np.testing.assert_allclose(hp.evaluate_masks(model, examples, masks, batch_size=9).logits, answers.logits, atol=1e-5)


@pytest.mark.parametrize("error", MEMORY.values(), ids=MEMORY)
def test_an_example_that_does_not_fit_gives_one_sentence(error, monkeypatch):
    model = hp.PrunableModel(tiny("bert"))
    short_of_memory(model, monkeypatch, error, 0)
    with pytest.raises(
        hp.HeadPruneError, match=r"an example of \d+ tokens does not fit in memory .*; use shorter"
    ) as refusal:
        hp.score_heads(model, random_examples())
    assert "\n" not in str(refusal.value)
    vision = hp.PrunableModel(tiny("vit"))
    short_of_memory(vision, monkeypatch, error, 0)
    with pytest.raises(hp.HeadPruneError, match="an example does not fit in memory"):
        hp.score_heads(vision, examples_for("vit"))


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("x")])
def test_other_errors_are_not_treated_as_memory_errors(error, monkeypatch):
    model = hp.PrunableModel(tiny("bert"))
    tried = short_of_memory(model, monkeypatch, error, 0)
    with pytest.raises(type(error)):
        hp.score_heads(model, random_examples())
    assert len(tried) == 1


def test_parts_are_in_order_and_processed_once():
    encoded = encode(hp.PrunableModel(tiny("bert")), random_examples(count=8))
    batch = next(encoded.batches(8, torch.device("cpu"), token_limit=None))

    def work(part):
        if len(part) > 2:
            raise MEMORY["numpy"]
        return part.index.tolist()

    found = list(in_parts(batch, work))
    assert [i for _, indices in found for i in indices] == batch.index.tolist()
    assert [part.index.tolist() for part, _ in found] == [indices for _, indices in found]
