"""The prediction of one text and the shares of its heads against the plain library, masked evaluation and HIS."""

import datasets
import numpy as np
import pytest
import torch
from helpers.reference import Double
from helpers.tasks import tiny_task
from helpers.tiny_models import FAMILIES, columns, tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.inspection import one_text
from headprune_core.inspection.one_text import head_shares, predict_text

IDS = [5, 17, 33, 8, 61, 17, 4]
MODELS = {
    "classification": lambda: tiny("bert"),
    "language": lambda: tiny("gpt2"),
    "first token": lambda: tiny("t5"),
    "multi_label": lambda: tiny_task("multi_label"),
    "regression": lambda: tiny_task("regression"),
    "token_classification": lambda: tiny_task("token_classification"),
}


def plain_logits(kind: str, masked=()) -> torch.Tensor:
    """(P, C) logits of the plain model whose output projections have zeros for the masked heads."""
    model = MODELS[kind]()
    family = FAMILIES["gpt2" if kind == "language" else "bert"]
    with torch.no_grad():
        for row, head in masked:
            columns(family.projections(model)[row][3]).unflatten(1, (4, -1))[:, head] = 0
        if kind == "first token":
            return model(torch.tensor([IDS]), decoder_input_ids=torch.tensor([[0]])).logits[0]
        logits = model(torch.tensor([IDS])).logits
    return logits[0, -1:] if kind == "language" else logits[0] if logits.dim() == 3 else logits


@pytest.mark.parametrize("kind", MODELS)
def test_predictions_are_those_of_the_plain_model(kind):
    model, masked = hp.PrunableModel(MODELS[kind]()), [] if kind == "first token" else [(0, 1), (2, 3), (1, 0)]
    masks = np.ones((2, *model.grid.shape), bool)
    for row, head in masked:
        masks[1, row, head] = False
    found = predict_text(model, IDS, masks)
    for number, zeroed in enumerate(([], masked)):
        logits = plain_logits(kind, zeroed)
        expected = {"regression": logits, "multi_label": logits.sigmoid()}.get(kind, logits.softmax(-1))
        if kind in ("language", "first token"):
            numbers = [int(name.split()[1]) for name in found.names]
            assert found.decisions[number] == (f"token {int(logits.argmax())}",)
            assert len(set(numbers)) == len(numbers) >= 10
            expected = expected[:, numbers]
        np.testing.assert_allclose(found.values[number], expected, rtol=0, atol=1e-6)
    if kind in ("language", "first token"):
        assert (np.diff(found.values[0, 0, :10]) <= 0).all()
    if kind == "token_classification":
        assert found.positions == tuple(f"token {token}" for token in IDS)
        assert found.decisions[0] == tuple(model.labels[i] for i in plain_logits(kind).argmax(-1))


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "first token"])
def test_changes_are_those_of_masking_each_head(kind):
    model = hp.PrunableModel(MODELS[kind]())
    shares = head_shares(model, IDS)
    before = plain_logits(kind)
    decided = (before > 0).float() if kind == "multi_label" else before.argmax(-1)

    def score(logits):
        if kind == "regression":
            return float(logits.mean())
        if kind == "multi_label":
            return -float(torch.nn.functional.binary_cross_entropy_with_logits(logits, decided))
        return float(logits.log_softmax(-1).gather(-1, decided[:, None]).mean())

    assert shares.score == pytest.approx(score(before), abs=1e-6)
    for row, head in [(0, 1), (2, 3), (1, 0)]:
        after = plain_logits(kind, [(row, head)])
        assert shares.change[row, head] == pytest.approx(score(after) - score(before), abs=1e-6)
        if kind == "classification":
            assert shares.flips[row, head] == (int(after.argmax()) != int(before.argmax()))
    assert not (kind == "regression" and shares.flips.any())


