"""Tags of words aligned to tokens, and every form of token classification data that is read or refused."""

import datasets
import numpy as np
import pytest
import transformers as t
from helpers.tasks import TAGS, tiny_task
from helpers.tiny_models import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import headprune_core as hp
from headprune_core.data.encoding import encode

WORDS = [["Ann", "lives", "in", "Paris"], ["Bonn"]]
NAMES = [["B-PER", "O", "O", "B-LOC"], ["B-LOC"]]
NUMBERS = [[TAGS.index(name) for name in row] for row in NAMES]
#          [CLS] A    ##nn  lives in Par  ##is [SEP]
ALIGNED = [[-100, 1, -100, 0, 0, 3, -100, -100], [-100, 3, -100, -100]]


def pieces(**options):
    """A WordPiece tokenizer that splits Ann, Paris and Bonn in two."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "A", "##nn", "lives", "in", "Par", "##is", "Bo"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special | options)


@pytest.fixture(scope="module")
def tagger():
    return hp.PrunableModel(tiny_task("token_classification"), pieces())


def labels(model, columns, **features):
    return [row["labels"] for row in encode(model, datasets.Dataset.from_dict(columns, **features)).inputs]


@pytest.mark.parametrize("words", ["tokens", "words"])
@pytest.mark.parametrize("tags", ["ner_tags", "tags", "labels", "pos_tags", "label"])
@pytest.mark.parametrize("values", [NAMES, NUMBERS], ids=["names", "numbers"])
def test_the_first_token_of_a_word_has_its_tag(tagger, words, tags, values):
    assert labels(tagger, {words: WORDS, tags: values}) == ALIGNED


def test_names_of_the_dataset_decide_over_numbers(tagger):
    order = ["B-LOC", "I-LOC", "O", "I-PER", "B-PER"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=order))}
    )
    values = [[order.index(name) for name in row] for row in NAMES]
    assert labels(tagger, {"tokens": WORDS, "ner_tags": values}, features=features) == ALIGNED


def test_numbers_count_where_the_model_has_no_names():
    model = tiny_task("token_classification")
    model.config.id2label = {i: f"LABEL_{i}" for i in range(5)}
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=list(TAGS)))}
    )
    wrapped = hp.PrunableModel(model, pieces())
    assert labels(wrapped, {"tokens": WORDS, "ner_tags": NUMBERS}, features=features) == ALIGNED


def test_batches_hold_targets_and_what_counts(tagger):
    encoded = encode(tagger, datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": NAMES}))
    batch = encoded.batch(np.arange(2), tagger.device)
    assert batch.targets.tolist() == [ALIGNED[0], ALIGNED[1] + [-100] * 4]
    assert batch.predicted.tolist() == [[label != -100 for label in row] for row in batch.targets.tolist()]
    first, second = batch.halves()
    assert second.targets.tolist() == batch.targets[1:].tolist()
    assert first.task.name == "token_classification"


def test_words_and_texts_without_tags_count_without_targets(tagger):
    for columns in ({"tokens": WORDS}, {"text": [" ".join(row) for row in WORDS]}):
        encoded = encode(tagger, datasets.Dataset.from_dict(columns))
        batch = encoded.batch(np.arange(2), tagger.device)
        assert batch.targets is None
        assert not encoded.labeled
        expected = [label != -100 for label in ALIGNED[0]] if "tokens" in columns else [False, *[True] * 6, False]
        assert batch.predicted[0].tolist() == expected


def test_given_inputs_with_padding(tagger):
    columns = {"input_ids": [[5, 6, 7, 0], [8, 9, 0, 0]], "labels": [[-100, 1, 0, -100], [3, -100, -100, -100]]}
    columns["attention_mask"] = [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert labels(tagger, columns) == [[-100, 1, 0], [3, -100]]


def test_words_beyond_the_maximum_length_are_left_out():
    model = hp.PrunableModel(tiny_task("token_classification"), pieces(model_max_length=6))
    with pytest.warns(hp.HeadPruneWarning, match="1 of 2 examples have words without a token"):
        assert labels(model, {"tokens": WORDS, "ner_tags": NAMES}) == [[-100, 1, -100, 0, 0, -100], ALIGNED[1]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tokens": WORDS, "ner_tags": [["B-PER"], ["O"]]}, "example 0 has 4 words but 1 tags in the column ner_tags"),
        ({"tokens": WORDS, "ner_tags": [["B-ORG", "O", "O", "O"], ["O"]]}, "the tag 'B-ORG', which .* does not have"),
        ({"tokens": WORDS, "ner_tags": [[5, 0, 0, 0], [0]]}, "the tag 5, which .* does not have"),
        ({"tokens": WORDS, "ner_tags": [[-100] * 4, [0]]}, "example 0 has no token with a label"),
        ({"input_ids": [[5, 6]], "labels": [[0]]}, "example 0 has 2 tokens but 1 labels"),
        ({"title": ["a"]}, "expected tokens .lists of words. and ner_tags, text, or input_ids and labels"),
    ],
)
def test_other_data_is_refused(tagger, columns, message):
    with pytest.raises(hp.HeadPruneError, match=message):
        encode(tagger, datasets.Dataset.from_dict(columns))


def test_words_need_a_fast_tokenizer():
    model = hp.PrunableModel(tiny_task("token_classification"))
    with pytest.raises(hp.HeadPruneError, match="no fast tokenizer"):
        encode(model, datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": NAMES}))


def test_the_word_tokenizer_reads_texts():
    model = hp.PrunableModel(tiny_task("token_classification"), tiny_tokenizer())
    encoded = encode(model, datasets.Dataset.from_dict({"text": ["w5 w6"]}))
    assert encoded.inputs[0]["labels"] == [-100, 0, 0, -100]
