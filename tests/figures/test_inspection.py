"""Figures of one head: what is drawn, and the words for it."""

import numpy as np
import pytest

from headprune_core.figures.inspection import (
    describe_distance,
    describe_gate_dial,
    distance_figure,
    entropy_by_position_figure,
    gate_dial_figure,
    row_entropies,
)
from headprune_core.inspection.distance_kernel import BINS, bin_edges
from headprune_core.inspection.gate_dial import GateDial


def dial() -> GateDial:
    return GateDial(
        0, 1, np.array([1.0, 0.5, 0.0]), np.array([[1.0, 3.0], [1.5, 3.5], [2.5, 4.0]]), np.array([-1, -0.5]), "loss"
    )


def test_the_dial_shows_the_mean_and_the_tangent_at_gate_1():
    figure = gate_dial_figure(dial(), "cross-entropy loss (nats)")
    _, mean, tangent = figure.data
    assert list(mean.y) == [2.0, 2.5, 3.25]
    assert list(tangent.y) == [2.0, 2.375, 2.75]
    assert figure.layout.xaxis.autorange == "reversed"
    assert describe_gate_dial(dial()) == (
        "From gate 1 to 0 the mean loss changes by +1.2500; the tangent at gate 1 predicts +0.7500 (n = 2)."
    )


def test_examples_are_shifted_so_that_their_lines_begin_at_the_mean():
    examples = gate_dial_figure(dial(), "loss").data[0]
    assert [value for gate, value in zip(examples.x, examples.y, strict=True) if gate == 1.0] == [2.0, 2.0]


def test_the_distances_of_all_bins_are_named_without_a_gap():
    kernel = np.full(BINS, 1 / BINS)
    names = list(distance_figure(kernel).data[0].x)
    assert len(set(names)) == BINS
    numbers = [[int(part) for part in name.replace("−", "").replace("+", "").split(" to ")] for name in names]
    for edge, name, ends in zip(bin_edges(), names, numbers, strict=True):
        assert ends[0] == abs(edge)
        assert name.startswith("−") == (edge < 0)
    after = [ends for name, ends in zip(names, numbers, strict=True) if not name.startswith("−")]
    assert all(after[i][-1] + 1 == after[i + 1][0] for i in range(len(after) - 1))
    before = [ends for name, ends in zip(names, numbers, strict=True) if name.startswith("−")]
    assert all(before[i + 1][-1] + 1 == before[i][0] for i in range(len(before) - 1))


def test_only_distances_with_attention_are_drawn_and_the_largest_are_named():
    kernel = np.zeros(BINS)
    kernel[bin_edges().index(0)], kernel[bin_edges().index(2)], kernel[bin_edges().index(-1)] = 0.5, 0.3, 0.2
    assert list(distance_figure(kernel).data[0].x) == ["−1", "0", "1", "2"]
    assert describe_distance(kernel) == "Largest shares: 50% at distance 0, 30% at distance 2, 20% at distance −1."
    assert "cannot be compared" in describe_distance(np.full(BINS, np.nan))


def test_entropies_are_those_of_the_keys_with_attention():
    attention = np.array([[[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]])
    entropies = row_entropies(attention)
    np.testing.assert_allclose(entropies[0, 1:], 1.0)
    assert np.isnan(entropies[0, 0])
    skewed = row_entropies(np.array([0.9, 0.1]))
    assert skewed == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2))


def test_tokens_of_the_user_are_text_in_the_figure():
    figure = entropy_by_position_figure(np.ones((1, 2)), ["<b>x</b>", "y"], ["<i>head</i>"])
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert figure.data[0].name == "&lt;i&gt;head&lt;/i&gt;"
