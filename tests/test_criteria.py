"""The registry of criteria: what each removes first, and adding one."""

import numpy as np
import pytest
from tiny import random_examples, tiny

import headprune_core as hp
from headprune_core.criteria import find_criterion


@pytest.fixture(scope="module")
def scores():
    return hp.score_heads(hp.PrunableModel(tiny("bert")), random_examples())


def first_to_go(name, scores, alpha=0.5, seed=0):
    """(row, head) of the head that a criterion removes first."""
    ranking = hp.CRITERIA[name].rank(scores, alpha, np.random.default_rng(seed))
    return tuple(int(i) for i in np.argwhere(~hp.prune_mask(ranking, 1 / 12))[0])


def place(find, values):
    return tuple(int(i) for i in np.unravel_index(find(values), values.shape))


@pytest.mark.parametrize(
    ("name", "find", "metric"),
    [
        ("his", np.argmin, "his"),
        ("gnorm", np.argmin, "gnorm"),
        ("inverse_gnorm", np.argmax, "gnorm"),
        ("ae", np.argmax, "ae"),
        ("inverse_ae", np.argmin, "ae"),
    ],
)
def test_each_removes_what_it_says_first(scores, name, find, metric):
    assert first_to_go(name, scores) == place(find, getattr(scores, metric))


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_hies_removes_its_lowest_first(scores, alpha):
    assert first_to_go("hies", scores, alpha) == place(np.argmin, scores.hies(alpha))


def test_random_is_an_order_by_seed():
    scores = hp.HeadScores(hp.PrunableModel(tiny("bert")).grid, {})
    rank = hp.CRITERIA["random"].rank
    one, same, other = (rank(scores, 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert sorted(one.ravel()) == list(range(12))
    assert (one == same).all()
    assert (one != other).any()


def test_only_random_needs_no_metric(scores):
    for name, criterion in hp.CRITERIA.items():
        assert criterion.name == name
        assert criterion.random == (name == "random") == (not criterion.needs)
        alone = hp.HeadScores(scores.grid, {metric: scores.per_example[metric] for metric in criterion.needs})
        assert criterion.rank(alone, 0.5, np.random.default_rng(0)).shape == (3, 4)


def test_a_new_criterion_is_used_like_the_others(scores, monkeypatch):
    monkeypatch.setattr("headprune_core.criteria.CRITERIA", dict(hp.CRITERIA))

    @hp.criterion("by_number", "By number", ("his",), "removes heads in the order of their numbers")
    def by_number(scores, alpha, generator):
        return np.arange(12.0).reshape(scores.grid.shape)

    assert find_criterion("by_number").rank(scores, 0.5, None)[2, 3] == 11
    assert find_criterion("by_number").label == "By number"


def test_an_unknown_criterion_is_refused():
    with pytest.raises(hp.HeadPruneError, match="there is no criterion 'magic'; expected one of his, hies, gnorm"):
        find_criterion("magic")
