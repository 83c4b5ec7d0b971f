"""Maps of heads: dark heads are pruned last, and what the browser sends is validated."""

import json

import numpy as np
import pytest

import headprune_core as hp
from pages.parts.alpha_grid import sent_selection
from pages.parts.head_grid import HeadMap, Mark, difference_map, kept_map
from pages.parts.head_grid.head_map import LEVELS

VALUES = np.array([[0.1, 0.4, 0.2], [0.3, 0.6, 0.5]])


def test_dark_heads_are_pruned_last_by_every_criterion():
    his, ae, gnorm = np.random.default_rng(0).random((3, 5, 7))
    rankings = {"his": (his, "high", his), "ae": (ae, "low", -ae), "gnorm": (gnorm, "high", gnorm)}
    for name, (values, dark, ranking) in rankings.items():
        one = HeadMap(name, name, values, role=name, dark=dark)
        pruned_first = np.argsort(ranking, axis=None, kind="stable")
        assert (np.diff(one.levels().ravel()[pruned_first]) >= 0).all()
        assert one.position.ravel()[pruned_first].tolist() == list(range(1, 36))
        assert (one.levels().min(), one.levels().max()) == (0, LEVELS - 1)
        mask = hp.prune_mask(ranking, 0.4)
        assert one.levels()[mask].min() >= one.levels()[~mask].max()


def test_a_map_with_one_visible_row_shows_ranks_and_says_why():
    values = np.full((4, 6), 1e-3) * np.arange(1, 25).reshape(4, 6)
    values[1] *= 1e5
    one = HeadMap("gnorm", "Gnorm", values)
    assert one.by_rank
    assert len(np.unique(one.levels())) > 20
    times = values.max() / np.median(values)
    assert one.scale() == f"Color: rank, because the largest value is {times:,.0f} times the median."
    assert not HeadMap("his", "HIS", VALUES).by_rank
    zero = HeadMap("drop", "Drop", np.where(np.arange(12).reshape(3, 4) == 5, 1.0, 0.0))
    assert zero.scale() == "Color: rank, because more than half of the values are 0."
    assert not HeadMap("same", "Same", np.zeros((3, 4))).by_rank


def test_a_difference_has_its_middle_at_zero():
    one = HeadMap("change", "Change", np.array([[-1.0, 0.0, 4.0]]), role="difference")
    negative, zero, positive = one.levels()[0]
    assert positive == LEVELS - 1
    assert zero in (LEVELS // 2 - 1, LEVELS // 2)
    assert 0 < negative < zero
    assert one.scale() == "\N{MINUS SIGN}4 to 4; gray: 0"


def test_heads_without_a_value_have_no_color_and_are_null():
    one = HeadMap("gnorm", "Gnorm", np.array([[np.nan, 1.0, np.inf, 2.0]]), ranked=True)
    assert one.levels().tolist() == [[-1, 0, -1, LEVELS - 1]]
    _, document = one.document()
    assert document["values"] == [None, 1.0, None, 2.0]
    json.dumps(document, allow_nan=False)


def test_the_legend_states_values_from_light_to_dark():
    assert HeadMap("ae", "AE", VALUES, dark="low", unit="nats").scale() == "0.6 to 0.1 nats"
    share = HeadMap("kept", "Kept", VALUES, limits=(0.0, 1.0), percent=True)
    assert share.scale() == "0% to 100%"
    assert HeadMap("his", "HIS", VALUES, shown=VALUES * 10, shown_as="Rank", unit="nats").scale() == "Rank, 1 to 6"


def test_a_document_is_named_by_what_is_drawn():
    name, document = HeadMap("his", "HIS", VALUES).document()
    assert HeadMap("his", "HIS", VALUES.copy()).document() == (name, document)
    changed = VALUES.copy()
    changed[1, 2] += 1e-8
    assert HeadMap("his", "HIS", changed).document()[0] != name
    marked = HeadMap("his", "HIS", VALUES, marks=(Mark("pruned", VALUES < 0.2, "×"),))
    assert marked.document()[0] != name
    assert marked.document()[1]["marks"][0]["at"] == [0]


def test_states_cover_every_head_once():
    kept, present = np.array([[1, 0, 0], [1, 1, 0]], bool), np.array([[1, 1, 0], [1, 1, 0]], bool)
    for one in (
        kept_map("Heads", kept, present, description=""),
        difference_map("A and B", kept, present, ("A", "B"), description=""),
    ):
        assert (sum(mark.where.astype(int) for mark in one.marks) == 1).all()
        assert len({mark.color for mark in one.marks}) == len(one.marks)
    assert [int(mark.where.sum()) for mark in kept_map("Heads", kept, present, description="").marks] == [3, 1, 2]


@pytest.fixture
def sent(monkeypatch):
    """What `read_selection` makes of a message, for 2 x 3 heads."""

    def read(message):
        monkeypatch.setattr(sent_selection.st, "session_state", {"k": {"sent": message}})
        return sent_selection.read_selection("k", (2, 3))

    return read


def test_a_selection_is_taken_in_the_order_of_choice(sent):
    assert sent({"heads": [[1, 2], [0, 1], [1, 2]], "number": 3, "known": ["ab"]}) == ((1, 2), (0, 1))
    assert sent({"heads": [], "number": 4}) == ()
    assert sent_selection.last_message("k")["number"] == 4
    assert sent_selection.last_message("other") == {}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"heads": [[0, 1]]},
        {"heads": [[0, 1]], "number": 1.5},
        {"heads": [[2, 0]], "number": 1},
        {"heads": [[0, -1]], "number": 1},
        {"heads": [[True, 0]], "number": 1},
        {"heads": [[0, 1, 2]], "number": 1},
        {"heads": 3, "number": 1},
        {"heads": [["0", 1]], "number": 1},
        {"heads": [], "number": 1, "known": [[1]]},
        {"heads": [], "number": 1, "known": 5},
    ],
)
def test_a_bad_message_is_ignored(sent, bad):
    assert sent(bad) is None
