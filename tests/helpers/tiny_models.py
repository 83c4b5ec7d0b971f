"""Tiny random models of every family, and random inputs for them, for tests of exactness."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90}
GROUPED = SMALL | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GEMMA = {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6}
T5 = {"d_kv": 12, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 90, "decoder_start_token_id": 0}
T5 |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20}
BART = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 2), ("attention_heads", 4))}
BART |= {"d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 70, "vocab_size": 90}
VISION = {name: n for name, n in SMALL.items() if name != "vocab_size"} | {"image_size": 8, "num_labels": 3}

# Standard deviations of parameters that would otherwise be too small or too large: the first matching part of the name.
SPREAD = {"relative_attention_bias": 1.0, "Attention.q.": 0.1, "Attention.k.": 0.2, "sinks": 1.0}


@dataclass(frozen=True)
class Family:
    """How to build a tiny model and random examples for it.

    For the reference implementation it also has the q, k, v and output projections of each row, and the blocks of their
    weights that belong to the heads (see `apart`).
    """

    build: Callable[[], t.PreTrainedModel]
    projections: Callable[[t.PreTrainedModel], list[tuple]]
    blocks: Callable[..., torch.Tensor]
    examples: Callable[..., datasets.Dataset]


def apart(weight: torch.Tensor, part: int, heads: int, groups: int) -> torch.Tensor:
    """Blocks of a q, k or v weight (part 0, 1, 2), or of its gradient, by head (q) or key-value head (k, v)."""
    return weight.unflatten(0, (groups if part else heads, -1))


def q_then_k_then_v(weight, part, heads, groups):
    size = len(weight) // (heads + 2 * groups)
    return apart(weight.split([heads * size, groups * size, groups * size])[part], part, heads, groups)


def transposed(weight, part, heads, groups):
    return q_then_k_then_v(weight.T, part, heads, groups)


def head_by_head(weight, part, heads, groups):
    return weight.unflatten(0, (heads, 3, -1))[:, part]


def columns(out: torch.nn.Module) -> torch.Tensor:
    """A view of an output projection's weight with one column per input; GPT-2's Conv1D stores it transposed."""
    return out.weight.T if isinstance(out, t.pytorch_utils.Conv1D) else out.weight


def random_examples(count: int = 9, longest: int = 13, seed: int = 0, classes: int = 3) -> datasets.Dataset:
    """Token IDs of mixed lengths with labels; the first and last examples have the minimum and maximum length."""
    generator = np.random.default_rng(seed)
    lengths = np.r_[3, generator.integers(3, longest + 1, count - 2), longest]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [generator.integers(5, 90, n).tolist() for n in lengths],
            "label": generator.integers(0, classes, count).tolist(),
        }
    )


def ending_in(token: int) -> Callable[..., datasets.Dataset]:
    """Random examples whose last token is the end of the text, which some classifiers require."""

    def examples(count, longest, seed):
        plain = random_examples(count, longest, seed)
        return plain.remove_columns("input_ids").add_column("input_ids", [[*ids[:-1], token] for ids in plain["input_ids"]])

    return examples


def with_targets(count: int, longest: int, seed: int) -> datasets.Dataset:
    """Random examples with target tokens of different lengths; the shortest input has the longest target."""
    generator, examples = np.random.default_rng([seed, 1]), random_examples(count, longest, seed)
    lengths = np.r_[longest, generator.integers(2, longest + 1, count - 2), 2]
    return examples.add_column("target_ids", [generator.integers(5, 90, n).tolist() for n in lengths])


def random_images(count: int, longest: int, seed: int) -> datasets.Dataset:
    """Random pixel values (3, 8, 8) with labels."""
    generator = np.random.default_rng(seed)
    pixels = generator.standard_normal((count, 3, 8, 8)).astype(np.float32)
    return datasets.Dataset.from_dict({"pixel_values": pixels.tolist(), "label": generator.integers(0, 3, count).tolist()})


def examples_for(family: str, count: int = 9, longest: int = 13, seed: int = 0) -> datasets.Dataset:
    """Random inputs for a family: token IDs, token IDs with target IDs, or pixel values."""
    return FAMILIES[family].examples(count, longest, seed)


def _family(build, names, *places, blocks=apart, examples=random_examples) -> Family:
    """`names`: of q, k, v and out in an attention module, or of a fused one and out; `places`: (layers, attentions)."""
    *parts, out = names.split()
    names = (*(parts * 3 if len(parts) == 1 else parts), out)

    def projections(model):
        layers = [(layer, inner) for path, *inner in places for layer in model.get_submodule(path)]
        attentions = [layer.get_submodule(path) for layer, inner in layers for path in inner]
        return [tuple(attention.get_submodule(name) for name in names) for attention in attentions]

    return Family(build, projections, blocks, examples)


def _bert_like(build, base):
    return _family(build, "self.query self.key self.value output.dense", (f"{base}.encoder.layer", "attention"))


def _llama_like(build, **fused):
    names = "qkv_proj o_proj" if fused else "q_proj k_proj v_proj o_proj"
    return _family(build, names, ("model.layers", "self_attn"), **fused)


def _t5_like(build, base, examples):
    encoder = (f"{base}encoder.block", "layer.0.SelfAttention")
    decoder = (f"{base}decoder.block", "layer.0.SelfAttention", "layer.1.EncDecAttention")
    return _family(build, "q k v o", encoder, decoder, examples=examples)


def _bart_like(build, examples):
    places = ("model.encoder.layers", "self_attn"), ("model.decoder.layers", "self_attn", "encoder_attn")
    return _family(build, "q_proj k_proj v_proj out_proj", *places, examples=examples)


def _gpt2_like(build):
    return _family(build, "c_attn c_proj", ("transformer.h", "attn"), blocks=transposed)


def _vit_like(build, base):
    return _family(build, "q_proj k_proj v_proj o_proj", (f"{base}.layers", "attention"), examples=random_images)


def _llama_config(**more):
    return t.LlamaConfig(**GROUPED, **more)


def _gpt2_config(**more):
    return t.GPT2Config(
        n_embd=32, n_layer=3, n_head=4, n_positions=70, vocab_size=90, pad_token_id=0, bos_token_id=1, eos_token_id=2, **more
    )


FAMILIES = {
    "bert": _bert_like(lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=3)), "bert"),
    "roberta": _bert_like(
        lambda: t.RobertaForSequenceClassification(
            t.RobertaConfig(**SMALL, num_labels=3, max_position_embeddings=70, pad_token_id=1)
        ),
        "roberta",
    ),
    "xlm-roberta": _bert_like(
        lambda: t.XLMRobertaForSequenceClassification(
            t.XLMRobertaConfig(**SMALL, num_labels=3, max_position_embeddings=70, pad_token_id=1)
        ),
        "roberta",
    ),
    "camembert": _bert_like(
        lambda: t.CamembertForSequenceClassification(
            t.CamembertConfig(**SMALL, num_labels=3, max_position_embeddings=70, pad_token_id=1)
        ),
        "roberta",
    ),
    "electra": _bert_like(
        lambda: t.ElectraForSequenceClassification(t.ElectraConfig(**SMALL, embedding_size=16, num_labels=3)), "electra"
    ),
    "distilbert": _family(
        lambda: t.DistilBertForSequenceClassification(
            t.DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=48, vocab_size=90, num_labels=3)
        ),
        "q_lin k_lin v_lin out_lin",
        ("distilbert.transformer.layer", "attention"),
    ),
    "albert": _family(
        lambda: t.AlbertForSequenceClassification(t.AlbertConfig(**SMALL, embedding_size=16, num_labels=3)),
        "query key value dense",
        ("albert.encoder.albert_layer_groups", "albert_layers.0.attention"),
    ),
    "modernbert": _family(
        lambda: t.ModernBertForSequenceClassification(
            t.ModernBertConfig(
                **SMALL,
                num_labels=3,
                local_attention=8,
                **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
            )
        ),
        "Wqkv Wo",
        ("model.layers", "attn"),
        blocks=q_then_k_then_v,
    ),
    "llama": _llama_like(lambda: t.LlamaForCausalLM(_llama_config())),
    "llama-classifier": _llama_like(lambda: t.LlamaForSequenceClassification(_llama_config(num_labels=3))),
    "qwen2": _llama_like(lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED))),
    "qwen3": _llama_like(lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**GROUPED, head_dim=12))),
    "mistral": _llama_like(lambda: t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=6))),
    "phi3": _llama_like(lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED)), blocks=q_then_k_then_v),
    "gemma2": _llama_like(
        lambda: t.Gemma2ForCausalLM(
            t.Gemma2Config(**GROUPED, **GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=2.0)
        )
    ),
    "gemma3": _llama_like(lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**GROUPED, **GEMMA, sliding_window_pattern=2))),
    "gpt-oss": _llama_like(
        lambda: t.GptOssForCausalLM(
            t.GptOssConfig(
                **GROUPED,
                head_dim=12,
                sliding_window=6,
                num_local_experts=4,
                num_experts_per_tok=2,
                experts_implementation="eager",
            )
        )
    ),
    "gpt2": _gpt2_like(lambda: t.GPT2LMHeadModel(_gpt2_config())),
    "gpt2-classifier": _gpt2_like(lambda: t.GPT2ForSequenceClassification(_gpt2_config(num_labels=3))),
    "gpt-neox": _family(
        lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SMALL, rope_parameters={"partial_rotary_factor": 0.5})),
        "query_key_value dense",
        ("gpt_neox.layers", "attention"),
        blocks=head_by_head,
    ),
    "t5": _t5_like(lambda: t.T5ForConditionalGeneration(t.T5Config(**T5)), "", with_targets),
    "t5-classifier": _t5_like(
        lambda: t.T5ForSequenceClassification(t.T5Config(**T5, num_labels=3)), "transformer.", ending_in(1)
    ),
    "mt5": _t5_like(lambda: t.MT5ForConditionalGeneration(t.MT5Config(**T5)), "", with_targets),
    "bart": _bart_like(lambda: t.BartForConditionalGeneration(t.BartConfig(**BART)), with_targets),
    "bart-classifier": _bart_like(lambda: t.BartForSequenceClassification(t.BartConfig(**BART, num_labels=3)), ending_in(2)),
    "vit": _vit_like(lambda: t.ViTForImageClassification(t.ViTConfig(**VISION, patch_size=2)), "vit"),
    "deit": _vit_like(lambda: t.DeiTForImageClassification(t.DeiTConfig(**VISION, patch_size=4)), "deit"),
}


# Before a release, HEADPRUNE_TESTS=all runs the slow tests with all families and at full size.
EVERYTHING = os.environ.get("HEADPRUNE_TESTS") == "all"
thorough = pytest.mark.skipif(not EVERYTHING, reason="runs with HEADPRUNE_TESTS=all, before a release")

# One family for every kind of layout and mask, for slow tests.
REPRESENTATIVE = (
    "bert",
    "albert",
    "modernbert",
    "gpt2",
    "gpt-neox",
    "qwen3",
    "gemma2",
    "gpt-oss",
    "t5",
    "bart-classifier",
    "vit",
)
REPRESENTATIVE = tuple(FAMILIES) if EVERYTHING else REPRESENTATIVE


def tiny(family: str, seed: int = 0) -> t.PreTrainedModel:
    """A random model with weights large enough to make attention far from uniform."""
    return randomized(FAMILIES[family].build, seed)


def randomized(build: Callable[[], t.PreTrainedModel], seed: int = 0) -> t.PreTrainedModel:
    """Randomize the weights of any model in the same way."""
    torch.manual_seed(seed)
    model = build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = next((spread for part, spread in SPREAD.items() if part in name), 0.25)
            if parameter.dim() > 2 or name.endswith("sinks") or (parameter.dim() == 2 and "_embeddings" not in name):
                parameter.normal_(std=spread)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
            elif "q_norm" in name or "k_norm" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model.eval()


def short(family: str) -> t.PreTrainedModel:
    """The same with as few layers as keep the kinds of the family apart: two, or one in the encoder and in the decoder."""
    model = FAMILIES[family].build()
    config, layers = model.config, 1 if model.config.is_encoder_decoder else 2
    config.num_hidden_layers = layers
    for name in ("num_decoder_layers", "decoder_layers"):
        if hasattr(config, name):
            setattr(config, name, layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    return randomized(lambda: type(model)(config))


def tiny_tokenizer(**options) -> t.PreTrainedTokenizerFast:
    """A tokenizer in which the words w4 to w89 have the IDs 4 to 89; texts are enclosed in [CLS] and [SEP]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(4, 90))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special | options)
