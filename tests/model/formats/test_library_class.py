"""Saving of models whose class or configuration the library alone would save in a form that cannot be loaded."""

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import GROUPED, SMALL, random_examples, randomized, thorough

import headprune_core as hp


class MyClassifier(t.BertForSequenceClassification):
    """A user's own class that changes nothing."""


class WithMore(t.BertForSequenceClassification):
    """A user's own class with a layer of its own."""

    def __init__(self, config):
        super().__init__(config)
        self.more = torch.nn.Linear(2, 2)


class Louder(t.BertForSequenceClassification):
    """A user's own class that computes other logits."""

    def forward(self, *args, **kwargs):
        result = super().forward(*args, **kwargs)
        result.logits = 2 * result.logits
        return result


class OwnHead(t.BertPreTrainedModel):
    """A user's own task on an encoder of the library."""

    def __init__(self, config):
        super().__init__(config)
        self.bert, self.head = t.BertModel(config), torch.nn.Linear(config.hidden_size, 3)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **more):
        states = self.bert(input_ids, attention_mask=attention_mask)
        return t.modeling_outputs.SequenceClassifierOutput(logits=self.head(states[0][:, 0]))


def wrapped(kind):
    return hp.PrunableModel(randomized(lambda: kind(t.BertConfig(**SMALL, num_labels=3))))


def logits(model):
    evaluation = hp.evaluate_masks(model, random_examples(), np.ones((1, *model.grid.shape), bool))
    return evaluation.losses if evaluation.logits is None else evaluation.logits


def some_heads(model):
    mask = np.ones(model.grid.shape, bool)
    mask[0, :2] = False
    return mask


@pytest.mark.parametrize("pruned", [False, True])
def test_an_own_class_is_saved_as_the_class_of_the_library(pruned, tmp_path):
    model = wrapped(MyClassifier)
    model = hp.prune_heads(model, some_heads(model)) if pruned else model
    model.save_pretrained(tmp_path / "model")
    assert t.AutoConfig.from_pretrained(tmp_path / "model").architectures == ["BertForSequenceClassification"]
    back = hp.PrunableModel.from_pretrained(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(logits(back), logits(model))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WithMore, r"WithMore has more weights \(more\.bias\) than BertForSequenceClassification"),
        (Louder, "Louder computes other logits than BertForSequenceClassification, the class that a saved folder"),
        (OwnHead, "OwnHead is derived from BertPreTrainedModel, which has no task"),
    ],
)
def test_an_own_class_that_would_load_as_another_model_is_not_saved(kind, words, tmp_path):
    model = wrapped(kind)
    assert np.isfinite(hp.score_heads(model, random_examples(), metrics=("his",)).his).all()
    with pytest.raises(hp.HeadPruneError, match=words):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def apertus():
    sizes = {name: size for name, size in GROUPED.items() if name != "num_key_value_heads"}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    return hp.PrunableModel(randomized(lambda: t.ApertusForCausalLM(t.ApertusConfig(**sizes, **rope))))


@pytest.mark.slow
def test_a_constructor_that_reads_the_dtype_works_after_saving(tmp_path):
    model = apertus()
    model = hp.prune_heads(model, some_heads(model))
    dtype = model.model.config.dtype
    model.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")  # the library replaces the dtype of the configuration by a string
    assert model.model.config.dtype == dtype
    back = hp.PrunableModel.from_pretrained(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(logits(back), logits(model))


@pytest.mark.slow
@thorough
@pytest.mark.filterwarnings("ignore")
def test_a_constructor_that_reads_the_dtype_is_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    model = apertus()
    assert hp.export_onnx(hp.prune_heads(model, some_heads(model)), tmp_path / "model.onnx").difference < 1e-3
