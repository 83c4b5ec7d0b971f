"""Lists in cells: every way in which programs write them is read, and nothing is evaluated."""

import ast
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headprune_core.data.formats.list_cells import cell_list, column_lists


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("['joy', 'anger']", ["joy", "anger"]),
        ('["joy", "it\'s"]', ["joy", "it's"]),
        (" [1, 0, 2] ", [1, 0, 2]),
        ("[]", []),
        ("['joy' 'anger']", ["joy", "anger"]),  # NumPy; Python would read 'joyanger'
        ("[1 0 0\n 1]", [1, 0, 0, 1]),
        ("[1. 0.]", [1.0, 0.0]),
        ("[ True False]", [True, False]),
        ("['a', None]", ["a", None]),
        (("a", "b"), ["a", "b"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        (np.array([1, 0]), [1, 0]),
    ],
)
def test_lists_are_read(cell, values):
    assert cell_list(cell) == values


@pytest.mark.parametrize(
    "cell",
    [
        "joy",
        "[joy, anger]",
        "['a' 'b', 'c']",
        "[1] said he",
        "[1 0 ... 0]",
        "[[1, 0]]",
        "[{'a': 1}]",
        "[open('x')]",
        "[__import__('os').getcwd()]",
        "['a'",
        "[" * 5000 + "]" * 5000,
        3,
        None,
        np.float64(2),
        np.zeros((2, 2)),
    ],
)
def test_other_cells_are_no_lists(cell):
    assert cell_list(cell) is None


@given(st.lists(st.text("ab'\"\\,; \n[]0é", max_size=4), max_size=4))
def test_literals_are_read_back(values):
    """Independent of the parser: Python's repr, JSON and NumPy's text of the same list."""
    for written in (repr(values), json.dumps(values)):
        assert cell_list(written) == values == ast.literal_eval(repr(values))
    if len(values) > 1:
        assert cell_list(" ".join(["[", *map(repr, values), "]"])) == values


def test_a_column_needs_lists_in_all_cells_that_are_filled():
    assert column_lists(["[1]", "", None, float("nan")]) == [[1], None, None, None]
    assert column_lists(["[1]", "a"]) is None
    assert column_lists(["", None]) is None
