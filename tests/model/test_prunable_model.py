"""Loading and saving: a saved model loads unchanged, and other input causes a one-sentence error."""

import json
import shutil
from functools import partial

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import FAMILIES, SMALL, examples_for, random_examples, tiny, tiny_tokenizer
from safetensors.torch import load_file, save_file

import headprune_core as hp

load = partial(hp.PrunableModel.from_pretrained, device="cpu")


def logits(model):
    return hp.evaluate_masks(model, random_examples(), np.ones((1, *model.grid.shape), bool)).logits


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(folder, keep):
    file = folder / "model.safetensors"
    save_file({name: w for name, w in load_file(file).items() if keep(name)}, file, metadata={"format": "pt"})


def pickle_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def pickle_weights_beside_an_adapter(folder):
    pickle_weights(folder)
    save_file({"adapter": torch.zeros(1)}, folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    hp.PrunableModel(tiny("bert"), tiny_tokenizer(model_max_length=20)).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to damage; its path contains a number that also means "not found"."""
    return shutil.copytree(saved, tmp_path / "offline-404")


def test_a_saved_model_loads_unchanged(saved):
    back = load(saved)
    np.testing.assert_array_equal(logits(back), logits(hp.PrunableModel(tiny("bert"))))
    assert back.tokenizer("w7 w8")["input_ids"] == [2, 7, 8, 3]
    assert back.name == str(saved)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_unchanged(family, tmp_path):
    """Task, heads and predictions are the same; there is no tokenizer because none was saved."""
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=3)
    model.save_pretrained(tmp_path)
    back = load(tmp_path)
    assert back.tokenizer is None
    assert back.task == model.task
    assert (back.grid.row_names, back.grid.row_labels) == (model.grid.row_names, model.grid.row_labels)
    masks = np.random.default_rng(0).random((2, *model.grid.shape)) < 0.6
    for name in ("loss", "correlation"):
        there, here = (getattr(hp.evaluate_masks(some, examples, masks), name) for some in (back, model))
        # not bitwise identical: the configuration does not store which kernel a mixture of experts used
        np.testing.assert_allclose(there, here, rtol=1e-6)


def test_a_translation_model_loads_with_its_tokenizer(tmp_path):
    hp.PrunableModel(tiny("t5"), tiny_tokenizer()).save_pretrained(tmp_path)
    assert load(tmp_path).tokenizer("w7 w8")["input_ids"] == [2, 7, 8, 3]


def test_a_vision_model_loads_with_its_image_processor(tmp_path):
    processor = t.ViTImageProcessor(size={"height": 8, "width": 8})
    hp.PrunableModel(tiny("vit"), processor).save_pretrained(tmp_path)
    back = load(tmp_path).tokenizer
    assert back is not None
    image = np.random.default_rng(0).integers(0, 256, (20, 12, 3)).astype(np.uint8)
    there, here = (some(images=[image], return_tensors="np")["pixel_values"] for some in (back, processor))
    np.testing.assert_allclose(there, here)


def test_a_vision_model_has_no_maximum_length():
    processor = t.ViTImageProcessor(size={"height": 8, "width": 8})
    assert hp.PrunableModel(tiny("vit")).max_tokens is None
    assert hp.PrunableModel(tiny("vit"), processor).max_tokens is None


def test_a_model_with_tied_embeddings_is_complete(tmp_path):
    config = t.LlamaConfig(**SMALL, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
    hp.PrunableModel(t.LlamaForCausalLM(config)).save_pretrained(tmp_path)
    assert load(tmp_path).task == "language"


def test_a_loaded_model_is_frozen_and_in_eval_mode(saved):
    for model in (load(saved).model, hp.PrunableModel(tiny("bert").train()).model):
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())


def test_the_tilde_is_the_home_folder(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load("~/model").grid.shape == (3, 4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(saved, dtype):
    assert load(saved, dtype=dtype).model.dtype == getattr(torch, dtype)


def test_an_unknown_dtype_is_refused(saved):
    with pytest.raises(hp.HeadPruneError, match="dtype must be one of float32, bfloat16, float16, got 'int8'"):
        load(saved, dtype="int8")


def test_device(saved):
    assert load(saved, device="cpu").device.type == "cpu"
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert load(saved, device="auto").device.type == best


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_missing_device_is_refused(saved, device):
    with pytest.raises(hp.HeadPruneError, match=f"device '{device}' is not available"):
        load(saved, device=device)


BROKEN = {
    "no model": (lambda f: (f / "config.json").unlink(), "contains no config.json"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "contains no safetensors file; only safetensors weights are loaded",
    ),
    "pickled weights": (pickle_weights, "contains pytorch_model.bin but no safetensors file"),
    "pickled weights beside an adapter": (pickle_weights_beside_an_adapter, "no safetensors file; only safetensors weights"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "is not a valid safetensors file .*header",
    ),
    "weights of another file": (
        lambda f: (f / "model.safetensors").write_bytes(b"hello"),
        "is not a valid safetensors file .*header",
    ),
    "broken config": (lambda f: (f / "config.json").write_text("{not json"), "is not valid JSON"),
    "empty config": (
        lambda f: (f / "config.json").write_text("{}"),
        "has the model_type 'None', which this version of Transformers",
    ),
    "unknown family": (
        lambda f: edit_config(f, model_type="nosuch"),
        "has the model_type 'nosuch', which this version of Transformers",
    ),
    "code of its own": (
        lambda f: edit_config(f, model_type="nosuch", auto_map={"AutoConfig": "a.B"}),
        "requires trust_remote_code, which HeadPrune does not support",
    ),
    "no architecture": (lambda f: edit_config(f, architectures=None), "model, got none"),
    "another size": (lambda f: edit_config(f, hidden_size=48), "is missing weights for .* parameters"),
    "a layer too many": (lambda f: edit_config(f, num_hidden_layers=4), r"is missing weights for 16 .*layer\.3"),
    "no classifier": (
        lambda f: edit_weights(f, lambda name: "classifier" not in name),
        "is missing weights for 2 .*classifier",
    ),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "could not be loaded"),
}


@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_refused_in_one_sentence(folder, breaking, words):
    breaking(folder)
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        load(folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (t.BertModel, "must be a model for text, token or image classification, .* got BertModel"),
        (t.BertForMaskedLM, "is a masked language model, which HeadPrune does not support"),
        (t.BertForQuestionAnswering, "is an extractive question answering model, which HeadPrune does not support"),
    ],
)
def test_a_model_for_another_task_is_refused(kind, words, tmp_path):
    kind(t.BertConfig(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(hp.HeadPruneError, match=words):
        load(tmp_path)


@pytest.mark.parametrize("source", ["user/model", "bert-base-uncased"])
@pytest.mark.parametrize("revision", [None, "v2"])
def test_a_hub_model_without_a_network_is_refused(source, revision):
    with pytest.raises(hp.HeadPruneError, match=f"could not reach the Hub to load {source}; check the network"):
        load(source, revision=revision)


@pytest.mark.parametrize("source", ["", "two words", "a/b/c", "https://host/model", "./nowhere", "/nowhere", "~/nowhere"])
def test_a_source_that_is_neither_folder_nor_hub_id_is_refused(source):
    with pytest.raises(hp.HeadPruneError, match=f"folder not found: '{source}'; use 'embedded', a Hub model ID"):
        load(source)


def test_the_maximum_length_depends_on_positions_and_tokenizer():
    assert hp.PrunableModel(tiny("bert")).max_tokens == 512
    assert hp.PrunableModel(tiny("bert"), tiny_tokenizer()).max_tokens == 512
    assert hp.PrunableModel(tiny("bert"), tiny_tokenizer(model_max_length=20)).max_tokens == 20
    # RoBERTa numbers positions from the padding index, 1, on: of 70 the first two are never used
    assert hp.PrunableModel(tiny("roberta")).max_tokens == 68
    assert hp.PrunableModel(tiny("llama")).max_tokens == tiny("llama").config.max_position_embeddings
    assert hp.PrunableModel(tiny("gpt2")).max_tokens == 70
    assert hp.PrunableModel(tiny("bart")).max_tokens == 70
    # T5 has relative positions, which are unlimited
    assert hp.PrunableModel(tiny("t5")).max_tokens is None


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "bart", "bart-classifier"])
def test_the_longest_input_fits_and_a_longer_one_does_not(family):
    model = hp.PrunableModel(tiny(family))
    longest = model.max_tokens
    end = 2 if family == "bart-classifier" else 7  # its classifier needs an end-of-sequence token
    columns = {"label": [0], "target_ids": [[5, 6]]}

    def ask(tokens):
        examples = datasets.Dataset.from_dict({"input_ids": [[5] * (tokens - 1) + [end]]} | columns)
        return hp.score_heads(model, examples, metrics=("ae",)).ae

    assert np.isfinite(ask(longest)).all()
    with pytest.raises(hp.HeadPruneError, match=f"an example has {longest + 1} tokens, but the model's maximum is"):
        ask(longest + 1)


def test_a_model_may_have_no_maximum_length():
    model = tiny("llama")
    model.config.max_position_embeddings = 0
    assert hp.PrunableModel(model, tiny_tokenizer()).max_tokens is None


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_labels_are_those_of_a_classifier(family):
    model = tiny(family)
    model.config.id2label = {0: "bad", 1: "fair", 2: "good"}
    assert hp.PrunableModel(model).labels == (("bad", "fair", "good") if family == "bert" else ())
