"""The trial run at load: a result never depends on padding or on the other examples of a batch."""

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.batching import CountsPadding, SharesBatch
from helpers.tiny_models import FAMILIES, GROUPED, SMALL, random_examples, randomized, tiny, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.encoded import Encoded

CPU = torch.device("cpu")


class TakesOne(t.BertForSequenceClassification):
    """Raises an error for more than one example."""

    def forward(self, input_ids, **more):
        if len(input_ids) > 1:
            raise ValueError("one example at a time")
        return super().forward(input_ids, **more)


def results(model, examples, batch_size):
    scores = hp.score_heads(model, examples, batch_size=batch_size)
    evaluation = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool), batch_size=batch_size)
    logits = evaluation.losses if evaluation.logits is None else evaluation.logits
    return [*scores.per_example.values(), logits]


def same_in_any_batch(model, examples):
    for alone, packed in zip(results(model, examples, 1), results(model, examples, 8), strict=True):
        np.testing.assert_allclose(packed, alone, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_mask_their_padding_run_in_padded_batches(family):
    model = hp.PrunableModel(tiny(family))
    assert model.batching == "padded"
    assert model.note is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "batching", "words"),
    [
        (CountsPadding, "equal lengths", "depend on padding"),
        (SharesBatch, "single", "depend on the other examples"),
        (TakesOne, "single", "depend on the other examples"),
    ],
)
def test_a_model_that_padding_or_other_examples_change_runs_without_them(kind, batching, words):
    body = randomized(lambda: kind(t.BertConfig(**SMALL, num_labels=3)))
    with pytest.warns(hp.HeadPruneWarning, match=f"logits of {kind.__name__} {words}"):
        model = hp.PrunableModel(body)
    assert model.batching == batching
    same_in_any_batch(model, random_examples(8, 6))


@pytest.mark.slow
def test_a_mask_computed_from_the_text_is_not_padded():
    # Doge keeps the strongest keys of a window; a padded text longer than the window gets another mask.
    config = t.DogeConfig(**GROUPED, keep_window_size=6, num_labels=3)
    with pytest.warns(hp.HeadPruneWarning, match="depend on padding"):
        model = hp.PrunableModel(randomized(lambda: t.DogeForSequenceClassification(config)))
    assert model.batching == "equal lengths"
    same_in_any_batch(model, random_examples(8, 12))


def test_weights_that_are_not_finite_load_and_are_named_later():
    body = tiny("bert").requires_grad_(False)
    body.classifier.weight[0, 0] = torch.nan
    assert hp.PrunableModel(body).batching == "padded"


def test_a_model_without_weights_is_not_run():
    with torch.device("meta"):
        body = FAMILIES["bert"].build()
    assert hp.PrunableModel(body).batching == "padded"


def llama(kind, **more):
    return randomized(lambda: kind(t.LlamaConfig(**GROUPED | {"pad_token_id": None, "num_labels": 2} | more)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [t.LlamaForCausalLM, t.LlamaForSequenceClassification])
def test_a_padding_token_outside_the_embedding_changes_nothing(kind):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    assert tokenizer.pad_token_id == 90  # the embedding has 90 rows
    expected = results(hp.PrunableModel(llama(kind, pad_token_id=0), tiny_tokenizer()), random_examples(8, 6, classes=2), 1)
    with pytest.warns(hp.HeadPruneWarning) if kind is t.LlamaForSequenceClassification else pytest.MonkeyPatch.context():
        model = hp.PrunableModel(llama(kind), tokenizer)
    for size in (1, 8):
        for actual, wanted in zip(results(model, random_examples(8, 6, classes=2), size), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("pad", [None, "[SEP]"])
def test_texts_may_end_in_the_token_that_ends_texts(pad):
    # The tokenizer ends every text in [SEP], the end-of-text token; many users set it as the padding token.
    tokenizer = tiny_tokenizer(pad_token=pad, eos_token="[SEP]")
    body = llama(t.LlamaForSequenceClassification, eos_token_id=3)
    texts = [" ".join(f"w{4 + (7 * i + j) % 80}" for j in range(1 + i % 5)) for i in range(40)]
    with torch.no_grad():
        own = [body(torch.tensor([tokenizer(text)["input_ids"]])).logits[0].numpy() for text in texts]
    with pytest.warns(hp.HeadPruneWarning, match="has no padding token"):
        model = hp.PrunableModel(body, tokenizer)
    examples = datasets.Dataset.from_dict({"text": texts, "label": np.argmax(own, 1).tolist()})
    evaluation = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool))
    np.testing.assert_allclose(evaluation.logits[0], own, rtol=1e-3, atol=1e-5)
    assert evaluation.accuracy[0] == 1.0


def test_a_saved_classifier_still_has_no_padding_token(tmp_path):
    with pytest.warns(hp.HeadPruneWarning):
        hp.PrunableModel(llama(t.LlamaForSequenceClassification)).save_pretrained(tmp_path / "model")
    assert t.AutoConfig.from_pretrained(tmp_path / "model").pad_token_id is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 9))
def test_batches_without_padding_hold_one_length(lengths, batch_size):
    inputs = [{"input_ids": [5] * n, "target_ids": [6] * u} for n, u in lengths]
    for batching in ("equal lengths", "single"):
        encoded = Encoded(inputs, None, 0, 6, 0, batching=batching)
        batches = encoded.packed(batch_size, None, CPU)
        assert sorted(np.concatenate(batches)) == list(range(len(inputs)))
        for batch in batches:
            assert len({lengths[i] for i in batch}) == 1
            assert len(batch) <= (1 if batching == "single" else batch_size)
