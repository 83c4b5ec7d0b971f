"""Masks as files: what is written comes back, and every file that is no mask of the model is refused in one sentence."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import tiny
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.masks.mask_files import LARGEST, mask_csv, mask_json, read_mask

MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)


@pytest.fixture(scope="module")
def grids():
    return {family: hp.PrunableModel(tiny(family)).grid for family in ("bert", "albert", "bart")}


def document(**changes):
    return json.loads(mask_json(MASK)) | changes


@given(bits=st.lists(st.booleans(), min_size=12, max_size=12).filter(any), chosen=st.text(max_size=30))
def test_every_mask_comes_back_from_both_files(bits, chosen, grids):
    mask, grid = np.array(bits).reshape(3, 4), grids["bert"]
    for text, name in (
        (mask_json(mask, row_names=grid.row_names, model=chosen, chosen=chosen), "mask.json"),
        (mask_csv(mask), "M.CSV"),
    ):
        back = read_mask(text.encode(), name, grid)
        assert back.dtype == bool
        np.testing.assert_array_equal(back, mask)


def test_other_readers_read_them_too(grids):
    written = json.loads(mask_json(MASK, row_names=grids["bert"].row_names, model='a "b"', chosen="by hand"))
    assert written == {
        "version": 1,
        "model": 'a "b"',
        "chosen": "by hand",
        "shape": [3, 4],
        "row_names": [f"bert.encoder.layer.{i}.attention.self" for i in range(3)],
        "kept": MASK.tolist(),
    }
    frame = pd.read_csv(io.StringIO(mask_csv(MASK)))
    assert list(frame) == ["row", "head", "kept"]
    np.testing.assert_array_equal(frame.pivot(index="row", columns="head", values="kept").to_numpy(), MASK)


def test_a_spreadsheets_csv_is_read(grids):
    """Lines in another order, columns too, semicolons, a byte order mark, numbers as decimals, words in capitals."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow(["Kept", "row", "Head"])
    for (row, head), kept in reversed(list(np.ndenumerate(MASK))):
        writer.writerow([("TRUE" if kept else "0.0"), f"{row}.0", head])
    np.testing.assert_array_equal(read_mask(out.getvalue().encode("utf-8-sig"), "mask.csv", grids["bert"]), MASK)


def test_rows_may_be_named_as_people_name_them(grids):
    grid = grids["bart"]
    lines = [f"{label},{head},{int(head != row % 4)}" for row, label in enumerate(grid.row_labels) for head in range(4)]
    back = read_mask("\n".join(["row,head,kept", *lines]).encode(), "mask.csv", grid)
    np.testing.assert_array_equal(back, np.arange(4) != (np.arange(grid.shape[0]) % 4)[:, None])


