"""The matrix of the attention view: cells, rows and columns, keyboard, and the colors on the canvas."""

import numpy as np
import pytest

from .conftest import button, integers, made_up, percent, value_line, words
from .test_pointing import TEXTS, strongest


@pytest.fixture(scope="module")
def found():
    return made_up(TEXTS)


def place(tab, query, key, rows=13, columns=13):
    """The center of a cell on the page; cells are squares at the right and lower end of the canvas."""
    box = tab.locator(".av-matrix").bounding_box()
    left, top = origin(tab)
    size = (box["height"] - top - 1) / rows
    return box["x"] + left + (key + 0.5) * size, box["y"] + top + (query + 0.5) * size


def origin(tab):
    """Where the first cell begins: the corner of the frame."""
    return tab.locator(".av-matrix").evaluate(
        """canvas => {
          const ratio = canvas.width / canvas.clientWidth;
          const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const opaque = (x, y) => data[4 * (y * width + x) + 3] > 60;
          const column = x => [...Array(height).keys()].filter(y => opaque(x, y)).length;
          const row = y => [...Array(width).keys()].filter(x => opaque(x, y)).length;
          let x = 0, y = 0;
          while (column(x) < height * 0.6) x++;
          while (row(y) < width * 0.6) y++;
          return [(x + 1) / ratio, (y + 1) / ratio];
        }"""
    )


def test_cells_rows_and_columns(open_view, found):
    values = integers(found)[0]
    with open_view(found) as tab:
        button(tab, "Matrix").click()
        tab.mouse.move(*place(tab, 3, 9))
        assert words(tab) == "“late” (token 4) attends to “wonderful” (token 10):"
        assert value_line(tab) == percent(values[3, 9] / 65535)
        tab.mouse.click(*place(tab, 3, 9))
        tab.mouse.move(5, 5)
        assert words(tab) == "“late” (token 4 of 13) attends to:"
        assert value_line(tab) == strongest(values[3])
        tab.keyboard.press("Escape")
        button(tab, "Attended to by").click()
        start, end = place(tab, 0, 1), place(tab, 5, 2)
        tab.mouse.move(*start)
        tab.mouse.down()
        tab.mouse.move(*end)
        tab.mouse.up()
        tab.mouse.move(5, 5)
        assert words(tab) == "Tokens 2 to 3 of 13 (“flight was”; sum of 2 tokens) are attended to by:"
        assert value_line(tab) == strongest(values[:, 1:3].sum(1))


def test_the_matrix_by_keyboard(open_view, found):
    values = integers(found)[0]
    with open_view(found) as tab:
        button(tab, "Matrix").click()
        matrix = tab.get_by_role("application", name="Attention matrix of Layer 0, head 1: 13 queries")
        matrix.focus()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowRight")
        assert words(tab) == "“flight” (token 2) attends to “was” (token 3):"
        assert value_line(tab) == percent(values[1, 2] / 65535)
        tab.keyboard.press("End")
        assert words(tab).endswith("“!” (token 13):")
        tab.keyboard.press("Home")
        tab.keyboard.press("Enter")
        tab.keyboard.press("Shift+ArrowDown")
        tab.get_by_role("status").get_by_text("“The” (token 1)").wait_for()
        matrix.blur()
        assert words(tab).startswith("Tokens 2 to 3 of 13")
        assert value_line(tab) == strongest(values[1:3].sum(0))


def test_the_colors_of_cells_grow_with_the_values(open_view):
    found = made_up([f"t{i}" for i in range(60)])  # cells without numbers
    with open_view(found) as tab:
        button(tab, "Matrix").click()
        left, top = origin(tab)
        alphas = tab.locator(".av-matrix").evaluate(
            """(canvas, [left, top]) => {
              const size = (canvas.clientHeight - top - 1) / 60, context = canvas.getContext("2d");
              const at = (row, column) => context.getImageData(left + (column + 0.5) * size, top + (row + 0.5) * size, 1, 1);
              return [...Array(60).keys()].map(row => [...Array(60).keys()].map(column => at(row, column).data[3]));
            }""",
            [left, top],
        )
        expected = 255 * np.sqrt(integers(found)[0] / 65535)
        assert np.abs(np.array(alphas) - expected).max() <= 1.5
