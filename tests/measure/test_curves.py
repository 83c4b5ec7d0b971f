"""Curves of accuracy against sparsity: published intervals, random rankings, and partial results."""

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import random_examples, tiny
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.data.measures import wilson

COLUMNS = ["method", "sparsity", "heads_pruned", "seed", "accuracy", "accuracy_low", "accuracy_high"]
COLUMNS += ["loss", "agreement", "correlation", "examples", "trials"]
COLUMNS += [f"accuracy: LABEL_{c}" for c in range(3)]
COLUMNS += ["change", "change_low", "change_high", "change_p", "change_test", "gain", "gain_low", "gain_high"]
ALL = [name for name, criterion in hp.CRITERIA.items() if criterion.produced_by is None]


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def examples():
    return random_examples(count=12, seed=1)


@pytest.fixture(scope="module")
def scores(model):
    return hp.score_heads(model, random_examples())


@pytest.fixture(scope="module")
def curves(model, examples, scores):
    return hp.sparsity_curves(model, examples, scores, methods=ALL, sparsities=[0.0, 0.25, 0.5, 1.0], alpha=0.3, n_random=4)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_as_printed_by_newcombe_1998(successes, trials, low, high):
    assert wilson(successes, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilsons_interval_is_scipys(confidence):
    counts = np.arange(41)
    low, high = wilson(counts, 40, confidence)
    for count in counts:
        expected = binomtest(int(count), 40).proportion_ci(confidence, method="wilson")
        assert (low[count], high[count]) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high))


def test_columns_and_rows(curves):
    assert list(curves.columns) == COLUMNS
    assert len(curves) == 4 * (len(ALL) - 1 + 4)
    assert curves.heads_pruned.tolist() == (curves.sparsity * 12).astype(int).tolist()
    random = curves[curves.method == "random"]
    assert random.groupby("sparsity").seed.apply(list).tolist() == [[0, 1, 2, 3]] * 4
    assert curves[curves.method != "random"].seed.isna().all()


@pytest.mark.parametrize("method", ["his", "hies", "gnorm", "ae"])
@pytest.mark.parametrize("sparsity", [0.25, 0.5])
def test_a_row_is_the_evaluation_of_its_mask(curves, model, examples, scores, method, sparsity):
    ranking = {"his": scores.his, "hies": scores.hies(0.3), "gnorm": scores.gnorm, "ae": -scores.ae}[method]
    expected = hp.evaluate_masks(model, examples, [hp.prune_mask(ranking, sparsity)])
    line = curves[(curves.method == method) & (curves.sparsity == sparsity)].iloc[0]
    for measure in ("accuracy", "loss", "agreement", "correlation"):
        assert line[measure] == pytest.approx(getattr(expected, measure)[0])
    assert (line.accuracy_low, line.accuracy_high) == pytest.approx(np.ravel(wilson(12 * expected.accuracy, 12)))


def test_all_methods_are_equal_at_0_and_100_percent_sparsity(curves):
    for sparsity in (0.0, 1.0):
        ends = curves[curves.sparsity == sparsity]
        assert ends.loss.nunique() == ends.accuracy.nunique() == 1
    assert (curves[curves.sparsity == 0.0].agreement == 1).all()


def test_accuracy_lies_in_its_interval(curves):
    assert curves.accuracy.between(curves.accuracy_low, curves.accuracy_high).all()


def test_seeds_give_distinct_reproducible_rankings(curves, model, examples, scores):
    again = hp.sparsity_curves(model, examples, scores, methods=["random"], sparsities=[0.25], n_random=4)
    before = curves[(curves.method == "random") & (curves.sparsity == 0.25)]
    np.testing.assert_array_equal(again.loss, before.loss)
    assert again.loss.nunique() == 4


def test_sparsities_may_be_an_array(model, examples, scores):
    frame = hp.sparsity_curves(model, examples, scores, methods=("his",), sparsities=np.linspace(0, 0.5, 3))
    assert frame.sparsity.tolist() == [0.0, 0.25, 0.5]


def test_random_rankings_need_no_scores(model, examples):
    nothing = hp.HeadScores(model.grid, {})
    frame = hp.sparsity_curves(model, examples, nothing, methods=["random"], sparsities=[0.5], n_random=2)
    assert len(frame) == 2


def test_without_labels_there_is_agreement_but_no_accuracy(model, examples, scores):
    bare = examples.remove_columns("label")
    frame = hp.sparsity_curves(model, bare, scores, methods=["his"], sparsities=[0.5])
    assert frame[["accuracy", "accuracy_low", "accuracy_high", "loss"]].isna().all(axis=None)
    assert frame.agreement.notna().all()


def run(model, examples, scores, **options):
    return hp.sparsity_curves(model, examples, scores, **{"methods": ["his"], "sparsities": [0.5]} | options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": []}, "methods and sparsities must not be empty, got 0 and 1"),
        ({"sparsities": []}, "methods and sparsities must not be empty, got 1 and 0"),
        ({"methods": ["magic"]}, "unknown criterion 'magic'"),
        ({"methods": ["random"], "n_random": 0}, "n_random must be at least 1, got 0"),
        ({"sparsities": [1.5]}, "sparsity must be between 0 and 1, got 1.5"),
        ({"methods": ["hies"], "alpha": 2}, "alpha must be .* got 2"),
    ],
)
def test_invalid_options_raise(model, examples, scores, options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        run(model, examples, scores, **options)


def test_a_method_without_its_scores_raises(model, examples, scores):
    some = hp.HeadScores(scores.grid, {"ae": scores.per_example["ae"]})
    with pytest.raises(hp.HeadPruneError, match="'his' was not computed"):
        run(model, examples, some)


def test_progress_increases_from_0_to_1(model, examples, scores):
    shares, notes = [], []

    def watch(done, total, note):
        shares.append(done / total)
        notes.append(note)

    run(model, examples, scores, sparsities=[0.0, 0.25, 0.5], methods=["his", "ae"], progress=watch)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert set(notes) == {"Measuring accuracy"}


def test_partial_curves_have_every_point(model, examples, scores):
    parts = []
    options = {"methods": ["his", "random"], "sparsities": [0.0, 0.5], "n_random": 2, "batch_size": 3}
    whole = run(model, examples, scores, **options, on_partial=parts.append)
    assert [len(part) for part in parts] == [6] * len(parts)
    measured = [int(part.examples.iloc[0]) for part in parts]
    assert measured == sorted(set(measured))
    assert 0 < measured[0] < measured[-1] < 12 == whole.examples.iloc[0]


def test_cancelling_keeps_all_points_on_the_evaluated_examples(model, examples, scores):
    parts = []

    def stop(done, total, note):
        if len(parts) == 2:
            raise hp.Cancelled("enough")

    options = {"methods": ["his", "ae"], "sparsities": [0.0, 0.25, 0.5], "batch_size": 3}
    with pytest.raises(hp.Cancelled) as stopped:
        run(model, examples, scores, **options, progress=stop, on_partial=parts.append)
    pd.testing.assert_frame_equal(stopped.value.partial, parts[-1])
    assert 0 < parts[-1].examples.iloc[0] < 12


def test_cancelling_before_the_first_batch_keeps_nothing(model, examples, scores):
    def stop(done, total, note):
        raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as stopped:
        run(model, examples, scores, progress=stop)
    assert stopped.value.partial is None
