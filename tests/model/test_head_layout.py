"""Location of the heads in every model family, and the errors for unsupported models."""

import sys

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import BART, FAMILIES, GROUPED, SMALL, T5, columns, examples_for, random_examples, randomized, tiny

import headprune_core as hp
from headprune_core.model import attention_hooks, head_tracing

MASKED = {**SMALL, "num_hidden_layers": 1}
GROUPS = ("llama", "llama-classifier", "qwen2", "qwen3", "mistral", "phi3", "gemma2", "gemma3", "gpt-oss")
TWO_STREAMS = ("t5", "t5-classifier", "mt5", "bart", "bart-classifier")
WIDE = ("qwen3", "gemma2", "gemma3", "gpt-oss", "t5", "t5-classifier", "mt5")  # heads of 12, whatever the hidden size
FUSED = ("modernbert", "phi3", "gpt-neox", "gpt2", "gpt2-classifier")
# Models whose code depends on tensor values, so that they cannot be traced on the meta device.
NEEDS_NUMBERS = ("gpt2", "gpt2-classifier", "gpt-oss", "t5-classifier", "bart", "bart-classifier")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def wrapped(family):
    return hp.PrunableModel(tiny(family))


def weights_of_heads(model, family):
    """Number of parameters of the q, k, v and output projections, without the output biases."""
    projections = FAMILIES[family].projections(model)
    inward = {part for row in projections for part in row[:3]}
    return sum(p.numel() for part in inward for p in part.parameters()) + sum(out.weight.numel() for *_, out in projections)


@pytest.mark.slow
def test_grid_of_every_family(family, wrapped):
    grid = wrapped.grid
    rows = 1 if family == "albert" else 6 if family in TWO_STREAMS else 3
    assert grid.shape == (rows, 4)
    assert grid.layers == ((0, 0, 0) if family == "albert" else tuple(range(rows)))
    for row, (q, k, v, out) in zip(grid.rows, FAMILIES[family].projections(wrapped.model), strict=True):
        assert (row.q.module, row.k.module, row.v.module, row.out.module) == (q, k, v, out)
        assert wrapped.model.get_submodule(row.name) is row.module
        assert row.head_size == (12 if family in WIDE else 8)


def test_heads_have_their_own_blocks_of_the_weights(family, wrapped):
    """Compared with the layouts in helpers/tiny_models.py; no two rows of random weights are equal."""
    groups = 2 if family in GROUPS else 4
    for row, modules in zip(wrapped.grid.rows, FAMILIES[family].projections(wrapped.model), strict=True):
        for part, (name, module) in enumerate(zip("qkv", modules[:3], strict=True)):
            expected = FAMILIES[family].blocks(module.weight, part, 4, groups)
            found = getattr(row, name).blocks(outputs=True)
            assert len(expected.flatten(0, 1).unique(dim=0)) == len(expected.flatten(0, 1))
            assert len(found) == len(expected)
            for block, values in zip(found, expected, strict=True):
                assert torch.equal(block.T if "gpt2" in family else block, values)
        expected = columns(modules[3]).unflatten(1, (4, -1)).unbind(1)
        for block, values in zip(row.out.blocks(outputs=False), expected, strict=True):
            assert torch.equal(block.T if "gpt2" in family else block, values)


def test_no_two_heads_share_a_feature(family, wrapped):
    for row in wrapped.grid.rows:
        taken = [(p.module, f) for p in (row.q, row.k, row.v) for f in p.features.ravel()]
        assert len(set(taken)) == len(taken)
        assert sorted(row.out.features.ravel()) == list(range(4 * row.head_size))


def test_task_of_every_family(family, wrapped):
    name = type(wrapped.model).__name__
    expected = "classification" if name.endswith("Classification") else "language"
    assert wrapped.task == ("translation" if family in ("t5", "mt5", "bart") else expected)
    assert wrapped.reads_images == (family in ("vit", "deit"))


def test_rows_have_their_kind(family, wrapped):
    if family in TWO_STREAMS:
        kinds = ["encoder", "encoder", "decoder", "cross", "decoder", "cross"]
        labels = ("encoder 0", "encoder 1", "decoder 0", "cross 0", "decoder 1", "cross 1")
    else:
        kinds = ["self"] * len(wrapped.grid.rows)
        labels = tuple(str(row) for row in range(len(kinds)))
    assert [row.kind for row in wrapped.grid.rows] == kinds
    assert wrapped.grid.row_labels == labels


