"""PEFT adapters: a folder is merged into its base model, or the way out is named."""

import importlib.util
import json
import shutil

import numpy as np
import peft
import pytest
import torch
import transformers as t
from helpers.tiny_models import GROUPED, SMALL, random_examples, randomized, tiny, tiny_tokenizer
from safetensors.torch import load_file

import headprune_core as hp

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft uses the old name
WAY_OUT = r"merge_and_unload\(\)\.save_pretrained"


def load(folder):
    return hp.PrunableModel.from_pretrained(folder, device="cpu")


def results(model):
    evaluation = hp.evaluate_masks(model, random_examples(), np.ones((1, *model.grid.shape), bool))
    return evaluation.losses if evaluation.logits is None else evaluation.logits


def adapted(base, folder, task, targets, **options):
    """Train nothing, but give every matrix of the adapter other numbers; return the merged model."""
    model = peft.get_peft_model(base, peft.LoraConfig(task_type=task, r=2, target_modules=targets, **options))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return model.merge_and_unload()


def edit(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def encoder(tmp_path):
    """A base model without a classifier, as most are."""
    folder = tmp_path / "base"
    tiny("bert").bert.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def classifier(encoder, tmp_path):
    """An adapter of that base with a classifier of three classes, and the merged model."""
    base = t.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
    return tmp_path / "adapter", adapted(base, tmp_path / "adapter", "SEQ_CLS", ["query", "value"])


@pytest.mark.slow
def test_a_classifier_is_merged_into_an_encoder(classifier):
    folder, merged = classifier
    model = load(folder)
    assert model.name == str(folder)
    assert model.tokenizer("w7")["input_ids"] == [2, 7, 3]  # of the base model
    np.testing.assert_allclose(results(model), results(hp.PrunableModel(merged)), rtol=1e-4, atol=1e-5)
    assert model.grid.shape == (3, 4)
    mask = np.random.default_rng(0).random((3, 4)) > 0.4
    pruned = hp.prune_heads(model, mask)
    pruned.save_pretrained(folder.with_name("pruned"))
    np.testing.assert_array_equal(results(load(folder.with_name("pruned"))), results(pruned))


def test_the_tokenizer_of_the_adapter_has_priority(classifier):
    folder, _ = classifier
    tiny_tokenizer(model_max_length=17).save_pretrained(folder)
    assert load(folder).max_tokens == 17


@pytest.mark.parametrize("kind", ["CAUSAL_LM", None])
def test_a_language_model_is_merged(kind, tmp_path):
    randomized(lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED))).save_pretrained(tmp_path / "base")
    base = t.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    merged = adapted(base, tmp_path / "adapter", "CAUSAL_LM", ["q_proj", "v_proj"])
    edit(tmp_path / "adapter", task_type=kind)  # without a task, the base model's own class is loaded
    np.testing.assert_allclose(results(load(tmp_path / "adapter")), results(hp.PrunableModel(merged)), rtol=1e-4)


def test_a_base_model_that_is_not_there_is_named_with_the_way_out(classifier, encoder):
    folder, _ = classifier
    shutil.rmtree(encoder)
    with pytest.raises(hp.HeadPruneError, match=f"a PEFT adapter for {encoder}, which cannot be loaded .*{WAY_OUT}"):
        load(folder)
    edit(folder, base_model_name_or_path="user/base")
    with pytest.raises(hp.HeadPruneError, match=f"adapter for user/base, which .*could not reach the Hub.*{WAY_OUT}"):
        load(folder)


def test_weights_that_neither_base_nor_adapter_has_are_named(classifier, encoder):
    folder, _ = classifier
    weights = {n: w for n, w in load_file(encoder / "model.safetensors").items() if "pooler" not in n}
    (encoder / "model.safetensors").unlink()
    t.modeling_utils.safe_save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(hp.HeadPruneError, match=r"is missing weights for 2 parameters \(bert.pooler.dense.bias"):
        load(folder)


def pickled(folder):
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


BROKEN = {
    "pickled": (pickled, "contains no adapter_model.safetensors; only safetensors weights are loaded"),
    "no base": (lambda f: edit(f, base_model_name_or_path=None), f"names no base model; merge the adapter .*{WAY_OUT}"),
    "another task": (lambda f: edit(f, task_type="QUESTION_ANS"), "for the task QUESTION_ANS; expected one of SEQ_CLS"),
    "imports": (
        lambda f: edit(f, megatron_config={"a": 1}, megatron_core="os"),
        "requires Megatron, which is not supported",
    ),
    "another size": (lambda f: edit(f, r=3), "could not be loaded as a Transformers model .*size mismatch"),
    "other layers": (lambda f: edit(f, target_modules=["key"]), "does not match its base model"),
    "beside a model": (
        lambda f: tiny("bert").save_pretrained(f),
        "contains a model and an adapter; move one of them to another folder",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_an_adapter_that_cannot_be_merged_is_refused(classifier, breaking, words):
    folder, _ = classifier
    breaking(folder)
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        load(folder)
    assert str(folder) in str(refusal.value)


def test_prompts_that_are_no_weights_cannot_be_merged(encoder, tmp_path):
    base = t.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
    prompts = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    peft.get_peft_model(base, prompts).save_pretrained(tmp_path / "adapter")
    with pytest.raises(hp.HeadPruneError, match=r"adapter .* of type PROMPT_TUNING cannot be merged into the weights"):
        load(tmp_path / "adapter")


def test_without_peft_the_line_that_installs_it_is_named(classifier, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "peft" else find(name, *more))
    with pytest.raises(hp.HeadPruneError, match="contains a PEFT adapter, but peft is not installed; run: pip install peft"):
        load(classifier[0])


@pytest.mark.parametrize("inner", [False, True])
def test_adapter_layers_in_memory_are_refused_with_the_way_out(inner):
    model = peft.get_peft_model(tiny("bert"), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    with pytest.raises(hp.HeadPruneError, match=r"has the layers of a PEFT adapter .* pass model.merge_and_unload\(\)"):
        hp.PrunableModel(model.base_model.model if inner else model)
    assert hp.PrunableModel(model.merge_and_unload()).grid.shape == (3, 4)


def test_other_objects_are_no_models():
    for model in (torch.nn.Linear(2, 2), "bert", t.BertConfig(**SMALL)):
        with pytest.raises(hp.HeadPruneError, match=f"must be a Transformers model, got {type(model).__name__}"):
            hp.PrunableModel(model)
