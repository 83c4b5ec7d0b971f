"""Model inputs of examples: tokens, targets, pixels, class numbers and invalid examples."""

import warnings

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers as t
from helpers.tiny_models import FAMILIES, SMALL, T5, examples_for, tiny, tiny_tokenizer
from PIL import Image

import headprune_core as hp
from headprune_core.data.encoding import encode

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


@pytest.mark.parametrize("form", ["torch", "numpy", "pandas", "arrow"])
def test_the_format_of_a_dataset_does_not_matter(form):
    examples = dataset(input_ids=[[5, 6], [7, 8, 9]], label=[0, 2]).with_format(form)
    encoded = encode(model_with_classes(NAMES), examples)
    assert encoded.labels == [0, 2]
    assert [row["input_ids"] for row in encoded.inputs] == [[5, 6], [7, 8, 9]]


def test_labels_may_be_in_a_column_labels():
    examples = dataset(input_ids=[[5, 6], [7, 8]], labels=["positive", "negative"])
    assert encode(model_with_classes(NAMES), examples).labels == [2, 0]


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (["a", "b"], "must be a Dataset, got list; load_examples makes one"),
        (pd.DataFrame({"text": ["a"]}), "got DataFrame; load_examples"),
        (datasets.DatasetDict({"train": dataset(text=["a"])}), r"got DatasetDict \(train\); choose one; load_examples"),
    ],
)
def test_what_is_no_dataset_is_refused(examples, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        encode(model_with_classes(NAMES), examples)


def test_a_language_model_needs_no_labels():
    assert encode(hp.PrunableModel(tiny("llama")), dataset(input_ids=[[5, 6]], label=["any"])).labels is None


def test_texts_and_pairs_become_tokens():
    names = ["input_ids", "token_type_ids", "attention_mask"]
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer(model_input_names=names))
    encoded = encode(model, dataset(text=["w7 w8", "w9 what"]))
    assert [row["input_ids"] for row in encoded.inputs] == [[2, 7, 8, 3], [2, 9, 1, 3]]
    pair = encode(model, dataset(text=["w7"], text_pair=["w8 w9"])).inputs[0]
    assert (pair["input_ids"], pair["token_type_ids"]) == ([2, 7, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1])


def test_a_longer_text_is_truncated_with_a_warning(short):
    examples = dataset(text=["w5 " * 30, "w6", "w7 " * 6])
    with pytest.warns(hp.HeadPruneWarning, match=r"1 of 3 examples exceed .* of 8 tokens \(longest: 32\)"):
        encoded = encode(short, examples)
    assert [row["input_ids"] for row in encoded.inputs] == [[2, *[5] * 6, 3], [2, 6, 3], [2, *[7] * 6, 3]]
    assert (encoded.truncated, encoded.longest) == (1, 32)


def test_a_model_without_maximum_length_truncates_nothing():
    model = tiny("llama")
    model.config.max_position_embeddings = 0
    encoded = encode(hp.PrunableModel(model, tiny_tokenizer()), dataset(text=["w5 " * 3000]))
    assert (encoded.truncated, encoded.longest) == (0, 3002)


def test_given_tokens_that_are_too_long_are_refused(short):
    with pytest.raises(hp.HeadPruneError, match="an example has 9 tokens, but the model's maximum is 8"):
        encode(short, dataset(input_ids=[[5], [5] * 9]))


@pytest.mark.parametrize("token", [-1, 90])
def test_tokens_outside_the_vocabulary_are_refused(token):
    with pytest.raises(hp.HeadPruneError, match=r"example 1 has a token outside the model's vocabulary \(IDs 0 to 89\)"):
        encode(hp.PrunableModel(tiny("bert")), dataset(input_ids=[[5], [6, token]]))


def test_rows_are_padded_on_the_right():
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the configuration of LlamaForSequenceClassification has no padding token")
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


def test_a_language_model_may_have_no_padding_token():
    model = t.LlamaForCausalLM(t.LlamaConfig(**SMALL, num_key_value_heads=2, pad_token_id=-1))
    (batch,) = encode(hp.PrunableModel(model), dataset(input_ids=[[5, 6, 7], [8, 9]])).batches(2, torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]


