"""Tiny models of the tasks other than single-label classification, random examples for them, and their plain reference.

The reference calls the Transformers model with `labels=`, one example at a time, without padding, in double precision.
"""

from collections.abc import Callable

import datasets
import numpy as np
import torch
import transformers as t
from helpers.reference import Double, block_norms, inputs, prepared
from helpers.tiny_models import FAMILIES, GROUPED, SMALL, VISION, Family, apart, random_examples, randomized

import headprune_core as hp

MULTI_LABEL = {"problem_type": "multi_label_classification", "num_labels": 4}
NAMES = {"id2label": dict(enumerate(("joy", "anger", "fear", "trust"))), "label2id": {}}
REGRESSION = {"num_labels": 1}
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TAGGED = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: i for i, tag in enumerate(TAGS)}}


def _bert(**more):
    return lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, **more))


def _llama(**more):
    return lambda: t.LlamaForSequenceClassification(t.LlamaConfig(**GROUPED, **more))


def _vit(**more):
    return lambda: t.ViTForImageClassification(t.ViTConfig(**VISION | more, patch_size=4))


MODELS: dict[tuple[str, str], Callable[[], t.PreTrainedModel]] = {  # by task and family of the projections
    ("multi_label", "bert"): _bert(**MULTI_LABEL),
    ("multi_label", "llama-classifier"): _llama(**MULTI_LABEL),
    ("multi_label", "vit"): _vit(**MULTI_LABEL),
    ("regression", "bert"): _bert(**REGRESSION),
    ("regression", "llama-classifier"): _llama(**REGRESSION),
    ("regression", "roberta"): lambda: t.RobertaForSequenceClassification(
        t.RobertaConfig(**SMALL, problem_type="regression", num_labels=2, max_position_embeddings=70, pad_token_id=1)
    ),
    ("regression", "vit"): _vit(**REGRESSION),
    ("token_classification", "bert"): lambda: t.BertForTokenClassification(t.BertConfig(**SMALL, **TAGGED)),
    ("token_classification", "llama"): lambda: t.LlamaForTokenClassification(t.LlamaConfig(**GROUPED, **TAGGED)),
    ("token_classification", "roberta"): lambda: t.RobertaForTokenClassification(
        t.RobertaConfig(**SMALL, **TAGGED, max_position_embeddings=70, pad_token_id=1)
    ),
    ("token_classification", "distilbert"): lambda: t.DistilBertForTokenClassification(
        t.DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=48, vocab_size=90, **TAGGED)
    ),
}


def tiny_task(task: str, family: str = "bert", seed: int = 0) -> t.PreTrainedModel:
    """A random model of a task."""
    return randomized(MODELS[task, family], seed)


def task_examples(model: t.PreTrainedModel, task: str, count: int = 9, seed: int = 0) -> datasets.Dataset:
    """Random token IDs or pixels of mixed lengths with labels of the task."""
    generator, outputs = np.random.default_rng([seed, 7]), model.config.num_labels
    if model.main_input_name == "pixel_values":
        columns = {"pixel_values": generator.standard_normal((count, 3, 8, 8)).astype(np.float32).tolist()}
    else:
        columns = {"input_ids": random_examples(count, seed=seed)["input_ids"]}
    if task == "multi_label":
        columns["label"] = generator.integers(0, 2, (count, outputs)).tolist()
    elif task == "token_classification":
        lengths = [len(ids) for ids in columns["input_ids"]]
        labels = [generator.choice([-100, *range(outputs)], n) for n in lengths]
        columns["labels"] = [[0, *row[1:].tolist()] for row in labels]
    elif task == "regression":
        values = generator.standard_normal((count, outputs))
        columns["label"] = values[:, 0].tolist() if outputs == 1 else values.tolist()
    return datasets.Dataset.from_dict(columns)


def reference(model: t.PreTrainedModel, family: str, examples) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return his (N, R, H) and gnorm (N, 3, R, H) of the model's own loss, that loss (N,), and gnorm of the logit norm."""
    model, family = prepared(model), FAMILIES[family]
    rows = [_one(model, family, example) for example in examples]
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def own_loss(model: t.PreTrainedModel, example: dict):
    """Return the output of the model for one example, with its own loss."""
    if "labels" in example:
        labels = torch.tensor([example["labels"]])
    else:
        labels = torch.tensor([example["label"]], dtype=model.dtype)
    with Double():
        return model(**inputs(model, example), labels=labels)


def _one(model, family: Family, example):
    rows, calls = family.projections(model), []
    hooks = [out.register_forward_pre_hook(lambda _, given: calls.append(given[0])) for *_, out in rows]
    output = own_loss(model, example)
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(output.loss, calls, retain_graph=True)
    heads = model.config.num_attention_heads
    products = [(z * g)[0].unflatten(-1, (heads, -1)).sum((0, 2)).abs() for z, g in zip(calls, gradients, strict=True)]
    of_loss = block_norms(model, family, output.loss)
    of_norm = block_norms(model, family, torch.linalg.vector_norm(model(**inputs(model, example)).logits))
    parts = torch.stack(products), of_loss, output.loss, of_norm
    return tuple(part.detach().numpy() for part in parts)


def wrapped(task: str, family: str = "bert", tokenizer=None) -> hp.PrunableModel:
    """The random model of a task, wrapped."""
    return hp.PrunableModel(tiny_task(task, family), tokenizer)


__all__ = ["MODELS", "NAMES", "apart", "own_loss", "reference", "task_examples", "tiny_task", "wrapped"]
