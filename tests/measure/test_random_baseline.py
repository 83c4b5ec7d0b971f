"""The random control of one mask: as many heads, the same examples, every number against evaluate_masks."""

import numpy as np
import pytest
from helpers.tiny_models import examples_for, tiny

import headprune_core as hp
from headprune_core.measure.random_baseline import RandomBaseline


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


def test_a_masks_value_is_that_of_evaluate_masks_and_random_masks_are_as_sparse(model):
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


def test_heads_that_are_gone_are_not_drawn_again(model):
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


def test_the_verdict_is_said():
    spread = np.linspace(0.5, 0.8, 19)
    above, within, below = (RandomBaseline("accuracy", value, spread) for value in (0.9, 0.7, 0.5))
    assert (above.n_beaten, within.n_beaten, below.n_beaten) == (19, 12, 0)
    assert (above.better_than_chance, within.better_than_chance, below.better_than_chance) == (True, False, False)
    assert (
        "19 random choices of as many heads give accuracy 50.0% to 80.0% (mean 65.0%); this one gives 90.0%" in above.words
    )
    assert "better than chance" in above.words
    assert "more than 12 of them: this choice of heads is not shown to be better" in within.words
    assert "no better than chance" in below.words


def test_too_few_random_masks_show_nothing():
    few = RandomBaseline("agreement", 0.9, np.array([0.5, 0.8]))
    assert few.n_beaten == 2
    assert not few.better_than_chance
    assert "more than any of them; 2 are too few to tell that from chance" in few.words
    assert "1 random choice of as many heads gives agreement" in RandomBaseline("agreement", 0.9, np.array([0.5])).words


def test_what_does_not_fit_is_refused(model):
    mask = np.ones(model.grid.shape, bool)
    with pytest.raises(hp.HeadPruneError, match="the mask has shape"):
        hp.random_baseline(model, examples_for("bert", count=2), mask[1:])
    with pytest.raises(hp.HeadPruneError, match="at least 1"):
        hp.random_baseline(model, examples_for("bert", count=2), mask, n_random=0)
