"""Successive halving: against a plain loop over examples, and against the full search."""

import numpy as np
import pytest
from helpers.tiny_models import examples_for, random_examples, tiny

import headprune_core as hp
from headprune_core.alpha_choice.successive_halving import elimination, nested_order, pairs_run, schedule


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def examples():
    return random_examples(count=24, seed=1, longest=6)


@pytest.fixture(scope="module")
def path():
    return hp.alpha_path(*np.random.default_rng(0).lognormal(size=(2, 3, 4)), 0.5)


@pytest.fixture(scope="module")
def full(model, examples, path):
    return hp.alpha_accuracy(model, examples, path, n_random=0)


def test_schedules_by_hand():
    assert schedule(24, 960) == [(24, 120), (12, 240), (6, 480), (3, 960)]
    assert schedule(4, 100) == [(4, 100)]
    assert schedule(9, 100, last=1, first=10) == [(9, 10), (5, 13), (3, 25), (2, 50), (1, 100)]
    assert schedule(9, 20, first=32) == [(9, 20), (5, 20), (3, 20)]
    assert pairs_run(schedule(24, 960)) == 24 * 120 + 12 * 120 + 6 * 240 + 3 * 480


def plain_loop(right, widths, last, first):
    """Successive halving as one would write it down: whole means over the first texts, sorted explicitly."""
    alive, texts, history = list(range(len(right))), right.shape[1], []
    counts = [len(alive)]
    while counts[-1] > last:
        counts.append((counts[-1] + 1) // 2)
    for place, count in enumerate(counts):
        assert count == len(alive)
        seen = min(texts, max(first, -(-texts // 2 ** (len(counts) - 1 - place))))
        scored = {mask: sum(bool(x) for x in right[mask, :seen]) for mask in alive}
        history.append((list(alive), seen, [scored[m] / seen for m in alive]))
        ranked = sorted(alive, key=lambda m: (-scored[m], -widths[m], m))
        alive = sorted(ranked[: counts[place + 1]] if place + 1 < len(counts) else ranked[:1])
    return history, alive[0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("masks", "last", "first"), [(23, 4, 8), (16, 1, 4), (5, 2, 64), (3, 4, 8)])
def test_elimination_is_a_plain_loop(seed, masks, last, first):
    generator = np.random.default_rng(seed)
    right = generator.random((masks, 50)) < 0.7  # few texts: many ties
    widths = generator.choice([0.1, 0.2], masks)
    history, winner = plain_loop(right, widths, last, first)
    plan = schedule(masks, 50, last=last, first=first)
    rounds = list(elimination(lambda alive, start, stop: right[alive, start:stop], widths, plan))
    assert [(r.masks.tolist(), r.texts) for r in rounds] == [(alive, seen) for alive, seen, _ in history]
    for one, (_, _, values) in zip(rounds, history, strict=True):
        assert one.values.tolist() == pytest.approx(values)
    final = rounds[-1]
    best = final.values == final.values.max()
    assert winner in final.masks[best]


@pytest.mark.slow
def test_no_mask_is_evaluated_twice_on_one_example(model, examples, path, runs):
    search = hp.successive_halving(model, examples, path, last=2, first=3, batch_size=1)
    before, expected = 0, 0
    for one in search.rounds:
        expected += (len(one.masks) + 1) * (one.texts - before)  # the unpruned model is run beside them
        before = one.texts
    assert len(search.rounds) > 2
    assert len(runs) == expected == search.pairs + len(examples)
    assert search.share == search.pairs / search.all_pairs < 0.7
    assert search.frame.texts.is_monotonic_increasing
    assert search.frame.kept.tolist() == [*(len(one.masks) for one in search.rounds[1:]), 1]


@pytest.mark.parametrize("by", ["accuracy", "agreement"])
def test_the_last_masks_have_the_values_of_the_full_search(model, examples, path, full, by):
    search = hp.successive_halving(model, examples, path, by=by, first=6)
    values = getattr(full, by)[full.first]
    last = search.rounds[-1]
    assert last.texts == len(examples)
    np.testing.assert_allclose(last.values, values[last.masks])
    assert search.value == pytest.approx(values[search.mask]) == pytest.approx(last.values.max())
    assert search.gap(full) == pytest.approx(values.max() - search.value)
    part = next(part for part in path if part.low < search.alpha < part.high)
    np.testing.assert_array_equal(part.mask, full.masks[search.mask])


def test_without_elimination_it_equals_the_full_search(model, examples, path, full):
    search, chosen = hp.successive_halving(model, examples, path, last=99), hp.recommend_alpha(full)
    assert (search.share, search.gap(full), len(search.rounds)) == (1.0, 0.0, 1)
    assert (search.mask, search.alpha, search.low, search.high) == (chosen.mask, chosen.alpha, chosen.low, chosen.high)


def test_a_much_better_mask_is_found_at_a_fraction_of_the_cost():
    generator, found, share = np.random.default_rng(0), 0, []
    for _ in range(50):
        right = generator.random((40, 1000)) < 0.7
        right[17] |= generator.random(1000) < 0.4
        order, plan = nested_order(None, 1000, seed=0), schedule(40, 1000)
        *_, last = elimination(lambda m, a, b, right=right, order=order: right[m][:, order[a:b]], np.ones(40), plan)
        found += last.masks[last.values.argmax()] == 17
        share.append(pairs_run(plan) / 40_000)
    assert found == 50
    assert max(share) < 0.2


def test_prefixes_are_stratified_by_class():
    classes = np.random.default_rng(0).choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
    order = nested_order(classes, 300, seed=1)
    assert sorted(order) == list(range(300))
    for count in (30, 60, 150):
        for name in "abc":
            assert (classes[order[:count]] == name).sum() == pytest.approx(count * (classes == name).mean(), abs=1.5)
    assert (order != nested_order(classes, 300, seed=2)).any()


def test_selection_is_by_agreement_without_labels_and_by_accuracy_for_tokens(model, examples, path):
    assert hp.successive_halving(model, examples.remove_columns("label"), path).by == "agreement"
    with pytest.raises(
        hp.HeadPruneError, match="by must be 'agreement', or 'accuracy' if the examples have labels, got 'accuracy'"
    ):
        hp.successive_halving(model, examples.remove_columns("label"), path, by="accuracy")
    tokens, texts = hp.PrunableModel(tiny("gpt2")), examples_for("gpt2", count=5)
    assert hp.successive_halving(tokens, texts, path).by == "accuracy"
    with pytest.raises(hp.HeadPruneError, match="per-example agreement is not available for token prediction"):
        hp.successive_halving(tokens, texts, path, by="agreement")


def test_progress_is_complete_and_the_cache_is_used_the_second_time(model, examples, path, tmp_path, runs):
    seen = []
    options = {"first": 6, "last": 2, "cache": hp.ResultCache(tmp_path)}
    first = hp.successive_halving(model, examples, path, **options, progress=lambda *report: seen.append(report))
    counted = len(runs)
    shares = [done / total for done, total, _ in seen]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    assert seen[0][2].startswith(f"Round 1 of {len(first.rounds)}: ")
    again = hp.successive_halving(model, examples, path, **options)
    assert len(runs) == counted
    assert again.alpha == first.alpha


def test_cancelling_keeps_the_finished_rounds(model, examples, path):
    def stop_in(number):
        def stop(done, total, note):
            if note.startswith(f"Round {number} "):
                raise hp.Cancelled("enough")

        with pytest.raises(hp.Cancelled) as stopped:
            hp.successive_halving(model, examples, path, first=3, last=2, progress=stop)
        return stopped.value.partial

    assert stop_in(1) is None
    partial = stop_in(2)
    assert len(partial.rounds) == 1
    assert partial.pairs == len(partial.rounds[0].masks) * partial.rounds[0].texts
    assert partial.value == partial.rounds[0].values.max()


def test_invalid_searches_raise(model, examples, path, full):
    with pytest.raises(hp.HeadPruneError, match="must be at least 1, got 0 intervals, last 4, first 32"):
        hp.successive_halving(model, examples, [])
    with pytest.raises(hp.HeadPruneError, match=r"by must be .*, got 'loss'"):
        hp.successive_halving(model, examples, path, by="loss")
    search = hp.successive_halving(model, examples, path, first=6)
    short = hp.alpha_accuracy(model, examples, path[:1], n_random=0)
    if search.mask:
        with pytest.raises(hp.HeadPruneError, match="same path, got one with 1 masks"):
            search.gap(short)
