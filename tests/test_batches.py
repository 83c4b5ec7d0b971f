"""Examples as the model takes them: tokens, label numbers, padding, and what does not fit."""

import warnings

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from tiny import SMALL, random_examples, tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.encoding import encode

NAMES = ("negative", "Neutral", "positive")


def dataset(**columns):
    return datasets.Dataset.from_dict(columns)


def model_with_classes(names, tokenizer=None):
    model = tiny("bert")
    model.config.id2label = dict(enumerate(names))
    return hp.PrunableModel(model, tokenizer)


def labels(values, names=NAMES, features=None):
    examples = dataset(input_ids=[[5, 6]] * len(values), label=values)
    if features:
        features = datasets.Features(examples.features | {"label": datasets.ClassLabel(names=list(features))})
        examples = datasets.Dataset.from_dict(examples.to_dict(), features=features)
    return encode(model_with_classes(names), examples).labels


@pytest.fixture
def short():
    """A model of 8 positions, with a tokenizer."""
    return hp.PrunableModel(
        t.BertForSequenceClassification(t.BertConfig(**SMALL, max_position_embeddings=8)), tiny_tokenizer()
    )


@pytest.mark.parametrize(
    "values", [["positive", "negative"], ["POSITIVE", "Negative"], ["2", "0"], [2, 0], ["2", "negative"]]
)
def test_labels_by_name_and_by_number(values):
    assert labels(values) == [2, 0]


def test_a_class_label_goes_by_its_names_where_the_model_knows_them():
    assert labels([0, 1, 2], features=("positive", "neutral", "negative")) == [2, 1, 0]
    assert labels([0, 1, 2], features=("good", "so so", "bad")) == [0, 1, 2]


def test_classes_whose_names_are_numbers():
    stars = ("1", "2", "3")
    assert labels([1, 2, 3], names=stars) == [0, 1, 2]
    assert labels([0, 1, 2], names=stars) == [0, 1, 2]


@pytest.mark.parametrize("values", [["glad"], [3], [-1], ["-1"], ["--1"], ["²"], ["1.5"], [None], [""]])
@pytest.mark.parametrize("first", ["0", "positive"])
def test_labels_that_the_model_lacks_are_refused(values, first):
    mixed = values if isinstance(values[0], int) else [first, *values]
    with pytest.raises(hp.HeadPruneError, match=r"1 of \d examples have labels that the model does not have") as refusal:
        labels(mixed)
    assert "expected 0 = negative, 1 = Neutral, 2 = positive" in str(refusal.value)
    assert repr(values[0]) in str(refusal.value)


@pytest.mark.parametrize("missing", [-1, None])
def test_a_class_label_that_is_missing_is_refused(missing):
    with pytest.raises(hp.HeadPruneError, match="1 of 2 examples have labels that the model does not have"):
        labels([0, missing], features=NAMES)


def test_a_language_model_needs_no_labels():
    assert encode(hp.PrunableModel(tiny("llama")), dataset(input_ids=[[5, 6]], label=["any"])).labels is None


def test_texts_and_pairs_become_tokens():
    names = ["input_ids", "token_type_ids", "attention_mask"]
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer(model_input_names=names))
    encoded = encode(model, dataset(text=["w7 w8", "w9 what"]))
    assert [row["input_ids"] for row in encoded.inputs] == [[2, 7, 8, 3], [2, 9, 1, 3]]
    pair = encode(model, dataset(text=["w7"], text_pair=["w8 w9"])).inputs[0]
    assert (pair["input_ids"], pair["token_type_ids"]) == ([2, 7, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1])


def test_a_longer_text_is_cut_and_said(short):
    examples = dataset(text=["w5 " * 30, "w6", "w7 " * 6])
    with pytest.warns(hp.HeadPruneWarning, match=r"1 of 3 texts are longer than the 8 tokens .* \(the longest has 32\)"):
        encoded = encode(short, examples)
    assert [row["input_ids"] for row in encoded.inputs] == [[2, *[5] * 6, 3], [2, 6, 3], [2, *[7] * 6, 3]]
    assert (encoded.cut, encoded.longest) == (1, 32)


def test_a_model_without_end_cuts_nothing():
    model = tiny("llama")
    model.config.max_position_embeddings = 0
    encoded = encode(hp.PrunableModel(model, tiny_tokenizer()), dataset(text=["w5 " * 3000]))
    assert (encoded.cut, encoded.longest) == (0, 3002)


