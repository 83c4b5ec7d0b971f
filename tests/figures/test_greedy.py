"""Figures of a Greedy-Gnorm run: what is drawn at a step is what the run did."""

import numpy as np
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.figures.greedy import (
    describe_greedy_accuracy,
    describe_greedy_step,
    describe_shift,
    greedy_accuracy,
    greedy_map,
    shift_map,
)


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def run(model):
    return hp.greedy_gnorm(model, random_examples(count=3), evaluation=random_examples(count=9, seed=2))


@pytest.mark.parametrize("step", [0, 5, 11])
def test_the_map_shows_remaining_pruned_and_next_heads(model, run, step):
    figure = greedy_map(run, step, model.grid.row_labels)
    heat, crosses = figure.data
    drawn = np.array(heat.z, float)
    np.testing.assert_array_equal(np.isfinite(drawn), run.mask(step))
    np.testing.assert_allclose(10 ** drawn[run.mask(step)], run.scores[step][run.mask(step)])
    assert list(zip(crosses.y, crosses.x, strict=True)) == sorted(run.order[:step])
    (frame,) = figure.layout.shapes
    assert (frame.y0 + 0.5, frame.x0 + 0.5) == run.order[step]


def test_at_the_end_no_head_is_next(model, run):
    figure = greedy_map(run, 12, model.grid.row_labels)
    assert not figure.layout.shapes
    assert len(figure.data[1].x) == 12
    assert "The run ends here" in describe_greedy_step(run, 12, model.grid.row_labels)


def test_the_text_names_the_next_head_and_its_score(model, run):
    row, head = run.order[3]
    words = describe_greedy_step(run, 3, model.grid.row_labels)
    assert words.startswith("3 heads pruned, 9 remaining.")
    assert f"layer {row} head {head}" in words
    assert f"{run.scores[3][row, head]:.3g}" in words


def test_the_curve_is_the_runs_accuracy_with_its_interval(run):
    band, line, point = greedy_accuracy(run, 4).data
    np.testing.assert_array_equal(line.y, run.accuracy)
    np.testing.assert_array_equal(band.y, [*run.accuracy_high, *run.accuracy_low[::-1]])
    assert (point.x[0], point.y[0]) == (4, run.accuracy[4])
    assert f"{run.accuracy[4]:.1%}" in describe_greedy_accuracy(run, 4)


def test_without_labels_it_is_agreement(model):
    texts = random_examples(count=9, seed=2).remove_columns("label")
    bare = hp.greedy_gnorm(model, random_examples(count=3), evaluation=texts, steps=2)
    (line, _) = greedy_accuracy(bare, 1).data
    np.testing.assert_array_equal(line.y, bare.agreement)
    assert "agreement with the unpruned model" in describe_greedy_accuracy(bare, 1)


def test_a_step_that_is_not_measured_yet_is_said(model, run):
    assert "not been measured" in describe_greedy_accuracy(hp.greedy_gnorm(model, random_examples(count=3), steps=1), 1)


def test_a_shift_has_a_map_for_every_row_and_one_scale(model):
    change = hp.gradient_shift(model, random_examples(count=3), (1, 2))
    figure = shift_map(change, model.grid.row_labels)
    assert len(figure.data) == len(change)
    for heat, part in zip(figure.data, change, strict=True):
        np.testing.assert_array_equal(heat.z, part)
    assert figure.layout.coloraxis.cmax == -figure.layout.coloraxis.cmin == np.abs(change).max()
    assert "Pruning layer 1, head 2 changed" in describe_shift(change, (1, 2), model.grid.row_labels)
    assert "of no other head" in describe_shift(0 * change, (1, 2), model.grid.row_labels)
