"""Random tiny models of every family, and random ready inputs for them: for exactness, never for claims."""

from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import torch
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90}


@dataclass(frozen=True)
class Family:
    """How to build a tiny model, and (for the reference alone) where its q, k, v and output projections are by row."""

    build: Callable[[], t.PreTrainedModel]
    projections: Callable[[t.PreTrainedModel], list[tuple]]


def _bert_like(base: str):
    def projections(model):
        layers = getattr(model, base).encoder.layer
        return [(a.self.query, a.self.key, a.self.value, a.output.dense) for a in (layer.attention for layer in layers)]

    return projections


def _distilbert(model):
    layers = model.distilbert.transformer.layer
    return [(a.q_lin, a.k_lin, a.v_lin, a.out_lin) for a in (layer.attention for layer in layers)]


def _albert(model):
    layer = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    return [(layer.query, layer.key, layer.value, layer.dense)]


def _llama(model):
    return [(a.q_proj, a.k_proj, a.v_proj, a.o_proj) for a in (layer.self_attn for layer in model.model.layers)]


def _llama_config(**more):
    return t.LlamaConfig(**SMALL, num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, **more)


FAMILIES = {
    "bert": Family(lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=3)), _bert_like("bert")),
    "roberta": Family(
        lambda: t.RobertaForSequenceClassification(
            t.RobertaConfig(**SMALL, num_labels=3, max_position_embeddings=70, pad_token_id=1)
        ),
        _bert_like("roberta"),
    ),
    "xlm-roberta": Family(
        lambda: t.XLMRobertaForSequenceClassification(
            t.XLMRobertaConfig(**SMALL, num_labels=3, max_position_embeddings=70, pad_token_id=1)
        ),
        _bert_like("roberta"),
    ),
    "electra": Family(
        lambda: t.ElectraForSequenceClassification(t.ElectraConfig(**SMALL, embedding_size=16, num_labels=3)),
        _bert_like("electra"),
    ),
    "distilbert": Family(
        lambda: t.DistilBertForSequenceClassification(
            t.DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=48, vocab_size=90, num_labels=3)
        ),
        _distilbert,
    ),
    "albert": Family(
        lambda: t.AlbertForSequenceClassification(t.AlbertConfig(**SMALL, embedding_size=16, num_labels=3)), _albert
    ),
    "llama": Family(lambda: t.LlamaForCausalLM(_llama_config()), _llama),
    "llama-classifier": Family(lambda: t.LlamaForSequenceClassification(_llama_config(num_labels=3)), _llama),
}


def tiny(family: str, seed: int = 0) -> t.PreTrainedModel:
    """A random model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(seed)
    model = FAMILIES[family].build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "embedding" not in name:
                parameter.normal_(std=0.25)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.eval()


def random_examples(count: int = 9, longest: int = 13, seed: int = 0, classes: int = 3) -> datasets.Dataset:
    """Token ids of mixed lengths, the first and the last at both ends of the range, with labels."""
    generator = np.random.default_rng(seed)
    lengths = np.r_[3, generator.integers(3, longest + 1, count - 2), longest]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [generator.integers(5, 90, n).tolist() for n in lengths],
            "label": generator.integers(0, classes, count).tolist(),
        }
    )


def tiny_tokenizer(**options) -> t.PreTrainedTokenizerFast:
    """The words w4 to w89 have the ids 4 to 89; [CLS] and [SEP] go around a text."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(4, 90))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special | options)
