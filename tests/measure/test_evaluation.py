"""Evaluation of masks: against the same model with the pruned heads' output projection columns set to zero."""

import copy

import numpy as np
import pytest
import torch
from helpers.reference import plain_logits
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, columns, examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.measure.evaluation import masked_logits

CLASSIFIERS = [family for family in REPRESENTATIVE if hp.PrunableModel(tiny(family)).task == "classification"]
WRITERS = [family for family in REPRESENTATIVE if family not in CLASSIFIERS]


def some_masks(shape, count=4, seed=0):
    """Random masks, the first with no head at all in its last row, the second with none anywhere, the last one whole."""
    masks = np.random.default_rng(seed).random((count, *shape)) < 0.6
    masks[0, -1] = False
    masks[1] &= count < 4
    masks[-1] = True
    return masks


def without_columns(family, model, mask):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for (*_, out), kept in zip(FAMILIES[family].projections(model), torch.tensor(mask), strict=True):
            weight = columns(out)
            weight *= kept.repeat_interleave(weight.shape[1] // len(kept))
    return model


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope="module", params=CLASSIFIERS)
def case(request):
    """(model, examples, masks, logits (M, N, C) the plain way)."""
    model, examples = tiny(request.param), examples_for(request.param)
    wrapped = hp.PrunableModel(model)
    masks = some_masks(wrapped.grid.shape)
    logits = [plain_logits(without_columns(request.param, model, mask), examples) for mask in masks]
    return wrapped, examples, masks, np.array(logits)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_a_masked_head_equals_zeroed_columns(case, batch_size):
    model, examples, masks, expected = case
    found = hp.evaluate_masks(model, examples, masks, batch_size=batch_size)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-5)


def test_the_measures_by_hand(case):
    model, examples, masks, logits = case
    found, labels = hp.evaluate_masks(model, examples, masks), np.array(examples["label"])
    np.testing.assert_allclose(found.accuracy, (logits.argmax(-1) == labels).mean(1))
    losses = -np.take_along_axis(log_softmax(logits), labels[None, :, None], -1)[..., 0]
    np.testing.assert_allclose(found.loss, losses.mean(1), rtol=1e-4)
    np.testing.assert_allclose(found.agreement, (logits.argmax(-1) == logits[-1].argmax(-1)).mean(1))
    correlation = [np.corrcoef(some.ravel(), logits[-1].ravel())[0, 1] for some in logits]
    np.testing.assert_allclose(found.correlation, correlation, rtol=1e-4, atol=1e-5)
    assert found.trials == 9


@pytest.fixture(scope="module", params=WRITERS)
def writing_model(request):
    """(model, examples, masks, which logits predict a target, the targets, logits by mask and example the plain way)."""
    model, examples = tiny(request.param), examples_for(request.param)
    wrapped = hp.PrunableModel(model)
    masks = some_masks(wrapped.grid.shape)
    logits = [plain_logits(without_columns(request.param, model, mask), examples) for mask in masks]
    if wrapped.task == "translation":
        return wrapped, examples, masks, slice(None), [np.array(ids) for ids in examples["target_ids"]], logits
    return wrapped, examples, masks, slice(-1), [np.array(ids[1:]) for ids in examples["input_ids"]], logits


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_token_prediction_under_masks(writing_model, batch_size):
    model, examples, masks, predicting, targets, by_mask = writing_model
    found = hp.evaluate_masks(model, examples, masks, batch_size=batch_size)
    assert found.logits is None
    whole = by_mask[-1]
    assert found.trials == sum(map(len, targets))
    for m, logits in enumerate(by_mask):
        predictions = [some[predicting] for some in logits]
        right = [some.argmax(-1) == ids for some, ids in zip(predictions, targets, strict=True)]
        equal = [some.argmax(-1) == other[predicting].argmax(-1) for some, other in zip(predictions, whole, strict=True)]
        losses = [-log_softmax(some)[range(len(ids)), ids].mean() for some, ids in zip(predictions, targets, strict=True)]
        assert found.accuracy[m] == pytest.approx(np.concatenate(right).mean())
        assert found.agreement[m] == pytest.approx(np.concatenate(equal).mean())
        assert found.loss[m] == pytest.approx(np.mean(losses), rel=1e-5)
        pair = [np.concatenate([some.ravel() for some in which]) for which in (logits, whole)]
        assert found.correlation[m] == pytest.approx(np.corrcoef(*pair)[0, 1], rel=1e-4)


@pytest.mark.slow
def test_the_loss_of_token_prediction_is_that_of_the_model(writing_model):
    wrapped, examples, *_ = writing_model
    found = hp.evaluate_masks(wrapped, examples, np.ones((1, *wrapped.grid.shape), bool)).loss[0]
    with torch.no_grad():
        given = [torch.tensor([ids]) for ids in examples["input_ids"]]
        wanted = [torch.tensor([ids]) for ids in examples["target_ids"]] if "target_ids" in examples.column_names else given
        own = [wrapped.model(input_ids=ids, labels=labels).loss.item() for ids, labels in zip(given, wanted, strict=True)]
    assert found == pytest.approx(np.mean(own), rel=1e-5)