def test_ready_tokens_that_do_not_fit_are_refused(short):
    with pytest.raises(hp.HeadPruneError, match="an example has 9 tokens; expected at most the model's 8"):
        encode(short, dataset(input_ids=[[5], [5] * 9]))


@pytest.mark.parametrize("token", [-1, 90])
def test_tokens_that_the_model_lacks_are_refused(token):
    with pytest.raises(
        hp.HeadPruneError, match="example 1 has a token that the model does not have; expected ids from 0 to 89"
    ):
        encode(hp.PrunableModel(tiny("bert")), dataset(input_ids=[[5], [6, token]]))


def test_batches_hold_every_example_once_the_longest_first():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(count=11)
    batches = list(encode(model, examples).batches(4, torch.device("cpu")))
    assert [len(batch.index) for batch in batches] == [4, 4, 3]
    order = np.concatenate([batch.index for batch in batches])
    assert sorted(order) == list(range(11))
    lengths = [len(examples[int(i)]["input_ids"]) for i in order]
    assert lengths == sorted(lengths, reverse=True)


def test_rows_are_padded_on_the_right_with_nothing_real():
    model = hp.PrunableModel(tiny("roberta"))
    (batch,) = encode(model, dataset(input_ids=[[5, 6], [7, 8, 9]], label=[0, 2])).batches(9, torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[7, 8, 9], [5, 6, 1]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.real.tolist() == [[True, True, True], [True, True, False]]
    assert batch.labels.tolist() == [2, 0]


def test_token_types_are_kept_and_padded_with_zeros():
    model = hp.PrunableModel(tiny("bert"))
    examples = dataset(input_ids=[[5, 6], [7, 8, 9]], token_type_ids=[[1, 1], [0, 1, 1]])
    (batch,) = encode(model, examples).batches(9, torch.device("cpu"))
    assert batch.inputs["token_type_ids"].tolist() == [[0, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("config_pad", [None, 0, 7, -1])
@pytest.mark.parametrize("tokenizer_pad", ["[PAD]", "w7", None])
def test_a_decoder_classifier_finds_its_last_token_in_any_batch(config_pad, tokenizer_pad):
    torch.manual_seed(0)
    config = t.LlamaConfig(**SMALL, num_key_value_heads=2, pad_token_id=config_pad, eos_token_id=2, num_labels=3)
    tokenizer = tiny_tokenizer(pad_token=tokenizer_pad)
    model = hp.PrunableModel(t.LlamaForSequenceClassification(config), tokenizer)
    examples, whole = dataset(text=["w10 w11 w12 w13", "w20", "w30 w31"]), np.ones((1, 3, 4), bool)
    alone, packed = (hp.evaluate_masks(model, examples, whole, batch_size=n).logits for n in (1, 3))
    np.testing.assert_allclose(packed, alone, rtol=1e-4, atol=1e-5)


def test_a_language_model_may_name_no_padding():
    model = t.LlamaForCausalLM(t.LlamaConfig(**SMALL, num_key_value_heads=2, pad_token_id=-1))
    (batch,) = encode(hp.PrunableModel(model), dataset(input_ids=[[5, 6, 7], [8, 9]])).batches(2, torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]


@pytest.mark.parametrize(
    ("family", "columns", "words"),
    [
        ("bert", {"text": ["w5"]}, "has no tokenizer; give one, or a Dataset with ready input_ids"),
        ("bert", {"words": ["w5"]}, "the examples have columns words; expected text, or ready input_ids"),
        ("bert", {"input_ids": []}, "there are no examples"),
        ("bert", {"input_ids": [[5], []]}, "example 1 has 0 token; expected at least 1"),
        ("llama", {"input_ids": [[5, 6], [7]]}, "example 1 has 1 token; expected at least 2"),
    ],
)
def test_unusable_examples_are_refused(family, columns, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        encode(hp.PrunableModel(tiny(family)), dataset(**columns))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_cannot_be_is_refused(batch_size):
    with pytest.raises(hp.HeadPruneError, match=f"the batch size is {batch_size}; expected at least 1"):
        next(encode(hp.PrunableModel(tiny("bert")), random_examples()).batches(batch_size, torch.device("cpu")))


def test_texts_that_fit_give_no_warning(short):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode(short, dataset(text=["w5 " * 6])).cut == 0