def test_row_names_are_module_paths_in_order():
    names = hp.PrunableModel(tiny("bert")).grid.row_names
    assert names == tuple(f"bert.encoder.layer.{i}.attention.self" for i in range(3))


def test_parameters_per_head_sum_to_all_parameters(family, wrapped):
    per_head = wrapped.grid.parameters_per_head
    assert per_head.sum() == weights_of_heads(wrapped.model, family)
    assert np.ptp(per_head, axis=1).max() == 0


def test_kv_groups(family, wrapped):
    expected = [0, 0, 1, 1] if family in GROUPS else [0, 1, 2, 3]
    assert wrapped.grid.kv_group.tolist() == [expected] * len(wrapped.grid.rows)
    assert {row.kv_heads for row in wrapped.grid.rows} == {max(expected) + 1}


def test_wrapping_again_finds_the_same_layout(family, wrapped):
    again = hp.PrunableModel(wrapped.model).grid
    assert (again.row_names, again.layers, again.row_labels) == (
        wrapped.grid.row_names,
        wrapped.grid.layers,
        wrapped.grid.row_labels,
    )
    for row, other in zip(again.rows, wrapped.grid.rows, strict=True):
        assert row.q.module is other.q.module
        np.testing.assert_array_equal(row.v.features, other.v.features)


@pytest.mark.parametrize("groups", [4, 2, 1])
def test_heads_are_found_behind_a_norm_over_all_heads(groups):
    """OLMo 2 normalizes all heads of q together, so every feature affects every head; the blocks are contiguous."""
    torch.manual_seed(0)
    model = hp.PrunableModel(t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED | {"num_key_value_heads": groups})))
    assert model.task == "language"
    assert model.grid.shape == (3, 4)
    for row in model.grid.rows:
        for part, heads in ((row.q, 4), (row.k, groups), (row.v, groups), (row.out, 4)):
            np.testing.assert_array_equal(part.features, np.arange(8 * heads).reshape(heads, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "kind", "shape", "parameters"),
    [  # calculated manually: 64 rows of q, k and v with their biases, and 64 output columns, of width 768 or 1024
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


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in FUSED + NEEDS_NUMBERS])
def test_families_with_separate_projections_on_the_meta_device(family):
    with torch.device("meta"):
        wrapped = hp.PrunableModel(FAMILIES[family].build())
    assert wrapped.device.type == "meta"
    real = hp.PrunableModel(tiny(family))
    assert (wrapped.grid.row_names, wrapped.grid.row_labels) == (real.grid.row_names, real.grid.row_labels)
    assert wrapped.task == real.task
    for row, other in zip(wrapped.grid.rows, real.grid.rows, strict=True):
        for part in ("q", "k", "v", "out"):
            np.testing.assert_array_equal(getattr(row, part).features, getattr(other, part).features)


@pytest.mark.parametrize("family", [name for name in FUSED if name not in NEEDS_NUMBERS])
def test_a_fused_layout_needs_weights(family):
    with torch.device("meta"):
        model = FAMILIES[family].build()
    with pytest.raises(hp.HeadPruneError, match="whose layout needs weights; load the model with weights") as refusal:
        hp.PrunableModel(model)
    assert type(model).__name__ in str(refusal.value)


@pytest.mark.parametrize("family", NEEDS_NUMBERS)
def test_models_that_cannot_be_traced_without_weights_are_refused(family):
    with torch.device("meta"):
        model = FAMILIES[family].build()
    with pytest.raises(hp.HeadPruneError, match=f"{type(model).__name__} failed on a sample text"):
        hp.PrunableModel(model)


def encoder_decoder(kind, **more):
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return kind(d_model=32, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=90, **layers, **special, **more)