@pytest.mark.parametrize(
    ("family", "columns", "words"),
    [
        ("bert", {"text": ["w5"]}, "has no tokenizer; pass one, or a Dataset with input_ids"),
        ("bert", {"words": ["w5"]}, "the dataset has the columns words; expected a column text or input_ids"),
        ("bert", {"input_ids": []}, "the dataset has no examples"),
        ("bert", {"input_ids": [[5], []]}, "example 1 has 0 real tokens, but needs at least 1"),
        ("llama", {"input_ids": [[5, 6], [7]]}, "example 1 has 1 real token, but needs at least 2"),
    ],
)
def test_unusable_examples_are_refused(family, columns, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        encode(hp.PrunableModel(tiny(family)), dataset(**columns))


def test_texts_that_fit_give_no_warning(short):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode(short, dataset(text=["w5 " * 6])).truncated == 0


# Given model inputs


def ready(family, **columns):
    return encode(hp.PrunableModel(tiny(family)), dataset(**columns)).inputs


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("family", ["bert", "llama", "bart-classifier"])
def test_padding_in_given_inputs_is_removed(family, side):
    """Padding on either side is removed, and the scores are those of the unpadded text."""
    model, short = hp.PrunableModel(tiny(family)), examples_for(family, count=4)
    ids = short["input_ids"]
    left, right = (7 if side in (other, "both") else 0 for other in ("left", "right"))
    padded = short.remove_columns("input_ids")
    padded = padded.add_column("input_ids", [[9] * left + row + [9] * right for row in ids])
    padded = padded.add_column("attention_mask", [[0] * left + [1] * len(row) + [0] * right for row in ids])
    assert [row["input_ids"] for row in encode(model, padded).inputs] == ids
    for metric, values in hp.score_heads(model, short).per_example.items():
        np.testing.assert_allclose(hp.score_heads(model, padded).per_example[metric], values, rtol=1e-5, atol=1e-7)


def test_token_types_lose_the_padding_with_their_tokens():
    rows = ready("bert", input_ids=[[0, 5, 6, 0]], token_type_ids=[[0, 1, 0, 1]], attention_mask=[[0, 1, 1, 0]])
    assert rows == [{"input_ids": [5, 6], "token_type_ids": [1, 0]}]


def test_targets_keep_their_length_when_padding_is_removed():
    rows = ready("t5", input_ids=[[0, 5, 6]], target_ids=[[7, 8, 9, 10]], attention_mask=[[0, 1, 1]])
    assert rows == [{"input_ids": [5, 6], "target_ids": [7, 8, 9, 10], "decoder_input_ids": [0, 7, 8, 9]}]


@pytest.mark.parametrize(("family", "fewest"), [("bert", 1), ("llama", 2), ("t5-classifier", 1)])
def test_an_example_without_a_real_token_is_named(family, fewest):
    with pytest.raises(hp.HeadPruneError, match=f"example 1 has 0 real tokens, but needs at least {fewest}"):
        ready(family, input_ids=[[5, 6], [7, 8], [9, 9]], attention_mask=[[1, 1], [0, 0], [1, 1]])


# Targets


@pytest.fixture(scope="module")
def translator():
    """T5 with a tokenizer; targets start with [CLS]."""
    config = t.T5Config(**T5 | {"decoder_start_token_id": 2, "pad_token_id": 0, "eos_token_id": 3})
    torch.manual_seed(0)
    return hp.PrunableModel(t.T5ForConditionalGeneration(config), tiny_tokenizer())


def own_loss(model, text, target):
    """The library's own loss, which derives the decoder inputs from the labels."""
    labels = torch.tensor([target])
    with torch.no_grad():
        return model.model(input_ids=torch.tensor([text]), labels=labels).loss.item()


def losses(model, examples):
    whole = np.ones((1, *model.grid.shape), bool)
    return [hp.evaluate_masks(model, examples.select([i]), whole).loss[0] for i in range(len(examples))]


TEXTS, WRITTEN = [[2, 5, 6, 7, 3], [2, 8, 3]], [[2, 20, 3], [2, 21, 22, 23, 3]]


@pytest.mark.parametrize("column", ["target", "target_ids", "label", "class"])
def test_a_target_is_a_text_or_tokens_or_a_label_name(translator, column):
    """In each form, the loss equals the library's own for that text and target."""
    texts = {"text": ["w5 w6 w7", "w8"]} if column != "target_ids" else {"input_ids": TEXTS}
    names = ["w20", "w21 w22 w23"]
    target = {"target": names, "target_ids": WRITTEN, "label": names, "class": [0, 1]}[column]
    examples = dataset(**texts, **{"label" if column == "class" else column: target})
    if column == "class":
        examples = examples.cast_column("label", datasets.ClassLabel(names=names))
    assert [row["target_ids"] for row in encode(translator, examples).inputs] == WRITTEN
    expected = [own_loss(translator, text, target) for text, target in zip(TEXTS, WRITTEN, strict=True)]
    assert losses(translator, examples) == pytest.approx(expected, rel=1e-5)
    together = hp.evaluate_masks(translator, examples, np.ones((1, *translator.grid.shape), bool)).loss[0]
    assert together == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "mt5", "bart"])
def test_the_loss_of_a_target_is_the_librarys_own(family):
    """Random targets of different lengths in one batch; the decoder inputs equal the library's."""
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    expected = [own_loss(model, example["input_ids"], example["target_ids"]) for example in examples]
    together = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool)).loss[0]
    assert together == pytest.approx(np.mean(expected), rel=1e-5)
    assert losses(model, examples) == pytest.approx(expected, rel=1e-5)


def test_the_target_column_has_priority_over_the_label(translator):
    rows = encode(translator, dataset(text=["w5"], target=["w20"], label=["w30"])).inputs
    assert [row["target_ids"] for row in rows] == [[2, 20, 3]]


