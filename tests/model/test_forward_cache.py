"""The forward-pass cache: results of many masks are bitwise identical with and without it."""

import copy
import threading

import numpy as np
import pytest
import torch
from helpers.reference import plain_logits
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, columns, examples_for, tiny

import headprune_core as hp

KINDS = (*REPRESENTATIVE, "llama", "distilbert")
MEASURES = ("logits", "accuracy", "loss", "losses", "agreement", "correlation")


def many_masks(shape, seed=0):
    """(M, R, H): nested ones from the whole model to none of it, by rows from the last and in a random order; random ones;
    some alike but for one row each; some without any head in a row; each of some twice. In no order."""
    rows, heads = shape
    generator = np.random.default_rng(seed)
    whole = np.ones(rows * heads, bool)

    def nested(order, steps):
        masks = []
        for n in np.unique(np.linspace(0, len(order), steps).astype(int)):
            mask = whole.copy()
            mask[order[:n]] = False
            masks.append(mask)
        return masks

    masks = nested(np.arange(rows * heads)[::-1], 6) + nested(generator.permutation(rows * heads), 9)
    masks += list(generator.random((3, rows * heads)) < 0.6)
    base = generator.random(shape) < 0.7
    for row in {0, rows // 2, rows - 1}:
        other, emptied = base.copy(), base.copy()
        other[row] = ~other[row]
        emptied[row] = False
        masks += [other.ravel(), emptied.ravel()]
    masks += masks[3:5]
    return np.array(masks)[generator.permutation(len(masks))].reshape(-1, *shape)


def alone(model, examples, mask, **options):
    return hp.evaluate_masks(model, examples, [mask], **options)


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    """(family, wrapped model, examples, masks, what evaluate_masks says of all of them at once)."""
    model, examples = hp.PrunableModel(tiny(request.param)), examples_for(request.param, count=5)
    masks = many_masks(model.grid.shape)
    return request.param, model, examples, masks, hp.evaluate_masks(model, examples, masks, batch_size=3)


@pytest.mark.slow
def test_each_mask_gives_bitwise_the_same_result_alone(case):
    _, model, examples, masks, together = case
    for number, mask in enumerate(masks):
        single = alone(model, examples, mask, batch_size=3)
        for measure in MEASURES:
            of_all, of_one = getattr(together, measure), getattr(single, measure)
            if of_all is None:
                assert of_one is None
            else:
                np.testing.assert_array_equal(of_all[number], of_one[0], err_msg=f"{measure} of mask {number}")


@pytest.mark.slow
def test_the_order_of_masks_does_not_matter(case):
    _, model, examples, masks, together = case
    order = np.random.default_rng(1).permutation(len(masks))
    again = hp.evaluate_masks(model, examples, masks[order], batch_size=3)
    for measure in MEASURES:
        of_all = getattr(together, measure)
        np.testing.assert_array_equal(getattr(again, measure), of_all if of_all is None else of_all[order])


@pytest.mark.slow
def test_each_mask_equals_the_model_with_zeroed_columns(case):
    family, model, examples, masks, together = case
    labels = examples["label"] if model.task == "classification" else None
    for number, mask in list(enumerate(masks))[::3]:
        logits = plain_logits(without_columns(family, mask), examples)
        if labels is not None:
            np.testing.assert_allclose(together.logits[number], logits, rtol=1e-5, atol=1e-5)
            continue
        for example, some, found in zip(examples, logits, together.losses[number], strict=True):
            targets = np.array(example["target_ids"] if "target_ids" in example else example["input_ids"][1:])
            scores = some[: len(targets)]
            likely = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
            assert found == pytest.approx(-likely[range(len(targets)), targets].mean(), rel=1e-5)


def without_columns(family, mask):
    model = copy.deepcopy(tiny(family))
    with torch.no_grad():
        for (*_, out), kept in zip(FAMILIES[family].projections(model), torch.tensor(mask), strict=True):
            columns(out).unflatten(1, (len(kept), -1))[:, ~kept] = 0
    return model


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "albert", "t5"])
def test_bfloat16_results_are_bitwise_identical_too(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5)
    masks = many_masks(model.grid.shape)
    together = hp.evaluate_masks(model, examples, masks, dtype="bfloat16")
    for number, mask in enumerate(masks[:10]):
        np.testing.assert_array_equal(together.losses[number], alone(model, examples, mask, dtype="bfloat16").losses[0])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "albert", "llama"])
def test_two_threads_with_different_masks_are_independent(family, eager_switching):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5)
    masks = many_masks(model.grid.shape)
    halves = masks[::2], masks[1::2]
    expected = [hp.evaluate_masks(model, examples, half).losses for half in halves]
    found, errors, ready = [[], []], [], threading.Barrier(2)

    def work(number):
        try:
            ready.wait(30)
            for _ in range(3):
                found[number].append(hp.evaluate_masks(model, examples, halves[number]).losses)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    for number in range(2):
        assert len(found[number]) == 3
        for losses in found[number]:
            np.testing.assert_array_equal(losses, expected[number])


def test_cached_outputs_are_not_used_for_other_examples():
    """Two datasets alternate on one model; outputs of one are not reused for the other."""
    model = hp.PrunableModel(tiny("bert"))
    first, second = (examples_for("bert", count=5, seed=seed) for seed in (0, 1))
    masks = many_masks(model.grid.shape)
    before = hp.evaluate_masks(model, first, masks).losses
    hp.evaluate_masks(model, second, masks)
    np.testing.assert_array_equal(hp.evaluate_masks(model, first, masks).losses, before)
    fresh = hp.evaluate_masks(hp.PrunableModel(tiny("bert")), second, masks).losses
    np.testing.assert_array_equal(hp.evaluate_masks(model, second, masks).losses, fresh)


@pytest.mark.slow
def test_a_cancelled_run_leaves_no_active_pass():
    model, examples = hp.PrunableModel(tiny("bert")), examples_for("bert", count=5)
    masks = many_masks(model.grid.shape)
    before = hp.evaluate_masks(model, examples, masks, batch_size=2).losses

    def stop(done, total, note):
        if done > total / 3:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled):
        hp.evaluate_masks(model, examples, masks, batch_size=2, progress=stop)
    np.testing.assert_array_equal(hp.evaluate_masks(model, examples, masks, batch_size=2).losses, before)
