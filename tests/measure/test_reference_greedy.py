"""The Greedy-Gnorm reference: against static Gnorm of the remaining model, and finite differences."""

import copy

import numpy as np
import pytest
import torch
from helpers.reference import Double, inputs, prepared, reference_scores
from helpers.reference_greedy import mask_head, reference_greedy, reference_shift
from helpers.tiny_models import FAMILIES, examples_for, tiny

KINDS = ("bert", "albert", "llama", "gpt2", "t5", "modernbert")
SQUARE = tuple(family for family in KINDS if family != "t5")  # whose projections are as wide as the model


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_every_step_is_the_static_score_of_the_remaining_model(family):
    model, examples = tiny(family), examples_for(family, count=3)
    found = reference_greedy(model, family, examples, steps=4)
    left = copy.deepcopy(model)
    for number, scores in enumerate(found.scores):
        *_, norms = reference_scores(left, family, examples)
        gone = np.isnan(scores)
        assert {tuple(head) for head in np.argwhere(gone).tolist()} == set(found.order[:number])
        expected = norms.mean(0).prod(0)
        np.testing.assert_allclose(scores[~gone], expected[~gone])
        assert found.order[number] == np.unravel_index(np.nanargmin(scores), scores.shape)
        mask_head(left, FAMILIES[family], *found.order[number])


@pytest.mark.parametrize("family", SQUARE)
def test_the_shift_equals_finite_differences(family):
    """A cell is the mean of a block's gradients: how the norm moves when all of the block's weights grow alike."""
    step, model, examples = 1e-6, prepared(tiny(family)), examples_for(family, count=2)
    mask = np.ones((len(FAMILIES[family].projections(model)), 4), bool)
    mask[0, 3] = False
    found = reference_shift(model, family, examples, (0, 1), mask)
    assert found.shape == (len(mask), 4, 4)
    for row, out, block in ((0, 0, 2), (len(mask) - 1, 3, 1)):
        moved = []
        for gone in ([3], [3, 1]):
            left = copy.deepcopy(model)
            for head in gone:
                mask_head(left, FAMILIES[family], 0, head)
            weight = FAMILIES[family].projections(left)[row][0].weight
            # 4 heads of 8: the head's rows, the block's columns; fused weights keep their heads apart otherwise
            blocks = FAMILIES[family].blocks(weight.detach(), 0, 4, 4 if family != "llama" else 2)[out][:, 8 * block :][
                :, :8
            ]
            values = []
            for change in (step, -2 * step):
                blocks += change
                values.append(mean_norm(left, examples))
            moved.append((values[0] - values[1]) / (2 * step) / 64)
        assert found[row, out, block] == pytest.approx(moved[1] - moved[0], rel=1e-5, abs=1e-9)


def mean_norm(model, examples):
    with torch.no_grad(), Double():
        return np.mean([model(**inputs(model, example)).logits.norm().item() for example in examples])


def test_ties_are_broken_by_row_and_head_and_the_inverse_takes_the_highest():
    model, examples = tiny("bert"), examples_for("bert", count=3)
    for head in ((2, 1), (0, 3), (1, 0)):
        mask_head(model, FAMILIES["bert"], *head)
    found = reference_greedy(model, "bert", examples, steps=3)
    assert found.order == [(0, 3), (1, 0), (2, 1)]
    inverse = reference_greedy(model, "bert", examples, heads_per_step=2, inverse=True)
    assert inverse.order[-3:] == [(0, 3), (1, 0), (2, 1)]
    first = inverse.scores[0]
    assert inverse.order[:2] == [tuple(np.argwhere(first == value)[0]) for value in np.sort(first.ravel())[:-3:-1]]
