"""The registry of criteria: lookup, fixed alphas, labels, external rankings, and registering a criterion."""

import numpy as np
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.masks.criteria import CRITERIA, WITH_ALPHA, get_criterion, method_label, parse_alpha


@pytest.fixture(scope="module")
def scores():
    return hp.score_heads(hp.PrunableModel(tiny("bert")), random_examples())


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_hies_prunes_its_lowest_first(scores, alpha):
    np.testing.assert_array_equal(CRITERIA["hies"].rank(scores, alpha, None), hp.hies(scores.his, scores.ae, alpha))


def test_the_random_ranking_is_determined_by_its_seed():
    scores = hp.HeadScores(hp.PrunableModel(tiny("bert")).grid, {})
    rank = hp.CRITERIA["random"].rank
    one, same, other = (rank(scores, 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert sorted(one.ravel()) == list(range(12))
    assert (one == same).all()
    assert (one != other).any()


def test_keeping_high_entropy_reverses_the_entropy_term_only(scores):
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
def test_an_external_criterion_names_the_call_that_produces_its_ranking(scores, name, produced_by):
    words = rf"{name!r} needs a ranking; pass rankings={{{name!r}: \.\.\.}}, produced by {produced_by}"
    with pytest.raises(hp.HeadPruneError, match=words):
        get_criterion(name).rank(scores, 0.5, None)


@pytest.mark.parametrize(("name", "direction"), [("hies", "low"), ("hies_keep_high", "high")])
def test_hies_may_have_a_fixed_alpha(scores, name, direction):
    found = get_criterion(f"{name}@0.25")
    assert name in WITH_ALPHA
    assert found.name == f"{name}@0.25"
    assert found.label == f"{hp.CRITERIA[name].label} \N{GREEK SMALL LETTER ALPHA} 0.25"
    assert found.note == f"{hp.CRITERIA[name].note} (alpha = 0.25)"
    assert (found.needs, found.random, found.produced_by) == (("his", "ae"), False, None)
    assert (found.needs_labels, found.cost, found.direction) == (True, "one backward pass", hp.CRITERIA[name].direction)
    expected = scores.hies(0.25, entropy_direction=direction)
    np.testing.assert_array_equal(found.rank(scores, 0.9, None), expected)
    assert f"{name}@0.25" not in hp.CRITERIA


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hies@2", "alpha in 'hies@2' must be between 0 and 1, as in hies@0.25, got '2'"),
        ("hies@-0.1", "got '-0.1'"),
        ("hies@", "got ''"),
        ("hies@nan", "got 'nan'"),
        ("hies_keep_high@much", "alpha in 'hies_keep_high@much' must be .* got 'much'"),
        ("hies@0.1@0.2", "got '0.1@0.2'"),
        ("his@0.5", "his has no alpha, got 'his@0.5'; only hies and hies_keep_high accept one"),
        ("magic@0.5", "unknown criterion 'magic@0.5'; choose one of his"),
    ],
)
def test_an_invalid_alpha_is_refused(name, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        get_criterion(name)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("his", "HIS"),
        ("greedy_gnorm", "Greedy-Gnorm"),
        ("leave_one_out", "Leave-one-out"),
        ("custom", "Custom"),
        ("hies@0.5", "HIES \N{GREEK SMALL LETTER ALPHA} 0.5"),
        ("hies_keep_high@1", "HIES (keep high entropy) \N{GREEK SMALL LETTER ALPHA} 1"),
        ("hies@9", "hies@9"),
        ("Mine, by hand", "Mine, by hand"),
    ],
)
def test_every_method_has_a_label(name, label):
    assert method_label(name) == label


@pytest.mark.parametrize(
    ("needs", "labels", "cost"),
    [(("his",), True, "one backward pass"), (("ae",), False, "forward passes only"), ((), False, "none")],
)
def test_a_registered_criterion_is_used_like_the_others(scores, monkeypatch, needs, labels, cost):
    monkeypatch.setattr("headprune_core.masks.criteria.CRITERIA", dict(hp.CRITERIA))

    @hp.register_criterion("by_number", "By number", needs, "prunes heads in the order of their numbers", paper="none")
    def by_number(scores, alpha, generator):
        return np.arange(12.0).reshape(scores.grid.shape)

    found = get_criterion("by_number")
    assert by_number(scores, 0.5, None)[0, 1] == 1
    assert found.rank(scores, 0.5, None)[2, 3] == 11
    assert method_label("by_number") == "By number"
    assert (found.needs, found.needs_labels, found.cost, found.direction) == (needs, labels, cost, "lowest value first")
    assert "by_number" not in hp.CRITERIA


def test_an_unknown_criterion_is_refused():
    with pytest.raises(hp.HeadPruneError, match="unknown criterion 'magic'; choose one of his, hies, hies_keep_high, gnorm"):
        get_criterion("magic")


@pytest.mark.parametrize(
    ("name", "alpha"), [("hies@0.25", 0.25), ("hies_keep_high@1", 1.0), ("hies", None), ("his", None), ("hies@9", None)]
)
def test_the_alpha_of_a_name_is_parsed(name, alpha):
    assert parse_alpha(name) == alpha
