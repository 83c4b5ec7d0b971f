"""The census on a fixed sample of architectures: exact, exact when masked, or refused with the reason."""

import pytest
import torch
import transformers
from helpers.tiny_models import thorough, tiny

import headprune_core as hp
from benchmarks.census.__main__ import table
from benchmarks.census.checks import Finding, check_architecture
from benchmarks.census.reference import Reference
from benchmarks.census.tiny import architectures, random_inputs, tiny_config, tiny_model
from headprune_core.model.formats.tasks import LOADERS, task_loader

SAMPLE = {
    "BertForSequenceClassification": "exact",
    "DogeForSequenceClassification": "masking only",  # whose masks depend on the text
    "DeiTForImageClassificationWithTeacher": "exact",
    "GptOssForCausalLM": "exact",
    "PhimoeForCausalLM": "exact",  # whose routers are linear layers
    "ApertusForCausalLM": "exact",  # whose constructor reads the dtype
    "Olmo2ForCausalLM": "masking only",
    "UMT5ForConditionalGeneration": "exact",  # which has a position bias in every layer
    "DeepseekV3ForCausalLM": "refused",
    "BltForCausalLM": "refused",  # which computes attention over patches of bytes
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [pytest.param(name, marks=[thorough] if name.startswith("Blt") else []) for name in SAMPLE])
def test_a_sample_of_the_census(name):
    task = {own: task for task, own in architectures()}[name]
    finding = check_architecture(task, name)
    print(finding)
    assert finding.result == SAMPLE[name], finding.reason
    assert (finding.reason == "") == (finding.result == "exact")


def test_every_task_that_can_be_loaded_is_in_the_census():
    found = architectures()
    assert {task for task, _ in found} == set(LOADERS)
    assert len(found) == len({name for _, name in found})
    for task, name in found[::40]:
        assert task_loader(name) is LOADERS[task]
        assert hasattr(transformers, name)


def test_every_size_of_a_configuration_is_small():
    config = tiny_config(transformers.LlamaConfig)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.vocab_size) == (32, 2, 4, 120)
    config = tiny_config(transformers.Gemma3Config).text_config
    assert len(config.layer_types) == config.num_hidden_layers == 2
    assert sum(p.numel() for p in tiny_model("CAUSAL_LM", "MixtralForCausalLM").parameters()) < 100_000


def test_the_reference_notices_features_of_another_head():
    body = tiny("bert")
    wrapped = hp.PrunableModel(tiny("bert"))
    example = {"input_ids": [5, 6, 7], "label": 0}
    reference = Reference(body, wrapped)
    assert reference.check_features(example) is None
    module, features = reference.rows[1]["k"]
    reference.rows[1]["k"] = module, features[::-1]
    assert "weights of k head" in reference.check_features(example)


@pytest.mark.slow
def test_a_wrong_score_is_a_fault(monkeypatch):
    scores = hp.score_heads

    def wrong(model, examples, **options):
        result = scores(model, examples, **options)
        result.per_example["ae"][:, 0, 0] *= 1.01
        return result

    monkeypatch.setattr(hp, "score_heads", wrong)
    finding = check_architecture("SEQUENCE_CLASSIFICATION", "BertForSequenceClassification")
    assert finding.result == "fault"
    assert finding.reason.startswith("ae at batch size 1 differ by")


def test_the_table_has_one_row_for_each_architecture():
    findings = [
        Finding("CAUSAL_LM", "AForCausalLM", "exact", "", "padded", 1.0),
        Finding("CAUSAL_LM", "BForCausalLM", "refused", "BForCausalLM has | no heads", "", 1.0),
    ]
    text = table(findings)
    assert "**2 architectures: 1 exact, 1 refused.**" in text
    assert "| AForCausalLM | exact | padded |  |" in text
    assert "| BForCausalLM | refused |  | it has \\| no heads |" in text


def test_random_inputs_are_within_the_vocabulary():
    model = tiny_model("SEQ_TO_SEQ_CAUSAL_LM", "T5ForConditionalGeneration")
    examples = random_inputs(model, "SEQ_TO_SEQ_CAUSAL_LM")
    top = max(max(ids) for column in ("input_ids", "target_ids") for ids in examples[column])
    assert top < model.get_input_embeddings().num_embeddings
    assert torch.isfinite(model(torch.tensor([[5]]), decoder_input_ids=torch.tensor([[5]])).logits).all()