@pytest.mark.slow
def test_logits_under_a_mask_at_every_real_position(writing_model):
    """Of every mask, the one without a single head in its last row among them."""
    wrapped, examples, masks, *_, by_mask = writing_model
    assert not masks[0, -1].any()
    for mask, expected in zip(masks, by_mask, strict=True):
        for batch in encode(wrapped, examples).batches(4, wrapped.device):
            read = batch.real if batch.decoder_real is None else batch.decoder_real
            for i, logits, real in zip(batch.index, masked_logits(wrapped, batch, mask), read, strict=True):
                np.testing.assert_allclose(logits[real], expected[i], rtol=1e-5, atol=2e-5)


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


def test_equal_masks_are_evaluated_once(model):
    one, other, whole = some_masks((3, 4), count=3)
    totals = []
    found = hp.evaluate_masks(
        model, random_examples(), [one, whole, one, other, one], progress=lambda done, total, note: totals.append(total)
    )
    assert set(totals) == {3 * 9}
    assert (found.logits[0] == found.logits[2]).all()
    assert (found.logits[0] == found.logits[4]).all()
    assert (found.logits[0] != found.logits[3]).any()
    alone = hp.evaluate_masks(model, random_examples(), [other])
    np.testing.assert_array_equal(found.logits[3], alone.logits[0])


def test_the_unpruned_model_is_the_reference_even_if_not_requested(model):
    masks = some_masks((3, 4))
    without, with_it = (hp.evaluate_masks(model, random_examples(), some) for some in (masks[:-1], masks))
    np.testing.assert_array_equal(without.agreement, with_it.agreement[:-1])
    np.testing.assert_array_equal(without.correlation, with_it.correlation[:-1])
    assert (with_it.agreement[-1], with_it.correlation[-1]) == (1, pytest.approx(1))


def test_without_labels_there_is_agreement_but_no_accuracy(model):
    masks, examples = some_masks((3, 4)), random_examples()
    bare, full = (hp.evaluate_masks(model, some, masks) for some in (examples.remove_columns("label"), examples))
    assert np.isnan([*bare.accuracy, *bare.loss]).all()
    np.testing.assert_array_equal(bare.agreement, full.agreement)
    np.testing.assert_array_equal(bare.logits, full.logits)


def test_masks_leave_no_trace(model):
    whole = np.ones((1, 3, 4), bool)
    before = hp.evaluate_masks(model, random_examples(), whole).logits
    hp.evaluate_masks(model, random_examples(), ~whole)
    np.testing.assert_array_equal(hp.evaluate_masks(model, random_examples(), whole).logits, before)


def test_bfloat16_is_close_to_float32(model):
    masks = some_masks((3, 4))
    low, full = (hp.evaluate_masks(model, random_examples(), masks, dtype=dtype).logits for dtype in ("bfloat16", None))
    assert 0 < np.abs(low - full).max() < 0.05 * np.abs(full).max()
    same = hp.evaluate_masks(model, random_examples(), masks, dtype="float32").logits
    np.testing.assert_array_equal(same, full)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.ones((3, 4)), r"masks must be Boolean with shape \(M, 3, 4\), got float64 with shape \(3, 4\); make"),
        (np.ones((2, 4, 3)), r"masks must be Boolean .*, got float64 with shape \(2, 4, 3\)"),
        (np.ones((0, 3, 4)), "masks must contain at least one mask, got none"),
    ],
)
def test_masks_of_another_shape_raise(model, masks, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.evaluate_masks(model, random_examples(), masks)


def test_an_unknown_dtype_raises(model):
    with pytest.raises(hp.HeadPruneError, match="dtype must be None, 'float32' or 'bfloat16', got 'int8'"):
        hp.evaluate_masks(model, random_examples(), np.ones((1, 3, 4)), dtype="int8")


def test_cancelling_stops_between_forward_passes(model, monkeypatch):
    seen, runs, logits = [], [], model.logits
    monkeypatch.setattr(model, "logits", lambda inputs: runs.append(len(inputs["input_ids"])) or logits(inputs))

    def stop(done, total, note):
        seen.append(done)
        if len(seen) == 4:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled, match="enough"):
        hp.evaluate_masks(model, random_examples(), some_masks((3, 4)), batch_size=3, progress=stop)
    # the fourth report is made before the fourth run, of the third mask on the first three examples
    assert seen == [0, 3, 6, 9]
    assert runs == [3, 3, 3]


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_progress_counts_every_example_under_every_mask_once(model, batch_size):
    reports = []
    hp.evaluate_masks(
        model, random_examples(), some_masks((3, 4)), batch_size=batch_size, progress=lambda *report: reports.append(report)
    )
    done = [report[0] for report in reports]
    assert done == sorted(set(done))
    assert (done[0], done[-1]) == (0, 4 * 9)
    assert {report[1:] for report in reports} == {(4 * 9, "Measuring accuracy")}
