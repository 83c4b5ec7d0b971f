"""Logit comparison: against the library's forward pass with the output columns of removed heads set to zero."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, columns, examples_for, tiny, tiny_tokenizer

import headprune_core as hp


def some_mask(shape):
    mask = np.random.default_rng(2).random(shape) < 0.5
    mask[-1], mask[0, 1] = False, True
    return mask


@torch.no_grad()
def plain(family, mask, inputs):
    """Logits of one unpadded example by the library alone: of the classes, or of the next token."""
    model = tiny(family)
    for row, (*_, out) in zip(mask, FAMILIES[family].projections(model), strict=True):
        for head in np.flatnonzero(~row):
            columns(out).unflatten(1, (mask.shape[1], -1))[:, head] = 0
    logits = model(**{name: torch.tensor([values]) for name, values in inputs.items() if name != "label"}).logits[0]
    return logits if logits.dim() == 1 else logits[-1]


@pytest.mark.parametrize("family", ["bert", "albert", "gpt-neox", "llama"])
def test_logits_are_those_of_the_plain_forward(family):
    model = hp.PrunableModel(tiny(family))
    mask, examples = some_mask(model.grid.shape), examples_for(family, count=3)
    pruned = hp.prune_heads(model, mask)
    found = hp.compare_logits(model, pruned, examples, reloaded=pruned)
    assert found.forms == ("unpruned", "masked", "pruned", "reloaded")
    assert found.max_logit_difference < 1e-5
    for i, example in enumerate(examples):
        for form, kept in (("unpruned", np.ones_like(mask)), ("masked", mask), ("reloaded", mask)):
            expected = plain(family, kept, example)
            shown = found.logits[found.forms.index(form), i]
            assert found.predicted[found.forms.index(form)][i] == name(model, int(expected.argmax()))
            by_name = {name(model, c): float(value) for c, value in enumerate(expected)}
            np.testing.assert_allclose(shown, [by_name[c] for c in found.classes[i]], atol=1e-5)


def name(model, number):
    return model.labels[number] if model.task == "classification" else str(number)


def test_a_causal_lm_shows_the_most_likely_next_tokens_as_text():
    model = hp.PrunableModel(tiny("llama"), tiny_tokenizer())
    pruned = hp.prune_heads(model, some_mask(model.grid.shape))
    found = hp.compare_logits(model, pruned, examples_for("llama", count=2))
    frame = found.frame(1)
    assert list(frame.columns) == ["class", "unpruned", "masked", "pruned"]
    assert frame.unpruned.is_monotonic_decreasing
    assert frame["class"][0] == found.predicted[0][1]
    assert frame["class"].tolist() == [model.tokenizer.decode([int(t)]) for t in tokens(model, 1)]


@torch.no_grad()
def tokens(model, text):
    ids = torch.tensor([examples_for("llama", count=2)[text]["input_ids"]])
    return model.model(ids).logits[0, -1].topk(8).indices


def test_the_logit_difference_detects_a_changed_model():
    """A reloaded model of other weights is found out."""
    model = hp.PrunableModel(tiny("bert"))
    pruned = hp.prune_heads(model, some_mask(model.grid.shape))
    other = hp.prune_heads(model, some_mask(model.grid.shape))
    other.model.classifier.bias = torch.nn.Parameter(other.model.classifier.bias + 0.25, requires_grad=False)
    found = hp.compare_logits(model, pruned, examples_for("bert", count=3), reloaded=other)
    assert found.max_logit_difference == pytest.approx(0.25, abs=1e-5)


def test_a_model_with_other_heads_raises():
    model, other = hp.PrunableModel(tiny("bert")), hp.PrunableModel(tiny("albert"))
    assert model.grid.shape != other.grid.shape
    with pytest.raises(hp.HeadPruneError, match="must be a pruned form of the model"):
        hp.compare_logits(model, other, examples_for("bert", count=2))
