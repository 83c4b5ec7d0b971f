"""The gate dial against masked evaluation, HIS, leave-one-out and finite differences."""

import numpy as np
import pytest
from helpers.reference import Double
from helpers.tiny_models import examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.inspection.gate_dial import gate_dial

PLACES = [(0, 1), (2, 3)]
STEP = 1e-6  # so small that no ReLU turns over on the way


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit", "albert"])
def test_the_end_point_is_the_masked_model(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=5)
    for row, head in PLACES:
        row = min(row, model.grid.shape[0] - 1)
        masks = np.ones((2, *model.grid.shape), bool)
        masks[1, row, head] = False
        expected = hp.evaluate_masks(model, examples, masks).losses
        dial = gate_dial(model, examples, row, head, gates=[1, 0.5, 0], batch_size=2)
        np.testing.assert_allclose(dial.losses[[0, 2]], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "albert"])
def test_the_slope_is_the_signed_term_of_his_and_a_finite_difference(family):
    model, examples = hp.PrunableModel(tiny(family).double()), examples_for(family, count=5)
    row = model.grid.shape[0] - 1
    his = hp.score_heads(model, examples, metrics=("his",)).per_example["his"]
    with Double():  # T5 has norms in single precision
        dial = gate_dial(model, examples, row, 2, gates=[1 + STEP, 1, 1 - STEP])
    np.testing.assert_allclose(np.abs(dial.slopes), his[:, row, 2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(dial.slopes, (dial.losses[0] - dial.losses[2]) / (2 * STEP), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(dial.tangent[1], dial.losses[1])
    np.testing.assert_allclose(dial.tangent[2], dial.losses[1] - STEP * dial.slopes)


def test_without_labels_the_target_is_the_models_own_prediction():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(6).remove_columns("label")
    dial = gate_dial(model, examples, 1, 0)
    ablation = hp.leave_one_out(model, examples)
    assert dial.objective == "prediction"
    np.testing.assert_allclose(dial.losses[-1] - dial.losses[0], ablation.per_example[:, 1, 0], rtol=0, atol=1e-6)


def test_batches_change_nothing_and_cancel_works():
    model, examples, reports = hp.PrunableModel(tiny("bert")), random_examples(6), []
    whole = gate_dial(model, examples, 0, 0, progress=lambda *report: reports.append(report))
    single = gate_dial(model, examples, 0, 0, batch_size=1)
    np.testing.assert_allclose(whole.losses, single.losses, atol=1e-6)
    np.testing.assert_allclose(whole.slopes, single.slopes, atol=1e-6)
    assert reports[0] == (0, 72, "Turning the gate")
    assert reports[-1] == (72, 72, "Turning the gate")

    def cancel(done, total, note):
        raise hp.Cancelled("stop")

    with pytest.raises(hp.Cancelled):
        gate_dial(model, examples, 0, 0, progress=cancel)


@pytest.mark.parametrize(
    ("place", "gates"), [((3, 0), [1]), ((0, 4), [1]), ((-1, 0), [1]), ((0, 0), [0.5]), ((0, 0), [1, np.nan])]
)
def test_wrong_heads_and_gates_are_refused(place, gates):
    with pytest.raises(hp.HeadPruneError, match=r"the model has no head|1 must be among them"):
        gate_dial(hp.PrunableModel(tiny("bert")), random_examples(3), *place, gates=gates)
