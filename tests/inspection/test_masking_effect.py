"""The effect of masking heads against masked evaluation and the plain library, and the table of flipped predictions."""

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, columns, examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.inspection.masking_effect import masking_effect


def test_flips_are_those_of_the_plain_model_with_zeroed_columns():
    torch_model, examples = tiny("bert"), random_examples(60)
    model = hp.PrunableModel(tiny("bert"))
    heads = [(0, 1), (1, 3), (2, 0), (2, 2)]
    effect = masking_effect(model, examples, heads)
    plain = []
    for masked in ([], heads):
        torch_model = tiny("bert")
        with torch.no_grad():
            for row, head in masked:
                out = FAMILIES["bert"].projections(torch_model)[row][3]
                columns(out).unflatten(1, (4, -1))[:, head] = 0
            logits = [torch_model(torch.tensor([ids])).logits[0] for ids in examples["input_ids"]]
        plain.append(torch.stack(logits))
    before, after = (logits.argmax(-1).numpy() for logits in plain)
    np.testing.assert_array_equal(effect.predictions, [before, after])
    np.testing.assert_array_equal(effect.flipped, before != after)
    assert 0 < effect.flipped.sum() < 60
    np.testing.assert_allclose(effect.probabilities, torch.stack(plain).softmax(-1), atol=1e-6)
    table = effect.flips(examples, ["a", "b", "c"])
    assert table.example.tolist() == np.flatnonzero(before != after).tolist()
    assert table.before.tolist() == ["abc"[c] for c in before[before != after]]
    assert table.after.tolist() == ["abc"[c] for c in after[before != after]]
    assert (table.probability_before > table.probability_after).all()
    labels = np.array(examples["label"])
    assert effect.values == (float((before == labels).mean()), float((after == labels).mean()))


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit"])
def test_losses_are_those_of_the_masked_evaluation(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5)
    masks = np.ones((2, *model.grid.shape), bool)
    masks[1, 1, 2] = False
    found = hp.evaluate_masks(model, examples, masks)
    effect = masking_effect(model, examples, [(1, 2), (1, 2)])
    assert effect.heads == ((1, 2),)
    np.testing.assert_allclose(effect.losses, found.losses, rtol=0, atol=1e-6)
    assert effect.values == tuple(found.accuracy)
    assert (effect.predictions is None) == (family in ("gpt2", "t5"))


def test_texts_are_in_the_table(embedded_model):
    tweets = hp.load_examples("embedded", split="evaluation", size=48)
    effect = masking_effect(embedded_model, tweets, [(row, head) for row in (1, 2) for head in range(12)])
    table = effect.flips(tweets, embedded_model.labels)
    assert len(table) == effect.flipped.sum() > 0
    assert table.text.tolist() == [tweets[int(i)]["text"] for i in table.example]
    assert set(table.before) <= set(embedded_model.labels)


def test_wrong_heads_and_models_without_classes_are_refused():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(3)
    with pytest.raises(hp.HeadPruneError, match="heads must name at least one head"):
        masking_effect(model, examples, [])
    with pytest.raises(hp.HeadPruneError, match="the model has no head 4 in row 0; rows are 0 to 2, heads 0 to 3"):
        masking_effect(model, examples, [(0, 4)])
    language = masking_effect(hp.PrunableModel(tiny("gpt2")), examples_for("gpt2", count=3), [(0, 0)])
    with pytest.raises(hp.HeadPruneError, match="flips require a model with one predicted class per example"):
        language.flips(examples, ["a"])


def test_the_description_states_changes_with_intervals_and_the_paired_test():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(60)
    effect = masking_effect(model, examples, [(0, 1), (1, 3), (2, 0), (2, 2)])
    change, low, high = effect.loss_change
    assert change == pytest.approx((effect.losses[1] - effect.losses[0]).mean())
    assert low < change < high
    labels = np.array(examples["label"])
    only_before, only_after = ((effect.predictions[i] == labels) & (effect.predictions[1 - i] != labels) for i in (0, 1))
    assert (effect.test.b, effect.test.c) == (only_after.sum(), only_before.sum())
    loss, accuracy, flips = effect.describe()
    assert f"{change:+.4f} (95% CI {low:+.4f} to {high:+.4f}" in loss
    assert "exact McNemar test" in accuracy
    assert f"{effect.flipped.sum()} of 60" in flips


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_models_of_text_are_described_without_flips(family):
    effect = masking_effect(hp.PrunableModel(tiny(family)), examples_for(family, count=5), [(1, 2)])
    assert len(effect.describe()) == 2


def test_without_labels_only_flips_are_described():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(9).remove_columns("label")
    (line,) = masking_effect(model, examples, [(1, 2)]).describe()
    assert line.startswith("The prediction changes on ")