@pytest.mark.parametrize("kind", ["classification", "multi_label", "token_classification"])
def test_the_first_order_term_is_the_his_of_the_text(kind):
    model, example = hp.PrunableModel(MODELS[kind]().double()), datasets.Dataset.from_dict({"input_ids": [IDS]})
    scored = hp.score_heads(model, example, metrics=("his",), objective="prediction")
    np.testing.assert_allclose(np.abs(head_shares(model, IDS).first_order), scored.his, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", MODELS)
def test_the_first_order_term_is_a_finite_difference(kind):
    model, step = hp.PrunableModel(MODELS[kind]().double()), 1e-5
    gates = torch.ones(2, *model.grid.shape, dtype=torch.float64)
    gates[:, 1, 2] += torch.tensor([step, -step], dtype=torch.float64)
    with Double(), torch.no_grad():  # T5 has norms in single precision
        shares = head_shares(model, IDS)
        encoded, _ = one_text.encode_text(model, IDS)
        logits = one_text._logits(model, encoded, gates)
        higher, lower = one_text._score(encoded.task, logits, encoded.task.decisions(logits)).tolist()
    assert shares.first_order[1, 2] == pytest.approx((lower - higher) / (2 * step), abs=1e-6)
    assert shares.first_order[1, 2] != 0


def test_the_batch_of_masks_changes_nothing():
    model = hp.PrunableModel(tiny("bert"))
    masks = np.random.default_rng(0).random((7, *model.grid.shape)) > 0.4
    together, reports = predict_text(model, IDS, masks), []
    alone = [predict_text(model, IDS, mask[None]).values[0] for mask in masks]
    np.testing.assert_allclose(together.values, alone, rtol=0, atol=1e-6)
    head_shares(model, IDS, progress=lambda *report: reports.append(report))
    assert reports == [(0, 12, "Masking each head"), (12, 12, "Masking each head")]

    def cancel(*report):
        raise hp.Cancelled("stop")

    with pytest.raises(hp.Cancelled):
        head_shares(model, IDS, progress=cancel)


def test_texts_that_cannot_be_read_are_refused_in_a_sentence():
    model = hp.PrunableModel(tiny("bert"))
    for text, reason in (("", "the text is empty"), ("  \n", "the text is empty"), ("word", "has no tokenizer")):
        with pytest.raises(hp.HeadPruneError, match=reason):
            predict_text(model, text)
    with pytest.raises(hp.HeadPruneError, match="outside the model's vocabulary"):
        predict_text(model, [1, 90_000])
    with pytest.raises(hp.HeadPruneError, match="masks must be Boolean with shape"):
        predict_text(model, IDS, np.ones((3, 4)))
    with pytest.raises(hp.HeadPruneError, match="reads images"):
        predict_text(hp.PrunableModel(tiny("vit")), IDS)


def test_a_text_that_is_cut_off_or_only_special_tokens_is_said():
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    with pytest.warns(hp.HeadPruneWarning, match="truncated"):
        long = predict_text(model, "w5 " * 600)
    assert len(long.notes) == 1
    assert "the rest was cut off" in long.notes[0]
    assert predict_text(model, "[SEP]").notes == ("The text consists of special tokens only.",)
    assert predict_text(model, "w5").notes == ()


def test_two_texts_are_read_as_a_pair():
    model = hp.PrunableModel.from_pretrained("embedded")
    first, second = "The crew was wonderful.", "I lost my bag."
    with torch.no_grad():
        plain = model.model(**model.tokenizer(first, second, return_tensors="pt")).logits.softmax(-1)
    np.testing.assert_allclose(predict_text(model, first, pair=second).values[0], plain, rtol=0, atol=1e-6)
    assert abs(predict_text(model, first).values[0] - plain.numpy()).max() > 0.01


def test_a_prediction_that_is_not_finite_is_refused():
    broken = tiny("bert")
    broken.classifier.bias.data[0] = torch.nan
    model = hp.PrunableModel(broken)
    for work in (predict_text, head_shares):
        with pytest.raises(hp.HeadPruneError, match="is not finite"):
            work(model, IDS)
