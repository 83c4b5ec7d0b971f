"""Messages from the browser side of the alpha grid are validated; the alpha path is passed on unchanged."""

import numpy as np
import pytest

import headprune_core as hp
from pages.parts import alpha_grid as grid

GOOD = {"alpha": 0.62, "sparsity": 0.3, "keep": "high", "edits": {"keep": [[0, 1]], "remove": [[1, 2], [1, 0]]}}


@pytest.fixture
def answer(monkeypatch):
    """What `read_state` makes of a message, for a grid of 2 x 3 heads."""

    def answer(sent):
        monkeypatch.setattr(grid.st, "session_state", {"k": {"setting": sent}, "k_shape": (2, 3)})
        return grid.read_state("k")

    return answer


def test_a_setting_and_edits_are_taken_over(answer):
    setting, edits = answer(GOOD)
    assert setting == grid.AlphaSetting(0.62, 0.3, "high")
    assert edits == grid.ManualOverrides(keep=((0, 1),), remove=((1, 2), (1, 0)))
    protect, remove = edits.arrays((2, 3))
    assert np.argwhere(protect).tolist() == [[0, 1]]
    assert np.argwhere(remove).tolist() == [[1, 0], [1, 2]]
    protect, remove = edits.arrays((1, 2))  # of another model
    assert (protect.sum(), remove.sum()) == (1, 0)


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": float("nan")},
        {"alpha": None},
        {"alpha": "x"},
        {"sparsity": float("inf")},
        {"sparsity": []},
        {"keep": "all"},
    ],
)
def test_a_bad_setting_is_ignored_and_the_edits_stand(answer, bad):
    setting, edits = answer(GOOD | bad)
    assert setting is None
    assert edits is not None


def test_values_beyond_their_ends_are_the_ends(answer):
    setting, _ = answer(GOOD | {"alpha": 7, "sparsity": -1})
    assert (setting.alpha, setting.sparsity) == (1.0, 0.0)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"keep": [[0, 1]]},
        {"keep": [[0, 1]], "remove": [[2, 0]]},
        {"keep": [[0, 3]], "remove": []},
        {"keep": [[-1, 0]], "remove": []},
        {"keep": [[0.5, 1]], "remove": []},
        {"keep": [[True, 1]], "remove": []},
        {"keep": [["0", 1]], "remove": []},
        {"keep": [[[0], 1]], "remove": []},
        {"keep": [[0, 1, 2]], "remove": []},
        {"keep": [0], "remove": []},
        {"keep": 3, "remove": []},
        {"keep": [[0, 1]], "remove": [[0, 1]]},
    ],
)
def test_bad_edits_are_ignored_and_the_setting_stands(answer, bad):
    setting, edits = answer(GOOD | {"edits": bad})
    assert setting is not None
    assert edits is None


@pytest.mark.parametrize("sent", [None, 3, "x", [], {}])
def test_a_message_that_is_none_is_ignored(answer, sent):
    assert answer(sent) == (None, None)


def test_stops_tell_where_heads_change_and_which_masks_come_back():
    his, ae = np.random.default_rng(1).random((2, 4, 5))
    path, alone = hp.alpha_path(his, ae, 0.4), hp.prune_mask(hp.hies(his, ae, 1.0), 0.4)
    entries = grid.path_entries(path, alone, accuracy=[None] + [0.5] * (len(path) - 1))
    mask = path[0].mask.ravel().copy()
    for entry, part in zip(entries, path, strict=True):
        mask[entry["flips"]] ^= True
        assert (mask == part.mask.ravel()).all()
        assert (entry["low"], entry["high"]) == (part.low, part.high)
        assert entry["changed"] == (part.mask != alone).sum()
    for i, one in enumerate(entries):
        for j, other in enumerate(entries):
            assert (one["id"] == other["id"]) == (path[i].mask == path[j].mask).all()
    assert [entry["accuracy"] for entry in entries] == [None] + [0.5] * (len(path) - 1)
