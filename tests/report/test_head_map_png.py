"""The head map as a PNG: read back pixel by pixel, every head has the expected state."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import headprune_core as hp
from headprune_core.report.head_map_png import head_map_png

BLUE = (0, 114, 178)


def opened(png):
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def blue(pixels):
    return np.abs(pixels - BLUE).sum(-1) < 40


def box(shape):
    """(top, bottom, left, right) of the heads' squares, found in a map that keeps them all; the legend is below."""
    full = blue(opened(head_map_png(np.ones(shape, bool))))[:-100]
    rows, columns = np.flatnonzero(full.any(1)), np.flatnonzero(full.any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def squares(pixels, shape):
    """(R, H) share of blue in each head's square."""
    top, bottom, left, right = box(shape)
    down = np.linspace(top, bottom, shape[0] + 1).round().astype(int)
    across = np.linspace(left, right, shape[1] + 1).round().astype(int)
    here = blue(pixels)
    return np.array([[here[a:b, c:d].mean() for c, d in pairwise(across)] for a, b in pairwise(down)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 12), (12, 12), (2, 3), (48, 8), (1, 5)])
def test_kept_heads_are_filled_and_removed_ones_are_open_each_in_its_place(shape):
    kept = np.random.default_rng(0).random(shape) < 0.5
    found = squares(opened(head_map_png(kept)), shape)
    assert (found[kept] > 0.6).all()
    assert (found[~kept] < 0.05).all()


def test_zeroed_heads_are_half_filled():
    kept = np.array([[1, 0, 0, 1], [0, 0, 1, 1]], bool)
    present = kept | np.array([[0, 1, 0, 0], [1, 1, 0, 0]], bool)
    pixels = opened(head_map_png(kept, None, present))
    found = squares(pixels, kept.shape)
    gated = present & ~kept
    assert ((found[gated] > 0.15) & (found[gated] < 0.6)).all()
    assert (found[kept] > 0.6).all()
    assert (found[~present] < 0.05).all()


def test_removed_heads_differ_in_more_than_color():
    """In gray, an open square has dark in its middle and light around it."""
    gray = opened(head_map_png(np.array([[True, False]]))).mean(-1)
    top, bottom, left, right = box((1, 2))
    middle, size = (top + bottom) // 2, (right - left) // 2
    center = left + size + size // 2
    dot = gray[middle - size // 20 : middle + size // 20, center - size // 20 : center + size // 20]
    assert dot.min() < 140
    assert gray[middle, center + size // 5 : center + size // 3].min() > 245


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (48, 64), (6, 12), (1, 128), (100, 2)])
def test_any_size_fits_on_white_and_nothing_touches_the_edge(shape):
    pixels = opened(head_map_png(np.random.default_rng(0).random(shape) < 0.5))
    assert pixels.shape[1] == 1800
    edge = np.concatenate([pixels[:8].reshape(-1, 3), pixels[-8:].reshape(-1, 3)])
    edge = np.concatenate([edge, pixels[:, :8].reshape(-1, 3), pixels[:, -8:].reshape(-1, 3)])
    assert (edge == 255).all()
    assert (pixels < 100).any()


def test_labels_are_drawn_and_long_ones_are_cut():
    kept = np.ones((2, 4), bool)
    plain, named, long = (head_map_png(kept, labels) for labels in (None, ["encoder 0", "cross 0"], ["x" * 300, "a\nb"]))
    assert len({plain, named, long}) == 3
    assert head_map_png(kept, ["0", "1"]) == plain
    assert opened(long).shape[1] == 1800
    assert blue(opened(long)).any(0).argmax() < 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones(3, bool),), r"kept must be Boolean with shape \(R, H\), got bool with shape \(3,\)"),
        ((np.ones((0, 3), bool),), r"got bool with shape \(0, 3\)"),
        (
            (np.ones((2, 3), bool), None, np.ones((3, 2), bool)),
            r"present must be .* \(2, 3\), got bool with shape \(3, 2\)",
        ),
        ((np.ones((2, 3), bool), ["0"]), r"labels must have one entry per layer \(2\), got 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        head_map_png(*arguments)