def latent_attention():
    sizes = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "qk_nope_head_dim": 8}
    experts = {"moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    small = GROUPED | {"num_key_value_heads": 4, "num_hidden_layers": 1}
    return t.DeepseekV3ForCausalLM(t.DeepseekV3Config(**small, **sizes, **experts, first_k_dense_replace=1))


REFUSED = {
    "own attention, DeBERTa": (
        lambda: t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**MASKED)),
        "does not use the Transformers attention interface",
    ),
    "own attention, MPNet": (
        lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**MASKED)),
        "does not use the Transformers attention interface",
    ),
    "own attention, GPT-Neo": (
        lambda: t.GPTNeoForCausalLM(
            t.GPTNeoConfig(
                hidden_size=32,
                num_layers=1,
                num_heads=4,
                vocab_size=90,
                attention_types=[[["global"], 1]],
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        "does not use the Transformers attention interface",
    ),
    "own attention, Falcon": (
        lambda: t.FalconForCausalLM(
            t.FalconConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, vocab_size=90)
        ),
        "does not use the Transformers attention interface",
    ),
    "latent attention, DeepSeek": (
        latent_attention,
        r"model\.layers\.0\.self_attn computes its k from 2 linear layers; expected one linear layer for each of q, k and v",
    ),
    "no attention, Mamba": (
        lambda: t.MambaForCausalLM(t.MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=90, state_size=4)),
        "does not call its attention",
    ),
    "sound": (
        lambda: t.WhisperForConditionalGeneration(encoder_decoder(t.WhisperConfig)),
        "reads input_features, not input_ids",
    ),
    "no logits": (lambda: t.BertModel(t.BertConfig(**MASKED)), "returns no logits"),
    "no logits, encoder-decoder": (lambda: t.BartModel(t.BartConfig(**BART)), "returns no logits"),
    "no logits, encoder of two": (lambda: t.T5EncoderModel(t.T5Config(**T5)), "returns no logits"),
    "question answering": (
        lambda: t.BertForQuestionAnswering(t.BertConfig(**MASKED)),
        "is an extractive question answering model, which HeadPrune does not support",
    ),
    "masked language model": (
        lambda: t.BertForMaskedLM(t.BertConfig(**MASKED)),
        "is a masked language model, which HeadPrune does not support",
    ),
    "several tables of tokens": (
        lambda: t.MusicgenForCausalLM(
            t.MusicgenDecoderConfig(
                vocab_size=90, num_hidden_layers=1, num_attention_heads=4, hidden_size=32, ffn_dim=48, num_codebooks=2
            )
        ),
        "has no single table of token embeddings",
    ),
    "images of any size": (
        lambda: t.ResNetForImageClassification(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])),
        "has no image_size and num_channels, as a vision transformer has",
    ),
    "multiple choice": (lambda: t.BertForMultipleChoice(t.BertConfig(**MASKED)), "failed on a sample text"),
}


@pytest.mark.parametrize(("build", "words"), REFUSED.values(), ids=REFUSED)
def test_unsupported_models_are_refused_by_name(build, words):
    model = build().eval()
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        hp.PrunableModel(model)
    assert type(model).__name__ in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "bart-classifier", "vit"])
@pytest.mark.parametrize("strange", ["sharper", "weaker", "centered"])
def test_attention_other_than_softmax_is_refused(family, strange, monkeypatch):
    """Tracing compares the logits with those of the model's own attention, which is modified here."""
    model = tiny(family)
    module = sys.modules[type(model).__module__]
    plain = module.eager_attention_forward

    def own(module, query, key, value, mask, **options):
        if strange == "sharper":
            query = 2 * query
        if strange == "centered":
            value = value - value.mean(2, keepdim=True)
        out, weights = plain(module, query, key, value, mask, **options)
        return (0.9 * out if strange == "weaker" else out), weights

    monkeypatch.setattr(module, "eager_attention_forward", own)
    with pytest.raises(hp.HeadPruneError, match="does not use standard softmax attention") as refusal:
        hp.PrunableModel(model)
    assert type(model).__name__ in str(refusal.value)
    monkeypatch.undo()
    assert hp.PrunableModel(tiny(family)).grid.shape[1] == 4


@pytest.mark.parametrize(
    ("extra", "words"), [("sinks", "a special form of attention sinks"), ("indices", "sparse attention")]
)
def test_unsupported_attention_options_are_refused(extra, words, monkeypatch):
    model = tiny("llama")
    attention = type(model.model.layers[1].self_attn)
    forward = attention.forward
    monkeypatch.setattr(attention, "forward", lambda self, *a, **more: forward(self, *a, **more | {extra: torch.ones(4)}))
    with pytest.raises(hp.HeadPruneError, match=f"LlamaAttention uses {words}, which HeadPrune cannot score exactly"):
        hp.PrunableModel(model)