BAD_JSON = {
    "not json": (b"kept: all", r"mask.json is not JSON \(Expecting value.*; expected a mask.json as HeadPrune writes it"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "a list": (b"[[true]]", "has no names; expected version, shape and kept"),
    "other names": (b'{"rows": 3, "mask": []}', "has the names rows, mask; expected version"),
    "names on two lines": (b'{"a\\nb": 1, "\\ud800": 2}', r"has the names a\?b, \?; expected version"),
    "a shape of half a letter": (json.dumps(document(shape="\ud800")).encode(), r"says that its shape is \? and holds"),
    "a name twice": (b'{"version": 1, "kept": [], "kept": []}', "a name comes twice in it"),
    "newer": (json.dumps(document(version=2)).encode(), "has version '2'; expected 1: update HeadPrune"),
    "no version": (json.dumps(document(version=True)).encode(), "has version 'True'; expected 1: export the mask again"),
    "no matrix": (json.dumps(document(kept="all")).encode(), "has no matrix under kept; expected 3 rows of 4 heads"),
    "another model's": (
        json.dumps(document(kept=[[True] * 12] * 6)).encode(),
        "has 6 rows of 12 heads; expected 3 rows of 4 heads: choose a mask that was made for this model",
    ),
    "ragged": (json.dumps(document(kept=[[True] * 4, [True] * 3, [True] * 4])).encode(), "has 3 rows of 3 or 4 heads"),
    "no rows": (json.dumps(document(kept=[])).encode(), "has 0 rows of no heads"),
    "another shape": (json.dumps(document(shape=[4, 3])).encode(), r"says that its shape is \[4, 3\] and holds 3 rows"),
    "other rows": (
        json.dumps(document(row_names=["x", "y", "z"])).encode(),
        r"rows are called \['x', 'y', 'z'\]; expected bert",
    ),
    "half": (json.dumps(document(kept=[[0.5] * 4] * 3)).encode(), "has 0.5 at row 0, head 0; expected true or false"),
    "words": (json.dumps(document(kept=[["yes"] * 4] * 3)).encode(), 'has "yes" at row 0, head 0'),
    "nan": (json.dumps(document(kept=[[float("nan")] * 4] * 3)).encode(), "has NaN at row 0"),
    "nothing kept": (
        json.dumps(document(kept=[[False] * 4] * 3)).encode(),
        "removes every head; expected a mask that keeps",
    ),
    "letters": (b"\xff\xfe\x00", "is not text in UTF-8; expected a mask in JSON"),
    "too large": (b" " * (LARGEST + 1), "has more than 4,194,304 bytes; expected a mask"),
}
LINES = mask_csv(MASK).splitlines()
BAD_CSV = {
    "empty": ([], "has the columns none; expected the columns row, head and kept"),
    "other columns": (
        ["row,head,score", "0,0,1"],
        "has the columns row, head, score; expected the columns row, head and kept",
    ),
    "columns on two lines": (['row,"he', 'ad",kept'], r"has the columns row, he\?ad, kept; expected"),
    "a row on two lines": (["row,head,kept", '"0', '1",0,true'], r"names row 0\?1, head 0, which is not there"),
    "a head twice": ([*LINES, LINES[3]], "has row 0, head 2 twice; expected every head once"),
    "a head missing": (LINES[:-1], "has 11 of 12 heads, and row 2, head 3 is the first that is missing"),
    "another model's": ([*LINES, "3,0,true"], "names row 3, head 0, which is not there; expected 3 rows of 4 heads"),
    "a head below 0": ([*LINES[:-1], "2,-1,true"], "names row 2, head -1, which is not there"),
    "half": ([*LINES[:-1], "2,3,0.5"], "has '0.5' at row 2, head 3; expected true or false, whether it is kept"),
    "nothing": ([*LINES[:-1], "2,3,"], "has '' at row 2, head 3"),
    "a cell more": ([*LINES[:-1], "2,3,true,x"], "has 4 cells in line 13; expected 3: row, head, kept"),
    "nothing kept": ([line.replace("true", "false") for line in LINES], "removes every head; expected"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_a_json_file_that_is_no_mask_of_the_model(case, grids):
    data, words = BAD_JSON[case]
    with pytest.raises(hp.HeadPruneError, match=words) as found:
        read_mask(data, "mask.json", grids["bert"])
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 400
    assert str(found.value).isprintable()


@pytest.mark.parametrize("case", BAD_CSV)
def test_a_csv_file_that_is_no_mask_of_the_model(case, grids):
    lines, words = BAD_CSV[case]
    with pytest.raises(hp.HeadPruneError, match=words):
        read_mask("\n".join(lines).encode(), "mask.csv", grids["bert"])


def test_another_kind_of_file(grids):
    with pytest.raises(hp.HeadPruneError, match=r"mask\.png is neither \.json nor \.csv"):
        read_mask(b"", "mask.png", grids["bert"])


def test_a_mask_that_keeps_only_heads_that_are_gone(grids):
    model = hp.PrunableModel(tiny("bert"))
    pruned = hp.prune_heads(model, ~MASK)
    with pytest.raises(hp.HeadPruneError, match=r"removes every head that the model still has \(6 of 12\)"):
        read_mask(mask_json(MASK).encode(), "mask.json", pruned.grid)


@pytest.mark.parametrize("mask", [np.ones(4), np.full((2, 2), 0.5), np.empty((0, 4))])
def test_what_is_no_mask_is_not_written(mask):
    for write in (mask_json, mask_csv):
        with pytest.raises(hp.HeadPruneError, match=r"expected \(R, H\) of true and false"):
            write(mask)
