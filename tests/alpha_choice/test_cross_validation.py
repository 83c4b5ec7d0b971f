"""Cross-validated selection: against plain loops, and simulations with a known truth."""

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.alpha_choice.cross_validation import chosen_without, stratified_folds


@pytest.mark.parametrize(("texts", "folds"), [(103, 10), (20, 20), (7, 2), (64, 5)])
def test_folds_are_even_in_size_and_in_every_class(texts, folds):
    classes = np.random.default_rng(texts).choice(3, texts, p=[0.7, 0.2, 0.1])
    where = stratified_folds(classes, folds)
    sizes = np.bincount(where, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for one in np.unique(classes):
        counts = np.bincount(where[classes == one], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_folds_depend_on_the_seed_only():
    classes = np.arange(90) % 3
    first, again, other = (stratified_folds(classes, 5, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("folds", [1, 6])
def test_too_few_and_too_many_folds_raise(folds):
    with pytest.raises(hp.HeadPruneError, match=rf"folds must be between 2 and 5 \(the number of examples\), got {folds}"):
        stratified_folds(np.zeros(5), folds)


def test_selection_equals_a_plain_loop_over_examples():
    generator = np.random.default_rng(0)
    values = generator.random((6, 40)) < 0.7
    folds = generator.integers(0, 4, 40)
    found = chosen_without(values, folds, lambda means: int(np.argmax(means)))
    for text in range(40):
        others = [other for other in range(40) if folds[other] != folds[text]]
        shares = [sum(values[mask, other] for other in others) / len(others) for mask in range(6)]
        assert found[text] == shares.index(max(shares))


def test_the_best_of_equal_masks_is_biased_and_its_cross_validation_is_not():
    # thirty masks of accuracy 0.7: the best of them looks better on the texts that chose it, not on the others
    generator, naive, held = np.random.default_rng(1), [], []
    for seed in range(60):
        values = generator.random((30, 100)) < 0.7
        naive.append(values.mean(1).max())
        folds = stratified_folds(np.zeros(100, int), 10, seed=seed)
        chosen = chosen_without(values, folds, lambda means: int(np.argmax(means)))
        held.append(values[chosen, np.arange(100)].mean())
    assert np.mean(naive) > 0.78
    assert np.mean(held) == pytest.approx(0.7, abs=0.025)