def test_a_translation_model_without_targets_is_refused(translator):
    with pytest.raises(hp.HeadPruneError, match=r"is a sequence-to-sequence model, .* add a target column"):
        encode(translator, dataset(text=["w5"]))
    with pytest.raises(
        hp.HeadPruneError, match="is a sequence-to-sequence model, but its inputs lack target_ids; add that column"
    ):
        encode(translator, dataset(input_ids=[[5]]))


def test_an_empty_target_is_named(translator):
    with pytest.raises(hp.HeadPruneError, match="example 1 has 0 target tokens, but needs at least 1"):
        encode(translator, dataset(input_ids=[[5], [6]], target_ids=[[7], []]))


@pytest.mark.parametrize("token", [-1, 90])
def test_target_tokens_outside_the_vocabulary_are_refused(translator, token):
    with pytest.raises(hp.HeadPruneError, match="example 1 has a token outside the model's vocabulary"):
        encode(translator, dataset(input_ids=[[5], [6]], target_ids=[[7], [8, token]]))


def test_an_encoder_decoder_classifier_needs_no_target():
    rows = ready("t5-classifier", input_ids=[[5, 1]], target_ids=[[7]], label=[0])
    assert rows == [{"input_ids": [5, 1]}]


# Images


@pytest.fixture(scope="module")
def sighted():
    return hp.PrunableModel(tiny("vit"))


@pytest.mark.parametrize("family", ["vit", "deit"])
def test_given_pixels_are_used_unchanged(family):
    examples = examples_for(family)
    encoded = encode(hp.PrunableModel(tiny(family)), examples)
    (batch,) = encoded.batches(9, torch.device("cpu"))
    expected = torch.tensor(examples["pixel_values"])[batch.index]
    assert torch.equal(batch.inputs["pixel_values"], expected)
    assert batch.labels.tolist() == [examples["label"][i] for i in batch.index]
    assert set(batch.inputs) == {"pixel_values"}


def test_images_go_through_the_image_processor():
    processor = t.ViTImageProcessor(size={"height": 8, "width": 8}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    examples = datasets.Dataset.from_dict({"image": [Image.fromarray(p) for p in pixels], "label": [0, 2]}, features)
    rows = encode(hp.PrunableModel(tiny("vit"), processor), examples).inputs
    for row, image in zip(rows, pixels, strict=True):
        np.testing.assert_allclose(row["pixel_values"], (image.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-5)


def test_images_without_a_processor_are_refused(sighted):
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    features = datasets.Features({"image": datasets.Image()})
    with pytest.raises(hp.HeadPruneError, match="has no image processor; pass one, or a Dataset with pixel_values"):
        encode(sighted, datasets.Dataset.from_dict({"image": [image]}, features))


@pytest.mark.parametrize("shape", [(3, 8, 9), (1, 8, 8), (8, 8, 3), (8, 8)])
def test_images_of_another_shape_are_refused(sighted, shape):
    good, bad = np.zeros((3, 8, 8)).tolist(), np.zeros(shape).tolist()
    same = len(shape) == 3
    examples = dataset(pixel_values=[good, bad] if same else [bad])
    words = rf"shape of image {int(same)} must be \(3, 8, 8\), got \({', '.join(map(str, shape))}\)"
    with pytest.raises(hp.HeadPruneError, match=words):
        encode(sighted, examples)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_non_finite_pixels_are_refused(sighted, number):
    pixels = np.zeros((3, 3, 8, 8))
    pixels[1, 2, 3, 4] = number
    with pytest.raises(hp.HeadPruneError, match="image 1 contains NaN or infinite pixel values; all must be finite"):
        encode(sighted, dataset(pixel_values=pixels.tolist()))


@pytest.mark.parametrize("columns", [{"text": ["w5"]}, {"input_ids": [[5]]}])
def test_texts_for_a_vision_model_are_refused(sighted, columns):
    with pytest.raises(
        hp.HeadPruneError, match=f"the dataset has the columns {next(iter(columns))}; expected a column image or pixel_"
    ):
        encode(sighted, dataset(**columns))


# Every family


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_given_inputs_of_every_family_are_unchanged(family):
    examples = examples_for(family)
    encoded = encode(hp.PrunableModel(tiny(family)), examples)
    assert len(encoded) == len(examples)
    for row, example in zip(encoded.inputs, examples, strict=True):
        for name in set(row) & set(example):
            np.testing.assert_array_equal(
                row[name], np.asarray(example[name], np.float32) if "pix" in name else example[name]
            )
    for batch in encoded.batches(4, torch.device("cpu")):
        for n, index in enumerate(batch.index):
            if batch.real is not None:
                assert batch.inputs["input_ids"][n][batch.real[n]].tolist() == examples[int(index)]["input_ids"]
                assert torch.equal(batch.real[n], batch.inputs["attention_mask"][n].bool())
            if "target_ids" in examples.column_names:
                assert batch.targets[n][batch.predicted[n]].tolist() == examples[int(index)]["target_ids"]
