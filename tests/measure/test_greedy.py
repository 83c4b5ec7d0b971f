"""Greedy-Gnorm: against a slow reference, step by step, and invariants of trajectories."""

from functools import cache

import numpy as np
import pytest
from helpers.assert_equal import same
from helpers.reference_greedy import mask_head, reference_greedy, reference_shift
from helpers.tiny_models import EVERYTHING, FAMILIES, examples_for, random_examples, tiny
from scipy.stats import kendalltau

import headprune_core as hp
from headprune_core.data.measures import wilson
from headprune_core.measure.greedy import STEPS_PER_EVALUATION

KINDS = ("bert", "albert", "llama", "gpt2", "t5", "modernbert")
MEASURES = ("accuracy", "accuracy_low", "accuracy_high", "agreement")
WAYS = {
    "one by one": {},
    "three a step": {"heads_per_step": 3},
    "inverse": {"inverse": True},
    "inverse, three a step": {"inverse": True, "heads_per_step": 3},
    "by the loss": {"objective": "loss"},
    "inverse, by the loss": {"objective": "loss", "inverse": True},
}


def of(family, **options):
    """A run over four examples, by default until no head is left."""
    return hp.greedy_gnorm(wrapped(family), examples_for(family, count=4), **options)


@cache
def wrapped(family):
    return hp.PrunableModel(tiny(family))


def answered():
    """Texts that the whole model answers right, but for two: its accuracy has room to fall, and falls."""
    texts = random_examples(count=16, seed=1).remove_columns("label")
    answers = hp.evaluate_masks(wrapped("bert"), texts, np.ones((1, 3, 4), bool)).logits[0].argmax(-1)
    answers[:2] = (answers[:2] + 1) % 3
    return texts.add_column("label", answers.tolist())


EVALUATION = answered()


@pytest.fixture(scope="module")
def model():
    return wrapped("bert")


@pytest.fixture(scope="module")
def whole():
    return of("bert", evaluation=EVALUATION)


def same_steps(part, whole):
    """Whether `part` is the beginning of `whole`, to the last bit; accuracy, some steps measured at once, may lag."""
    n, measured = part.steps, len(part.accuracy)
    return (
        len(part.scores) == n
        and n - STEPS_PER_EVALUATION <= measured <= n + 1
        and part.order == whole.order[: n * whole.heads_per_step]
        and same(list(part.scores), list(whole.scores[:n]))
        and all(same(getattr(part, name), getattr(whole, name)[:measured]) for name in MEASURES)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "way"),
    [(family, way) for family in KINDS for way in WAYS if EVERYTHING or family == "bert" or way in list(WAYS)[::4]],
)
def test_order_and_scores_equal_the_reference(family, way):
    expected = reference_greedy(tiny(family), family, examples_for(family, count=4), **WAYS[way])
    assert expected.margin > 2e-4  # else the order would be a matter of rounding
    found = of(family, **WAYS[way])
    assert found.order == expected.order
    assert len(found.scores) == len(expected.scores)
    for mine, reference in zip(found.scores, expected.scores, strict=True):
        assert mine.dtype == np.float64
        # nan where a head is gone, in both; exactly 0 where nothing that is left reads a head
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-12 * np.nanmax(reference))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_the_batch_size_changes_no_order(batch_size):
    found, whole = of("bert", batch_size=batch_size), of("bert")
    assert found.order == whole.order
    np.testing.assert_allclose(found.scores, whole.scores, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_the_first_scores_are_the_static_ones(family):
    static = hp.score_heads(wrapped(family), examples_for(family, count=4), metrics=("gnorm",)).gnorm
    np.testing.assert_allclose(of(family, steps=1).scores[0], static, rtol=1e-5)


def test_zeroed_heads_are_pruned_first_and_last_in_the_inverse():
    bare = tiny("bert")
    for head in ((2, 1), (0, 3), (1, 0)):
        mask_head(bare, FAMILIES["bert"], *head)
    bare, examples = hp.PrunableModel(bare), random_examples(count=4)
    assert hp.greedy_gnorm(bare, examples, steps=3).order == [(0, 3), (1, 0), (2, 1)]
    assert hp.greedy_gnorm(bare, examples, inverse=True).order[-3:] == [(0, 3), (1, 0), (2, 1)]


def test_bfloat16_gives_a_similar_ranking():
    low, full = of("bert", steps=1, dtype="bfloat16").scores[0], of("bert", steps=1).scores[0]
    assert (low != full).any()
    assert kendalltau(low.ravel(), full.ravel()).statistic > 0.8
    assert same(of("bert", steps=1, dtype="float32").scores[0], full)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "albert", "llama", "t5"])
