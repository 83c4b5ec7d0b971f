"""Where the heads are, for every family; and which models are refused, with what words."""

import numpy as np
import pytest
import torch
import transformers as t
from tiny import FAMILIES, SMALL, tiny

import headprune_core as hp

MASKED = {**SMALL, "num_hidden_layers": 1}


def weights_of_heads(model, family):
    """Numbers in all q, k and v projections, biases included, and in the output projections without theirs."""
    q_k_v = [p for row in FAMILIES[family].projections(model) for part in row[:3] for p in part.parameters()]
    return sum(p.numel() for p in q_k_v) + sum(out.weight.numel() for *_, out in FAMILIES[family].projections(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_grid_of_every_family(family):
    model = tiny(family)
    grid = hp.PrunableModel(model).grid
    rows = 1 if family == "albert" else 3
    assert grid.shape == (rows, 4)
    assert grid.layers == ((0, 0, 0) if family == "albert" else (0, 1, 2))
    for row, (q, k, v, out) in zip(grid.rows, FAMILIES[family].projections(model), strict=True):
        assert (row.q, row.k, row.v, row.out) == (q, k, v, out)
        assert model.get_submodule(row.name) is row.module


@pytest.mark.parametrize("family", FAMILIES)
def test_task_of_every_family(family):
    assert hp.PrunableModel(tiny(family)).task == ("language" if family == "llama" else "classification")


def test_row_names_are_module_paths_in_order():
    names = hp.PrunableModel(tiny("bert")).grid.row_names
    assert names == tuple(f"bert.encoder.layer.{i}.attention.self" for i in range(3))


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_per_head_add_up_to_the_weights_that_are_there(family):
    model = tiny(family)
    per_head = hp.PrunableModel(model).grid.parameters_per_head
    assert per_head.sum() == weights_of_heads(model, family)
    assert np.ptp(per_head) == 0


def test_two_query_heads_read_one_key_value_head():
    assert hp.PrunableModel(tiny("llama")).grid.kv_group.tolist() == [[0, 0, 1, 1]] * 3
    assert hp.PrunableModel(tiny("bert")).grid.kv_group.tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize(
    ("config", "kind", "shape", "parameters"),
    [  # by hand: 64 rows of q, k and v with their biases, and 64 output columns, of width 768 or 1024
        (t.BertConfig(), t.BertForSequenceClassification, (12, 12), 64 * (3 * 769 + 768)),
        (t.RobertaConfig(), t.RobertaForSequenceClassification, (12, 12), 64 * (3 * 769 + 768)),
        (t.AlbertConfig(hidden_size=768, num_attention_heads=12), t.AlbertForSequenceClassification, (1, 12), 64 * 3075),
        (
            t.BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
            t.BertForSequenceClassification,
            (24, 16),
            64 * (3 * 1025 + 1024),
        ),
    ],
)
def test_full_size_models_without_weights(config, kind, shape, parameters):
    with torch.device("meta"):
        grid = hp.PrunableModel(kind(config)).grid
    assert grid.shape == shape
    assert (grid.parameters_per_head == parameters).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_on_the_meta_device(family):
    with torch.device("meta"):
        wrapped = hp.PrunableModel(FAMILIES[family].build())
    assert wrapped.device.type == "meta"
    assert wrapped.grid.row_names == hp.PrunableModel(tiny(family)).grid.row_names


ENCODER_DECODER = {"d_model": 32, "vocab_size": 90}
REFUSED = {
    "own attention, DeBERTa": (lambda: t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**MASKED)), "its own way"),
    "own attention, MPNet": (lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**MASKED)), "its own way"),
    "own attention, GPT-Neo": (
        lambda: t.GPTNeoForCausalLM(
            t.GPTNeoConfig(hidden_size=32, num_layers=1, num_heads=4, vocab_size=90, attention_types=[[["global"], 1]])
        ),
        "its own way",
    ),
    "soft caps that SDPA leaves out": (
        lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**MASKED, num_key_value_heads=2, head_dim=8)),
        "its own way",
    ),
    "encoder-decoder, T5": (
        lambda: t.T5ForConditionalGeneration(t.T5Config(**ENCODER_DECODER, num_layers=1, num_heads=4, d_kv=8, d_ff=48)),
        "encoder-decoder",
    ),
    "encoder-decoder, BART": (
        lambda: t.BartForSequenceClassification(
            t.BartConfig(**ENCODER_DECODER, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=48, decoder_ffn_dim=48)
        ),
        "encoder-decoder",
    ),
    "token classification": (lambda: t.BertForTokenClassification(t.BertConfig(**MASKED)), r"shape \(1, 4, 2\)"),
    "regression": (
        lambda: t.BertForSequenceClassification(t.BertConfig(**MASKED | {"num_labels": 1})),
        "expected \\(1, two or more classes\\)",
    ),
    "no logits": (lambda: t.BertModel(t.BertConfig(**MASKED)), "gives no logits"),
    "question answering": (lambda: t.BertForQuestionAnswering(t.BertConfig(**MASKED)), "gives no logits"),
    "masked language model": (lambda: t.BertForMaskedLM(t.BertConfig(**MASKED)), "looks only backwards"),
    "multiple choice": (lambda: t.BertForMultipleChoice(t.BertConfig(**MASKED)), "does not run on a text alone"),
    "fused q, k and v": (
        lambda: t.GPT2ForSequenceClassification(
            t.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=90, bos_token_id=1, eos_token_id=1)
        ),
        "no separate linear layer for q, k, v",
    ),
}


@pytest.mark.parametrize(("build", "words"), REFUSED.values(), ids=REFUSED)
def test_models_that_cannot_be_pruned_are_refused_by_name(build, words):
    model = build().eval()
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        hp.PrunableModel(model)
    assert type(model).__name__ in str(refusal.value)
