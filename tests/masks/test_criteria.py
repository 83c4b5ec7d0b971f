"""The registry of criteria: what each removes first, and adding one."""

import numpy as np
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.masks.criteria import get_criterion, method_label


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


def test_criteria_need_what_they_say_and_no_more(scores):
    for name, criterion in hp.CRITERIA.items():
        assert criterion.name == name
        assert criterion.random == (name == "random")
        assert bool(criterion.needs) == (criterion.produced_by is None and not criterion.random)
        if criterion.produced_by is None:
            alone = hp.HeadScores(scores.grid, {metric: scores.per_example[metric] for metric in criterion.needs})
            assert criterion.rank(alone, 0.5, np.random.default_rng(0)).shape == (3, 4)


def test_hies_high_is_hies_turned_round(scores):
    rank = hp.CRITERIA["hies_keep_high"].rank
    np.testing.assert_array_equal(rank(scores, 0.3, None), hp.hies(scores.his, scores.ae, 0.3, entropy_direction="high"))
    np.testing.assert_array_equal(rank(scores, 1.0, None), scores.hies(1.0))


@pytest.mark.parametrize(
    ("name", "produced_by"),
    [
        ("greedy_gnorm", r"greedy_gnorm\(model, examples\)\.ranking"),
        ("inverse_greedy_gnorm", r"greedy_gnorm\(model, examples, inverse=True\)\.ranking"),
        ("leave_one_out", r"leave_one_out\(model, examples\)\.loss_change"),
        ("custom", r"read_ranking\(file, model\.grid\)"),
    ],
)
def test_a_given_criterion_says_what_makes_its_ranking(scores, name, produced_by):
    with pytest.raises(hp.HeadPruneError, match=f"the ranking of {name!r} was not given; expected .* made by {produced_by}"):
        get_criterion(name).rank(scores, 0.5, None)


@pytest.mark.parametrize(("name", "direction"), [("hies", "low"), ("hies_keep_high", "high")])
def test_hies_may_have_an_alpha_of_its_own(scores, name, direction):
    found = get_criterion(f"{name}@0.25")
    assert found.name == f"{name}@0.25"
    assert found.label == f"{hp.CRITERIA[name].label} \N{GREEK SMALL LETTER ALPHA} 0.25"
    assert found.note.endswith("mixed by alpha 0.25")
    assert (found.needs, found.random, found.produced_by) == (("his", "ae"), False, None)
    expected = scores.hies(0.25, entropy_direction=direction)
    np.testing.assert_array_equal(found.rank(scores, 0.9, None), expected)
    assert f"{name}@0.25" not in hp.CRITERIA


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hies@2", "'hies@2' has alpha '2'; expected a number from 0 to 1, as in hies@0.25"),
        ("hies@-0.1", "has alpha '-0.1'"),
        ("hies@", "has alpha ''"),
        ("hies@nan", "has alpha 'nan'"),
        ("hies_keep_high@much", "has alpha 'much'"),
        ("hies@0.1@0.2", "has alpha '0.1@0.2'"),
        ("his@0.5", "'his@0.5' gives his an alpha; expected one of hies, hies_keep_high before the @"),
        ("magic@0.5", "there is no criterion 'magic@0.5'; expected one of his"),
    ],
)
def test_an_alpha_that_cannot_be_is_refused(name, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        get_criterion(name)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("his", "HIS"),
        ("greedy_gnorm", "Greedy-Gnorm"),
        ("hies@0.5", "HIES \N{GREEK SMALL LETTER ALPHA} 0.5"),
        ("hies_keep_high@1", "HIES high \N{GREEK SMALL LETTER ALPHA} 1"),
        ("hies@9", "hies@9"),
        ("Mine, by hand", "Mine, by hand"),
    ],
)
def test_every_method_has_a_label(name, label):
    assert method_label(name) == label


def test_a_new_criterion_is_used_like_the_others(scores, monkeypatch):
    monkeypatch.setattr("headprune_core.masks.criteria.CRITERIA", dict(hp.CRITERIA))

    @hp.criterion("by_number", "By number", ("his",), "removes heads in the order of their numbers")
    def by_number(scores, alpha, generator):
        return np.arange(12.0).reshape(scores.grid.shape)

    assert get_criterion("by_number").rank(scores, 0.5, None)[2, 3] == 11
    assert get_criterion("by_number").label == "By number"


def test_an_unknown_criterion_is_refused():
    with pytest.raises(
        hp.HeadPruneError, match="there is no criterion 'magic'; expected one of his, hies, hies_keep_high, gnorm"
    ):
        get_criterion("magic")