@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_a_head_from_two_layers_is_refused(part):
    class Sum(torch.nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x):
            return self.first(x) + self.second(x)

    model = tiny("llama")
    attention = model.model.layers[1].self_attn
    layer = getattr(attention, f"{part}_proj")
    setattr(attention, f"{part}_proj", Sum(layer, torch.nn.Linear(layer.in_features, layer.out_features, bias=False)))
    with pytest.raises(
        hp.HeadPruneError, match=rf"LlamaForCausalLM: model\.layers\.1\.self_attn computes its {part} from 2 linear layers"
    ):
        hp.PrunableModel(model)


def test_heads_combined_before_the_output_projection_are_refused():
    model = tiny("llama")
    projection = model.model.layers[0].self_attn.o_proj
    model.model.layers[0].self_attn.o_proj = torch.nn.Sequential(torch.nn.LayerNorm(32), projection)
    with pytest.raises(hp.HeadPruneError, match=r"layers\.0\.self_attn combines its heads before the output projection"):
        hp.PrunableModel(model)


def test_a_router_that_returns_several_tensors_is_no_projection():
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "experts_implementation": "eager"}
    model = randomized(lambda: t.PhimoeForCausalLM(t.PhimoeConfig(**GROUPED, **experts)))
    router = next(m for m in model.modules() if isinstance(m, torch.nn.Linear) and type(m) is not torch.nn.Linear)
    assert isinstance(router(torch.randn(1, 2, 32)), tuple)
    wrapped = hp.PrunableModel(model)
    assert wrapped.grid.shape == (3, 4)
    examples = random_examples(4, 8)
    alone, packed = (hp.score_heads(wrapped, examples, batch_size=n).his for n in (1, 4))
    np.testing.assert_allclose(packed, alone, rtol=1e-4)


def test_an_error_of_headprunes_own_hooks_is_not_blamed_on_the_model(monkeypatch):
    monkeypatch.setattr(attention_hooks, "sdpa_attention_forward", None)
    with pytest.raises(hp.HeadPruneError, match=r"HeadPrune cannot follow .* of BertFor.* not a fault of the model"):
        hp.PrunableModel(tiny("bert"))
    monkeypatch.undo()
    monkeypatch.setattr(head_tracing, "Tensor", object)  # the router's tuple is then handled as a tensor
    with pytest.raises(hp.HeadPruneError, match=r"HeadPrune cannot follow .* of PhimoeFor.*AttributeError.*'detach'"):
        hp.PrunableModel(t.PhimoeForCausalLM(t.PhimoeConfig(**GROUPED, num_local_experts=4)))


def big_bird(kind, **more):
    config = t.BigBirdPegasusConfig(**BART, **{"attention_type": "original_full"} | more)
    return kind(config)


def test_attention_that_is_not_marked_as_causal_gets_its_mask():
    # The modules of these decoders are not marked as causal, and rely on the mask.
    decoder = big_bird(t.BigBirdPegasusForCausalLM, is_decoder=True, is_encoder_decoder=False)
    model = hp.PrunableModel(randomized(lambda: decoder))
    assert not any(row.module.is_causal for row in model.grid.rows)
    assert model.task == "language"
    examples = random_examples(4, 8)
    losses = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool)).losses[0]
    decoder.set_attn_implementation("eager")
    for ids, loss in zip(examples["input_ids"], losses, strict=True):
        logits = decoder(torch.tensor([ids])).logits[0, :-1]
        assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]))), rel=1e-4)


def test_block_sparse_attention_in_long_texts_is_refused():
    with pytest.raises(hp.HeadPruneError, match="set attention_type to 'original_full' in its configuration"):
        hp.PrunableModel(big_bird(t.BigBirdPegasusForConditionalGeneration, attention_type="block_sparse"))


@pytest.mark.slow
def test_every_layer_may_have_a_position_bias_of_its_own(tmp_path):
    model = hp.PrunableModel(randomized(lambda: t.UMT5ForConditionalGeneration(t.UMT5Config(**T5))))
    mask = np.random.default_rng(0).random(model.grid.shape) > 0.5
    mask[0], mask[1, 0] = False, True
    examples = examples_for("t5")
    expected = hp.evaluate_masks(model, examples, mask[None]).losses
    pruned = hp.prune_heads(model, mask)
    pruned.save_pretrained(tmp_path / "model")
    for other in (pruned, hp.PrunableModel.from_pretrained(tmp_path / "model", device="cpu")):
        actual = hp.evaluate_masks(other, examples, np.ones_like(mask)[None]).losses
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
