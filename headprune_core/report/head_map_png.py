"""Draw the head map as a PNG for places without interactive figures.

Rows are layers, columns are heads (original indices). Kept, removed and zeroed heads differ in shape as well as color: a
filled square, an open square with a dot, a hatched square.
"""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headprune_core.checked_mask import ADVICE_ON_HEADS, checked_mask
from headprune_core.errors import HeadPruneError

WIDTH, SCALE = 900, 2  # display width in pixels, and image pixels per display pixel for high-density screens
MARGIN, GAP = 24, 8
MAX_CELL, MAX_HEIGHT = 60, 720  # pixels of a head's square, and of all rows unless squares would be below MIN_CELL
MIN_CELL = 18
MAX_LABEL = 180  # pixels of a layer label
INK, QUIET, BLUE, PALE = "#1b2733", "#5c6b7a", "#0072b2", "#c3ccd5"
LEGEND = {"kept": "Kept", "removed": "Removed", "gated": "Zeroed (weights shared with a kept head)"}
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)  # distances between the numbers that are drawn


def head_map_png(kept, labels=None, present=None) -> bytes:
    """Draw a head map, 1800 pixels wide for a display width of 900.

    Args:
        kept: kept heads, bool (R, H).
        labels: labels of the R layers; their numbers by default.
        present: heads whose weights remain, bool (R, H); those that are not kept are drawn as zeroed. Equal to `kept` by
            default.

    Returns:
        The PNG file.

    Raises:
        HeadPruneError: if shapes or the number of labels do not fit.
    """
    kept = checked_mask(kept, name="kept")
    present = kept if present is None else checked_mask(present, kept.shape, name="present", advice=ADVICE_ON_HEADS)
    rows, heads = kept.shape
    names = [str(i) for i in range(rows)] if labels is None else [str(label) for label in labels]
    if len(names) != rows:
        raise HeadPruneError(f"labels must have one entry per layer ({rows}), got {len(names)}")
    names = [_shortened(" ".join(name.split())) for name in names]
    kinds = np.where(kept, "kept", np.where(present, "gated", "removed")).astype(object)

    left = MARGIN + max(_length(name, 13) for name in [*names, "Layer"]) + GAP
    right = MARGIN + _length("00 Kept", 13) + GAP
    largest = min(MAX_CELL, max(MIN_CELL, MAX_HEIGHT / rows), (WIDTH - left - right) / heads)
    cell = int(SCALE * largest) / SCALE
    top = MARGIN + 24 + 20 + GAP  # title and head numbers
    below = top + rows * cell + 2 * GAP
    image = Image.new("RGB", (SCALE * WIDTH, round(SCALE * (below + 16 + MARGIN))), "white")
    pen = _Pen(ImageDraw.Draw(image))

    pen.text((MARGIN, MARGIN), f"{int(kept.sum())} of {kept.size} heads kept", 18, INK, "lt")
    pen.text((left - GAP, top - GAP - 1), "Layer", 12, QUIET, "rs")
    for head in range(0, heads, _step(cell, _length(str(heads - 1), 12) + 4)):
        pen.text((left + (head + 0.5) * cell, top - GAP - 1), str(head), 12, QUIET, "ms")
    pen.text((left + heads * cell + GAP, top - GAP - 1), "Kept", 12, QUIET, "ls")
    size, every, letters = round(SCALE * cell), _step(cell, 11), 13 if cell >= 14 else 11
    for row in range(rows):
        middle = top + (row + 0.5) * cell
        if row % every == 0:
            pen.text((left - GAP, middle), names[row], letters, INK, "rm")
            pen.text((left + heads * cell + GAP, middle), str(int(kept[row].sum())), letters, QUIET, "lm")
        for head in range(heads):
            image.paste(_square(kinds[row, head], size), (round(SCALE * left) + head * size, SCALE * top + row * size))
    across = MARGIN
    for kind, name in LEGEND.items():
        if kind != "gated" or (kinds == "gated").any():
            image.paste(_square(kind, 16 * SCALE), (round(SCALE * across), round(SCALE * below)))
            pen.text((across + 16 + 6, below + 8), name, 13, INK, "lm")
            across += 16 + 6 + _length(name, 13) + 24
    file = io.BytesIO()
    image.quantize(64, Image.Quantize.MAXCOVERAGE).save(file, "PNG", optimize=True)
    return file.getvalue()


class _Pen:
    """Draw text at display positions and sizes."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self._draw = draw

    def text(self, at: tuple[float, float], text: str, size: int, color: str, anchor: str) -> None:
        self._draw.text((SCALE * at[0], SCALE * at[1]), text, color, _font(size), anchor)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=SCALE * size)


def _length(text: str, size: int) -> float:
    return _font(size).getlength(text) / SCALE


def _shortened(label: str) -> str:
    """Shorten a label to the maximum width."""
    if _length(label, 13) <= MAX_LABEL:
        return label
    while label and _length(f"{label}…", 13) > MAX_LABEL:
        label = label[:-1]
    return f"{label}…"


def _step(cell: float, needed: float) -> int:
    """Return the distance between numbers at which they do not touch."""
    return next((step for step in STEPS if step * cell >= needed), STEPS[-1])


@cache
def _square(kind: str, size: int) -> Image.Image:
    """Return one head's square with the white margin around it."""
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