@pytest.mark.parametrize("heads_per_step", [1, 3])
def test_measures_by_step_are_those_of_the_masks(family, heads_per_step):
    examples = examples_for(family, count=7, seed=3)
    found = of(family, evaluation=examples, heads_per_step=heads_per_step)
    masks = [found.mask(n) for n in range(found.steps + 1)]
    expected = hp.evaluate_masks(wrapped(family), examples, masks)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)
    np.testing.assert_array_equal(found.agreement, expected.agreement)
    intervals = wilson(expected.accuracy * expected.trials, expected.trials)
    np.testing.assert_allclose([found.accuracy_low, found.accuracy_high], intervals)


@pytest.mark.slow
def test_without_labels_agreement_is_used(whole):
    bare = of("bert", evaluation=EVALUATION.remove_columns("label"))
    assert np.isnan(bare.accuracy).all()
    assert len(bare.accuracy) == 13
    np.testing.assert_array_equal(bare.agreement, whole.agreement)


def test_without_evaluation_examples_nothing_is_evaluated():
    found = of("bert", steps=2)
    assert [len(getattr(found, name)) for name in MEASURES] == [0] * 4


@pytest.mark.parametrize(("heads_per_step", "steps", "removed"), [(1, 5, 5), (3, 2, 6), (12, 1, 12), (1, None, 12)])
def test_the_budget_is_counted_in_steps(heads_per_step, steps, removed):
    found = of("bert", heads_per_step=heads_per_step, steps=steps, evaluation=EVALUATION)
    assert found.steps == len(found.scores) == (steps or 12)
    assert len(found.order) == len(set(found.order)) == removed
    assert len(found.accuracy) == found.steps + 1
    for n in range(found.steps + 1):
        mask = found.mask(n)
        assert mask.dtype == bool
        gone = {tuple(head) for head in np.argwhere(~mask).tolist()}
        assert gone == set(found.order[: n * heads_per_step])
    for n, scores in enumerate(found.scores):
        np.testing.assert_array_equal(np.isnan(scores), ~found.mask(n))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("steps", [1, 5, None])
def test_the_ranking_removes_heads_in_the_same_order(inverse, steps):
    found = of("bert", inverse=inverse, steps=steps)
    assert np.isfinite(found.ranking).all()
    for n in range(found.steps + 1):
        np.testing.assert_array_equal(hp.prune_mask(found.ranking, n / 12), found.mask(n))
    # those that were never removed come after, the one that the last scores would remove next first
    stayed = np.argwhere(found.mask(found.steps))
    last = np.array([found.scores[-1][tuple(head)] for head in stayed])
    expected = stayed[np.argsort(-last if inverse else last, kind="stable")]
    order = np.argsort(found.ranking, axis=None, kind="stable")[len(found.order) :]
    np.testing.assert_array_equal(order, np.ravel_multi_index(expected.T, (3, 4)))


def test_the_frame_has_one_row_per_head(whole):
    frame = of("bert", evaluation=EVALUATION, heads_per_step=3).to_frame()
    assert {"step", "row", "head", "score", "accuracy"} <= set(frame.columns)
    assert frame.step.tolist() == np.repeat([1, 2, 3, 4], 3).tolist()
    frame = whole.to_frame()
    assert list(zip(frame.row, frame["head"], strict=True)) == whole.order
    np.testing.assert_array_equal(frame.accuracy, whole.accuracy[frame.step])
    scores = [whole.scores[n][head] for n, head in enumerate(whole.order)]
    np.testing.assert_array_equal(frame.score, scores)


@pytest.mark.slow
def test_a_floor_stops_at_the_first_step_below_it(whole):
    """Of every floor that lies between two accuracies; that step is the last."""
    values = np.unique(whole.accuracy)
    floors = [floor for floor in (values[1:] + values[:-1]) / 2 if floor < whole.accuracy[0]]
    assert len(floors) >= 2
    for floor in floors:
        found = of("bert", evaluation=EVALUATION, accuracy_floor=floor)
        assert found.steps == np.flatnonzero(whole.accuracy < floor)[0]
        assert same_steps(found, whole)
    assert of("bert", evaluation=EVALUATION, accuracy_floor=0.0).steps == 12


