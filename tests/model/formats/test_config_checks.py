"""Configurations and indices from strangers: loaded, or refused in a sentence before anything is built."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import SMALL, random_examples, tiny, tiny_tokenizer
from safetensors.torch import load_file, save_file

import headprune_core as hp

load = partial(hp.PrunableModel.from_pretrained, device="cpu")


def logits(model):
    return hp.evaluate_masks(model, random_examples(), np.ones((1, *model.grid.shape), bool)).logits


def edit(folder, name="config.json", **changes):
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    hp.PrunableModel(tiny("bert"), tiny_tokenizer()).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 100_000},
        {"n_layers": 1e9},
        {"encoder_layers": 5000},
        {"text_config": {"num_hidden_layers": 10**9}},
        {"depths": [2, 10**9]},
        {"model_type": "qwen2", "num_hidden_layers": 10**9},  # whose configuration makes a list of all layers
    ],
)
def test_more_layers_than_any_model_has_are_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(hp.HeadPruneError, match=r"config.json of .* has \w+ = [\d,.]+, but HeadPrune builds at most 1,000"):
        load(folder)


def test_a_configuration_of_many_megabytes_is_refused(folder, monkeypatch):
    monkeypatch.setattr("headprune_core.model.formats.safe_json.read_json.__defaults__", (100,))
    with pytest.raises(hp.HeadPruneError, match=r"config.json has .* bytes, but HeadPrune reads at most 100"):
        load(folder)


GAPS = [{"0": "bad", "2": "good", "3": "x"}, {"1": "bad", "2": "fair", "3": "good"}, {"a": "bad", "b": "fair", "c": "good"}]


@pytest.mark.parametrize("classes", GAPS)
def test_classes_that_are_numbered_with_gaps_are_refused(folder, classes):
    edit(folder, id2label=classes)
    numbers = ", ".join(classes)
    with pytest.raises(hp.HeadPruneError, match=f"numbers its classes {numbers} in id2label; expected 0 to"):
        load(folder)


@pytest.mark.parametrize("classes", [{0: "bad", 2: "good", 5: "x"}, {0: "bad", 1: "good"}])
def test_classes_of_a_model_in_memory_are_those_of_its_outputs(classes):
    model = tiny("bert")
    model.config.id2label = classes
    with pytest.raises(hp.HeadPruneError, match="expected 0 to 2, one for each output: correct id2label"):
        hp.PrunableModel(model)


@pytest.mark.parametrize("named", ["p.bin", "../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "p.pt"])
def test_an_index_that_names_other_files_is_refused(folder, named):
    names = dict.fromkeys(load_file(folder / "model.safetensors"), named)
    torch.save(load_file(folder / "model.safetensors"), folder / "p.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(hp.HeadPruneError, match="only safetensors files in the same folder are loaded"):
        load(folder)


def test_an_index_of_files_in_the_folder_is_followed(folder):
    weights = load_file(folder / "model.safetensors")
    names = dict.fromkeys(weights, "part.safetensors")
    save_file(weights, folder / "part.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    np.testing.assert_array_equal(logits(load(folder)), logits(hp.PrunableModel(tiny("bert"))))


def test_weights_in_another_format_are_not_read(folder):
    edit(folder, transformers_weights="adapter_model.bin")
    with pytest.raises(
        hp.HeadPruneError, match=r"names the weights 'adapter_model\.bin'; only safetensors weights are loaded"
    ):
        load(folder)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("named", ["kernels-community/flash-attn", "someone/kernel", "flash_attention_2"])
def test_an_attention_function_that_a_configuration_names_is_not_followed(folder, key, named):
    edit(folder, **{key: named})
    np.testing.assert_array_equal(logits(load(folder)), logits(hp.PrunableModel(tiny("bert"))))


@pytest.mark.parametrize("option", [{"output_attentions": True}, {"return_dict": False}, {"output_hidden_states": True}])
def test_options_that_add_outputs_change_nothing(folder, option):
    expected = logits(hp.PrunableModel(tiny("bert")))
    edit(folder, **option)
    model = load(folder)
    np.testing.assert_array_equal(logits(model), expected)
    model.save_pretrained(folder.parent / "saved")
    np.testing.assert_array_equal(logits(load(folder.parent / "saved")), expected)
    body = t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=3, **option))
    body.load_state_dict(tiny("bert").state_dict())
    np.testing.assert_array_equal(logits(hp.PrunableModel(body)), expected)


@pytest.mark.parametrize("length", [-5, 0, "x", True])
def test_a_maximum_length_that_is_no_length_is_refused(folder, length):
    edit(folder, "tokenizer_config.json", model_max_length=length)
    with pytest.raises(
        hp.HeadPruneError, match=r"model_max_length of the tokenizer must be a number of at least 1|could not be"
    ):
        load(folder).max_tokens  # noqa: B018


def test_a_maximum_length_may_be_a_float(folder):
    edit(folder, "tokenizer_config.json", model_max_length=20.0)
    assert load(folder).max_tokens == 20
