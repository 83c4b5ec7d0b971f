"""Figures as functions of results: what is drawn where, without a browser."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import headprune_core as hp
from headprune_core.figures import style as figures_style
from headprune_core.figures.curves import _chance, curves_figure, describe_curves
from headprune_core.figures.data import length_histogram
from headprune_core.figures.heatmaps import describe_heatmap, score_heatmap
from headprune_core.figures.orthogonality import orthogonality_scatter, per_row_correlation
from headprune_core.figures.style import label, style


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).random((3, 5))


@pytest.fixture(scope="module")
def curves():
    lines = []
    for sparsity in (0.0, 0.5):
        for method, seed, accuracy in (("his", None, 0.8), ("random", 0, 0.6), ("random", 1, 0.7)):
            value = accuracy - sparsity / 10
            lines.append((method, sparsity, int(15 * sparsity), seed, value, value - 0.1, value + 0.1, 1.0, 0.9, 0.9))
    shares = ["accuracy", "accuracy_low", "accuracy_high", "loss", "agreement", "correlation"]
    names = ["method", "sparsity", "heads_pruned", "seed", *shares]
    return pd.DataFrame(lines, columns=names).astype({"seed": "Int64"})


def test_every_cell_of_a_heatmap_can_be_clicked(scores):
    figure = score_heatmap(scores, "HIS", [""] * scores.size)
    picture, targets = figure.data
    np.testing.assert_array_equal(picture.z, scores)
    assert [tuple(place) for place in targets.customdata] == list(np.ndindex(scores.shape))
    assert [(y, x) for x, y in zip(targets.x, targets.y, strict=True)] == list(np.ndindex(scores.shape))


def test_the_first_layer_is_on_top_and_the_chosen_head_is_framed(scores):
    figure = score_heatmap(scores, "HIS", [""] * scores.size, selected=(2, 1))
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    frame = figure.layout.shapes[-1]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, 1.5, 2.5)


def test_a_heatmap_is_told_as_text():
    values = np.zeros((2, 3))
    values[1, 2], values[0, 1] = 5.0, -1.0
    words = describe_heatmap(values, "HIS")
    assert "highest at layer 1, head 2" in words
    assert "lowest at layer 0, head 1" in words


def test_the_scatter_has_a_point_for_every_head(scores):
    check = hp.orthogonality(scores, scores[:, ::-1])
    points, line = orthogonality_scatter(scores, scores[:, ::-1], check).data
    assert len(points.x) == scores.size
    assert line.name == f"Linear fit (Pearson r = {check.pearson:.2f})"


def test_constant_scores_have_no_line(scores):
    flat = np.zeros_like(scores)
    assert len(orthogonality_scatter(flat, scores, hp.orthogonality(flat, scores)).data) == 1


def test_curves_lie_over_the_random_range(curves):
    envelope, mean, his = curves_figure(curves).data
    assert envelope.fill == "toself"
    np.testing.assert_allclose(sorted(envelope.y), [0.55, 0.6, 0.65, 0.7])
    np.testing.assert_allclose(mean.y, [0.65, 0.6])
    assert his.name == "HIS"
    np.testing.assert_allclose(his.error_y.array, 0.1)


def test_the_regimes_and_the_unpruned_model_are_marked(curves):
    figure = curves_figure(curves, chance=1 / 3)
    assert [note.text for note in figure.layout.annotations] == [
        "Redundancy", "Transition", "Specialization", "Unpruned", "Chance (1/3)",
    ]  # fmt: skip


def test_curves_are_told_as_text(curves):
    assert describe_curves(curves) == "Accuracy at 50% sparsity: HIS 75.0%, random 55.0% to 65.0%."


def test_every_criterion_has_a_style_of_its_own():
    named = [name for name in hp.CRITERIA if name != "random"]
    styles = [figures_style.style(name) for name in named]
    assert len(set(styles)) == len(named)
    assert len({symbol for *_, symbol in styles}) == len(named)


def test_hies_at_any_alpha_has_a_style_of_its_own():
    names = [f"{base}@{alpha / 20:g}" for base in ("hies", "hies_keep_high") for alpha in range(21)]
    styles = [style(name) for name in [*names, *(name for name in hp.CRITERIA if name != "random")]]
    assert len(set(styles)) == len(styles)
    assert len({style(name)[0] for name in names}) == len(names)
    assert len({style(name)[1:] for name in names[:21]}) == 21
    for color, dash, symbol in styles:
        go.Scatter(line={"color": color, "dash": dash}, marker={"symbol": f"{symbol}-open"})


def test_what_is_no_criterion_is_drawn_and_called_by_its_name():
    assert style("Mine") == style("hies at home")
    assert label("Mine") == "Mine"
    assert label("hies@0.3") == "HIES \N{GREEK SMALL LETTER ALPHA} 0.3"


def test_the_end_of_the_models_positions_is_shown_when_it_is_near():
    assert len(length_histogram([400, 500], 512).layout.shapes) == 1
    assert len(length_histogram([10, 20], 512).layout.shapes) == 0


def test_rows_of_an_encoder_decoder_are_called_by_their_labels(scores):
    labels = ["encoder 0", "decoder 0", "cross 0"]
    figure = score_heatmap(scores, "HIS", [""] * scores.size, labels=labels)
    assert list(figure.layout.yaxis.ticktext) == labels
    assert list(figure.layout.yaxis.tickvals) == [0, 1, 2]
    top = np.unravel_index(scores.argmax(), scores.shape)
    assert f"highest at {labels[top[0]]}, head {top[1]}" in describe_heatmap(scores, "HIS", labels)


def test_numbered_rows_stay_as_they_are(scores):
    numbers = ["0", "1", "2"]
    plain, labeled = (score_heatmap(scores, "HIS", [""] * scores.size, labels=names) for names in (None, numbers))
    assert plain == labeled
    assert describe_heatmap(scores, "HIS") == describe_heatmap(scores, "HIS", numbers)


def test_many_layers_fit_a_screen_and_no_click_target_covers_two_cells():
    values = np.random.default_rng(0).random((30, 9))
    figure = score_heatmap(values, "HIS", [""] * values.size)
    assert figure.layout.height < 600
    assert figure.data[1].marker.size <= (figure.layout.height - 92) / 30


def titles(figure):
    """Axis, legend and color-bar titles of a figure."""
    axes = [figure.layout.xaxis.title.text, figure.layout.yaxis.title.text]
    names = [trace.name for trace in figure.data if trace.name]
    bars = [trace.colorbar.title.text for trace in figure.data if trace.type == "heatmap"]
    return [text for text in (*axes, *names, *bars) if text]


def test_titles_start_with_a_capital(scores, curves):
    check = hp.orthogonality(scores, scores[:, ::-1])
    figures = (
        score_heatmap(scores, "HIS", [""] * scores.size),
        curves_figure(curves),
        curves_figure(curves, "correlation"),
        orthogonality_scatter(scores, scores[:, ::-1], check),
        per_row_correlation(check),
        length_histogram([10, 20]),
    )
    for figure in figures:
        assert len(titles(figure)) >= 2
        assert all(text[0].isupper() for text in titles(figure))


def test_shares_have_percent_ticks_and_losses_have_none(curves):
    assert curves_figure(curves).layout.yaxis.tickformat.endswith("p")
    assert curves_figure(curves, "loss").layout.yaxis.tickformat is None


@pytest.mark.parametrize(("chance", "text"), [(1 / 3, "1/3"), (0.5, "1/2"), (0.4, "40.0%"), (1 / 7, "1/7")])
def test_chance_is_a_fraction_if_classes_are_balanced(chance, text):
    assert _chance(chance) == text


def test_both_bounds_of_redundancy_are_labeled(scores):
    figure = per_row_correlation(hp.orthogonality(scores, scores[:, ::-1]))
    assert [note.x for note in figure.layout.annotations] == [-0.7, 0.7]
