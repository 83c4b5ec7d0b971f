"""Random baseline of one mask: same number of heads, same examples, every value compared with evaluate_masks."""

import numpy as np
import pytest
from helpers.tiny_models import examples_for, tiny

import headprune_core as hp
from headprune_core.measure.random_baseline import RandomBaseline


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


def test_values_equal_evaluate_masks_and_random_masks_have_the_same_size(model):
    mask = np.random.default_rng(0).random(model.grid.shape) < 0.5
    examples, seen = examples_for("bert", count=12), []

    def progress(done, total, note):
        seen.append(total)

    found = hp.random_baseline(model, examples, mask, n_random=4, progress=progress)
    assert found.measure == "accuracy"
    assert found.value == hp.evaluate_masks(model, examples, [mask]).accuracy[0]
    there, removed = mask.size, int((~mask).sum())
    for seed in range(4):
        one = np.ones(mask.size, bool)
        one[np.random.default_rng(seed).choice(there, removed, replace=False)] = False
        assert found.random_values[seed] == hp.evaluate_masks(model, examples, [one.reshape(mask.shape)]).accuracy[0]
    assert seen[-1] >= 5 * len(examples)


def test_removed_heads_are_not_pruned_again(model):
    first = np.ones(model.grid.shape, bool)
    first[0] = False
    smaller = hp.prune_heads(model, first)
    second = first.copy()
    second[-1, 0] = False
    found = hp.random_baseline(smaller, examples_for("bert", count=6), second, n_random=3)
    drawn = []
    for seed in range(3):
        mask = first.copy()
        mask.ravel()[np.random.default_rng(seed).choice(np.flatnonzero(first), 1, replace=False)] = False
        drawn.append(hp.evaluate_masks(model, examples_for("bert", count=6), [mask]).accuracy[0])
    np.testing.assert_array_equal(found.random_values, drawn)


def test_summary_states_values_and_rank_based_p():
    values = np.linspace(0.5, 0.8, 19)
    above, within, below = (RandomBaseline("accuracy", value, values) for value in (0.9, 0.7, 0.5))
    assert (above.n_beaten, within.n_beaten, below.n_beaten) == (19, 12, 0)
    assert (above.better_than_random, within.better_than_random, below.better_than_random) == (True, False, False)
    assert (above.p_value, within.p_value, below.p_value) == (1 / 20, 8 / 20, 1.0)
    assert above.summary == (
        "Accuracy 90.0% vs. 50.0% to 80.0% (mean 65.0%) for 19 random masks of the same size; better than all 19: "
        "significantly better than random at the 5% level (rank-based p ≤ 1/20)."
    )
    assert within.summary.endswith("; better than 12 of 19: not significantly better than random (rank-based p = 0.40).")
    assert below.summary.endswith("; better than none of 19: not significantly better than random (rank-based p = 1.00).")


def test_the_gain_over_random_masks_is_paired(model):
    examples, mask = examples_for("bert", count=12), np.ones(model.grid.shape, bool)
    mask[0] = False
    found = hp.random_baseline(model, examples, mask, n_random=3)
    gain, low, high = found.gain
    assert gain == pytest.approx(found.value - found.random_values.mean())
    assert low <= gain <= high
    assert "from their mean (95% bootstrap CI " in found.summary
    assert "n = 12); " in found.summary


@pytest.mark.parametrize("masks", [1, 2, 18])
def test_too_few_random_masks_are_not_significant(masks):
    few = RandomBaseline("agreement", 0.9, np.linspace(0.5, 0.8, masks))
    assert few.n_beaten == masks
    assert not few.better_than_random
    assert few.summary.endswith("but at least 19 random masks are needed for significance at the 5% level.")
    assert "significantly better" not in few.summary


def test_one_random_mask_is_described_in_the_singular():
    one = RandomBaseline("agreement", 0.9, np.array([0.5]))
    assert one.summary.startswith("Agreement 90.0% vs. 50.0% for 1 random mask of the same size; better than this one, but")


def test_invalid_baselines_raise(model):
    mask = np.ones(model.grid.shape, bool)
    with pytest.raises(hp.HeadPruneError, match="the mask must be Boolean with shape"):
        hp.random_baseline(model, examples_for("bert", count=2), mask[1:])
    with pytest.raises(hp.HeadPruneError, match="n_random must be at least 1, got 0"):
        hp.random_baseline(model, examples_for("bert", count=2), mask, n_random=0)
