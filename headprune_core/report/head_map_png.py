"""The head map as a picture (PNG), for places that show no interactive one: layers down, heads across, original numbers.

Kept, removed, and there without effect differ in shape and not only in colour: a full square, an open one with a dot in it,
a hatched one. Drawn at twice the width at which it is to be read, so that it is sharp on fine screens too.
"""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headprune_core.errors import HeadPruneError

WIDTH, SCALE = 900, 2  # pixels at which it is read, and how many are drawn for each
MARGIN, GAP = 24, 8  # around the picture, between its parts
LARGEST, TALL = 60, 720  # pixels of a head's square, and of all layers, unless their squares were smaller than SMALLEST then
SMALLEST = 18
LONGEST = 180  # pixels of a layer's label
INK, QUIET, BLUE, PALE = "#1b2733", "#5c6b7a", "#0072b2", "#c3ccd5"
NAMES = {"kept": "kept", "removed": "removed", "gated": "without effect (its weights serve other heads)"}
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)  # which of the numbers are written where there is no room for all


def head_map_png(kept, labels=None, present=None) -> bytes:
    """A PNG of the heads (R, H) that are kept, true or false, 900 pixels wide and drawn at twice that.

    labels: of the R layers; their numbers where None. present (R, H): heads whose weights are there, of which those that are
    not kept are drawn as without effect; None: those that are kept. Raises HeadPruneError for other shapes.
    """
    kept = np.asarray(kept, bool)
    present = kept if present is None else np.asarray(present, bool)
    if kept.ndim != 2 or kept.size == 0 or present.shape != kept.shape:
        raise HeadPruneError(f"heads have shapes {kept.shape} and {present.shape}; expected (R, H) for both")
    rows, heads = kept.shape
    names = [str(i) for i in range(rows)] if labels is None else [str(label) for label in labels]
    if len(names) != rows:
        raise HeadPruneError(f"{len(names)} labels were given; expected one for each of {rows} layers")
    names = [_shortened(" ".join(name.split())) for name in names]
    kinds = np.where(kept, "kept", np.where(present, "gated", "removed")).astype(object)

    left = MARGIN + max(_length(name, 13) for name in [*names, "layer"]) + GAP
    right = MARGIN + _length("00 kept", 13) + GAP
    largest = min(LARGEST, max(SMALLEST, TALL / rows), (WIDTH - left - right) / heads)
    cell = int(SCALE * largest) / SCALE
    top = MARGIN + 24 + 20 + GAP  # title, numbers of heads
    below = top + rows * cell + 2 * GAP
    image = Image.new("RGB", (SCALE * WIDTH, round(SCALE * (below + 16 + MARGIN))), "white")
    pen = _Pen(ImageDraw.Draw(image))

    pen.text((MARGIN, MARGIN), f"{int(kept.sum())} of {kept.size} heads kept", 18, INK, "lt")
    pen.text((left - GAP, top - GAP - 1), "layer", 12, QUIET, "rs")
    for head in range(0, heads, _step(cell, _length(str(heads - 1), 12) + 4)):
        pen.text((left + (head + 0.5) * cell, top - GAP - 1), str(head), 12, QUIET, "ms")
    pen.text((left + heads * cell + GAP, top - GAP - 1), "kept", 12, QUIET, "ls")
    size, every, letters = round(SCALE * cell), _step(cell, 11), 13 if cell >= 14 else 11
    for row in range(rows):
        middle = top + (row + 0.5) * cell
        if row % every == 0:
            pen.text((left - GAP, middle), names[row], letters, INK, "rm")
            pen.text((left + heads * cell + GAP, middle), str(int(kept[row].sum())), letters, QUIET, "lm")
        for head in range(heads):
            image.paste(_square(kinds[row, head], size), (round(SCALE * left) + head * size, SCALE * top + row * size))
    across = MARGIN
    for kind, words in NAMES.items():
        if kind != "gated" or (kinds == "gated").any():
            image.paste(_square(kind, 16 * SCALE), (round(SCALE * across), round(SCALE * below)))
            pen.text((across + 16 + 6, below + 8), words, 13, INK, "lm")
            across += 16 + 6 + _length(words, 13) + 24
    file = io.BytesIO()
    image.quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


class _Pen:
    """Text at places and in sizes as they are read."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self._draw = draw

    def text(self, at: tuple[float, float], words: str, size: int, colour: str, anchor: str) -> None:
        self._draw.text((SCALE * at[0], SCALE * at[1]), words, colour, _font(size), anchor)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=SCALE * size)


def _length(words: str, size: int) -> float:
    return _font(size).getlength(words) / SCALE


def _shortened(label: str) -> str:
    """A label that is no wider than it may be."""
    if _length(label, 13) <= LONGEST:
        return label
    while label and _length(f"{label}…", 13) > LONGEST:
        label = label[:-1]
    return f"{label}…"


def _step(cell: float, needed: float) -> int:
    """Every which number is written, so that they do not touch."""
    return next((step for step in STEPS if step * cell >= needed), STEPS[-1])


@cache
def _square(kind: str, size: int) -> Image.Image:
    """One head's square, with its share of the white between heads."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    edge = max(1, round(size * 0.07))
    box = (edge, edge, size - 1 - edge, size - 1 - edge)
    radius, line = size // 8, max(1, round(size * 0.035))
    if kind == "kept":
        draw.rounded_rectangle(box, radius, fill=BLUE)
    elif kind == "removed":
        draw.rounded_rectangle(box, radius, fill="white", outline=PALE, width=line)
        dot, middle = max(1.0, size * 0.055), (size - 1) / 2
        draw.ellipse((middle - dot, middle - dot, middle + dot, middle + dot), fill=QUIET)
    else:
        stripes = Image.new("RGB", (size, size), "white")
        pen, apart = ImageDraw.Draw(stripes), max(4, round(size / 5))
        for start in range(-size, size, apart):
            pen.line((start, size, start + size, 0), fill=BLUE, width=max(1, round(apart / 3)))
        inside = Image.new("L", (size, size), 0)
        ImageDraw.Draw(inside).rounded_rectangle(box, radius, fill=255)
        image.paste(stripes, (0, 0), inside)
        draw.rounded_rectangle(box, radius, outline=BLUE, width=line)
    return image