def test_the_inflection_is_a_step_of_the_trajectory(whole):
    assert whole.inflection is None or 0 <= whole.inflection <= whole.steps
    stopped = of("bert", evaluation=EVALUATION, stop_at_inflection=True)
    assert same_steps(stopped, whole)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cancelling_keeps_the_steps_that_were_done(model, whole, share):
    examples, seen = random_examples(count=4), []
    hp.greedy_gnorm(model, examples, evaluation=EVALUATION, progress=lambda *report: seen.append(report))
    left = int(share * len(seen))

    def stop(done, total, note):
        nonlocal left
        left -= 1
        if left == 0:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled, match="enough") as stopped:
        hp.greedy_gnorm(model, examples, evaluation=EVALUATION, progress=stop)
    part = stopped.value.partial
    assert same_steps(part, whole)
    assert 0 < part.steps < (12 if share < 0.9 else 13)
    assert share < 0.9 or len(part.accuracy) > STEPS_PER_EVALUATION


def test_cancelling_before_the_first_step_keeps_nothing(model):
    def stop(done, total, note):
        raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as stopped:
        hp.greedy_gnorm(model, random_examples(count=4), progress=stop)
    assert stopped.value.partial is None or stopped.value.partial.steps == 0


def test_progress_increases_from_0_to_1():
    shares = []
    of("bert", steps=5, evaluation=EVALUATION, progress=lambda done, total, note: shares.append(done / total))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_every_step_is_reported(whole):
    parts = []
    found = of("bert", evaluation=EVALUATION, on_partial=parts.append)
    assert [part.steps for part in parts if part.steps] == list(range(1, 13))
    assert all(same_steps(part, whole) for part in parts)
    assert same(parts[-1], found)


@pytest.mark.slow
def test_a_cancelled_run_resumes_from_the_cache(model, whole, tmp_path, runs):
    examples, options = random_examples(count=4), {"evaluation": EVALUATION}
    of("bert", **options)
    alone = len(runs)

    def stop(done, total, note):
        if done > total / 2:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled):
        hp.greedy_gnorm(model, examples, **options, cache=hp.ResultCache(tmp_path), progress=stop)
    runs.clear()
    found = hp.greedy_gnorm(model, examples, **options, cache=hp.ResultCache(tmp_path))
    assert same(found, whole)
    assert 0 < len(runs) < 0.75 * alone


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 13},
        {"steps": 5, "heads_per_step": 3},
        {"heads_per_step": 0},
        {"heads_per_step": 13},
        {"steps": -1},
        {"objective": "magic"},
        {"accuracy_floor": 0.5},
        {"stop_at_inflection": True},
    ],
    ids=str,
)
def test_invalid_arguments_raise(options):
    """A floor and an inflection need texts to measure accuracy on."""
    with pytest.raises(hp.HeadPruneError) as refused:
        of("bert", **options)
    assert not isinstance(refused.value, hp.Cancelled)
    assert "\n" not in str(refused.value)


def test_the_loss_needs_labels(model):
    with pytest.raises(hp.HeadPruneError, match="label"):
        hp.greedy_gnorm(model, random_examples(count=4).remove_columns("label"), objective="loss")
    assert hp.greedy_gnorm(model, random_examples(count=4).remove_columns("label"), steps=1).steps == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "albert", "llama", "gpt2", "modernbert"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_the_shift_of_query_gradients_when_a_head_is_pruned(family, batch_size):
    model, examples = wrapped(family), examples_for(family, count=4)
    mask = np.ones(model.grid.shape, bool)
    for head, gone in (((0, 1), []), ((model.grid.shape[0] - 1, 0), [(0, 2), (0, 3)])):
        mask[:] = True
        mask[tuple(np.array(gone, int).reshape(-1, 2).T)] = False
        expected = reference_shift(tiny(family), family, examples, head, mask)
        found = hp.gradient_shift(model, examples, head, mask=mask if gone else None, batch_size=batch_size)
        assert found.shape == expected.shape == (model.grid.shape[0], 4, 4)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_pruning_a_zeroed_head_shifts_nothing():
    bare = tiny("bert")
    mask_head(bare, FAMILIES["bert"], 1, 2)
    found = hp.gradient_shift(hp.PrunableModel(bare), random_examples(count=4), (1, 2))
    np.testing.assert_array_equal(found, np.zeros((3, 4, 4)))


@pytest.mark.parametrize("head", [(3, 0), (0, 4), (-1, 0)])
def test_a_head_that_does_not_exist_raises(model, head):
    with pytest.raises(hp.HeadPruneError):
        hp.gradient_shift(model, random_examples(count=4), head)
