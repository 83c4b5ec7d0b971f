"""Masks as files: they are read as written, and every file that is not a mask of the model is refused in one sentence."""

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
def test_every_mask_is_read_as_written(bits, chosen, grids):
    mask, grid = np.array(bits).reshape(3, 4), grids["bert"]
    for text, name in (
        (mask_json(mask, row_names=grid.row_names, model=chosen, chosen=chosen), "mask.json"),
        (mask_csv(mask), "M.CSV"),
    ):
        back = read_mask(text.encode(), name, grid)
        assert back.dtype == bool
        np.testing.assert_array_equal(back, mask)


def test_other_programs_can_read_the_files(grids):
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
    """Lines and columns in another order, semicolons, a byte order mark, numbers as decimals, TRUE in capitals."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow(["Kept", "row", "Head"])
    for (row, head), kept in reversed(list(np.ndenumerate(MASK))):
        writer.writerow([("TRUE" if kept else "0.0"), f"{row}.0", head])
    np.testing.assert_array_equal(read_mask(out.getvalue().encode("utf-8-sig"), "mask.csv", grids["bert"]), MASK)


def test_rows_may_be_given_by_their_labels(grids):
    grid = grids["bart"]
    lines = [f"{label},{head},{int(head != row % 4)}" for row, label in enumerate(grid.row_labels) for head in range(4)]
    back = read_mask("\n".join(["row,head,kept", *lines]).encode(), "mask.csv", grid)
    np.testing.assert_array_equal(back, np.arange(4) != (np.arange(grid.shape[0]) % 4)[:, None])


BAD_JSON = {
    "not json": (b"kept: all", r"mask.json is not valid JSON \(Expecting value.*\); export the mask again"),
    "deep": (b"[" * 100_000, "is not valid JSON"),
    "a list": (b"[[true]]", "mask.json must have the keys version, shape and kept, got none"),
    "other names": (b'{"rows": 3, "mask": []}', "must have the keys version, shape and kept, got rows, mask"),
    "names on two lines": (b'{"a\\nb": 1, "\\ud800": 2}', r"version, shape and kept, got a\?b, \?"),
    "a shape of half a letter": (json.dumps(document(shape="\ud800")).encode(), r"must match its 3 rows of 4 heads, got \?"),
    "a name twice": (b'{"version": 1, "kept": [], "kept": []}', "duplicate name"),
    "newer": (json.dumps(document(version=2)).encode(), "must have version 1, got '2'; update HeadPrune"),
    "no version": (json.dumps(document(version=True)).encode(), "must have version 1, got 'True'; export the mask again"),
    "no matrix": (json.dumps(document(kept="all")).encode(), "kept in mask.json must be a list of 3 rows of 4 heads"),
    "another model's": (
        json.dumps(document(kept=[[True] * 12] * 6)).encode(),
        "must have 3 rows of 4 heads, got 6 rows of 12 heads; choose a mask that was made for this model",
    ),
    "ragged": (json.dumps(document(kept=[[True] * 4, [True] * 3, [True] * 4])).encode(), "got 3 rows of 3 or 4 heads"),
    "no rows": (json.dumps(document(kept=[])).encode(), "got 0 rows of no heads"),
    "another shape": (
        json.dumps(document(shape=[4, 3])).encode(),
        r"shape in mask.json must match its 3 rows of 4 heads, got \[4, 3\]",
    ),
    "other rows": (
        json.dumps(document(row_names=["x", "y", "z"])).encode(),
        r"rows named \['x', 'y', 'z'\], not bert",
    ),
    "half": (
        json.dumps(document(kept=[[0.5] * 4] * 3)).encode(),
        "kept in mask.json must be true or false, got 0.5 for row 0, head 0",
    ),
    "words": (json.dumps(document(kept=[["yes"] * 4] * 3)).encode(), 'got "yes" for row 0, head 0'),
    "nan": (json.dumps(document(kept=[[float("nan")] * 4] * 3)).encode(), "got NaN for row 0"),
    "nothing kept": (
        json.dumps(document(kept=[[False] * 4] * 3)).encode(),
        "prunes every head; choose a mask that keeps at least one",
    ),
    "letters": (b"\xff\xfe\x00", "is not UTF-8 text; export the mask again as JSON"),
    "too large": (b" " * (LARGEST + 1), "must have at most 4,194,304 bytes, got 4,194,305"),
}
LINES = mask_csv(MASK).splitlines()
BAD_CSV = {
    "empty": ([], "has the columns none; expected the columns row, head and kept"),
    "other columns": (
        ["row,head,score", "0,0,1"],
        "has the columns row, head, score; expected the columns row, head and kept",
    ),
    "columns on two lines": (['row,"he', 'ad",kept'], r"has the columns row, he\?ad, kept; expected"),
    "a row on two lines": (["row,head,kept", '"0', '1",0,true'], r"the model has no row 0\?1, head 0, which mask.csv lists"),
    "a head twice": ([*LINES, LINES[3]], "lists row 0, head 2 twice; remove one of the two lines"),
    "a head missing": (LINES[:-1], "lists 11 of 12 heads, the first missing one is row 2, head 3"),
    "another model's": ([*LINES, "3,0,true"], "no row 3, head 0, which mask.csv lists; it has 3 rows of 4 heads"),
    "a head below 0": ([*LINES[:-1], "2,-1,true"], "no row 2, head -1, which"),
    "half": ([*LINES[:-1], "2,3,0.5"], "kept in mask.csv must be true or false, got '0.5' for row 2, head 3"),
    "nothing": ([*LINES[:-1], "2,3,"], "got '' for row 2, head 3"),
    "a cell more": ([*LINES[:-1], "2,3,true,x"], r"line 13 of mask.csv must have 3 cells \(row, head, kept\), got 4"),
    "nothing kept": ([line.replace("true", "false") for line in LINES], "prunes every head; choose"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_an_invalid_json_file_is_refused(case, grids):
    data, words = BAD_JSON[case]
    with pytest.raises(hp.HeadPruneError, match=words) as found:
        read_mask(data, "mask.json", grids["bert"])
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 400
    assert str(found.value).isprintable()


@pytest.mark.parametrize("case", BAD_CSV)
def test_an_invalid_csv_file_is_refused(case, grids):
    lines, words = BAD_CSV[case]
    with pytest.raises(hp.HeadPruneError, match=words):
        read_mask("\n".join(lines).encode(), "mask.csv", grids["bert"])


def test_another_file_format_is_refused(grids):
    with pytest.raises(hp.HeadPruneError, match=r"mask file must end in \.json or \.csv, got mask\.png"):
        read_mask(b"", "mask.png", grids["bert"])


def test_a_mask_that_keeps_only_removed_heads_is_refused(grids):
    model = hp.PrunableModel(tiny("bert"))
    pruned = hp.prune_heads(model, ~MASK)
    with pytest.raises(hp.HeadPruneError, match=r"prunes every head of the 6 of 12 that the model still has"):
        read_mask(mask_json(MASK).encode(), "mask.json", pruned.grid)


@pytest.mark.parametrize("mask", [np.ones(4), np.full((2, 2), 0.5), np.empty((0, 4))])
def test_an_invalid_mask_is_not_written(mask):
    for write in (mask_json, mask_csv):
        with pytest.raises(hp.HeadPruneError, match=r"the mask must be Boolean with shape \(R, H\)"):
            write(mask)
