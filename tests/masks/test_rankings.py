"""A user's own ranking: every shape that is taken, and one sentence for everything that is not."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import tiny

import headprune_core as hp
from headprune_core.masks.rankings import read_ranking

GRID = SimpleNamespace(shape=(2, 3), row_labels=("0", "1"))
VALUES = np.array([[0.5, -1.0, 2.0], [3.0, 1e-3, 4.0]])


def lines(values=VALUES, head="row,head,score", order=None):
    cells = [f"{r},{h},{values[r, h]}" for r, h in np.ndindex(values.shape)]
    return "\n".join([head, *(cells if order is None else [cells[i] for i in order])]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        lines(),
        lines(order=[5, 0, 3, 1, 4, 2]),
        lines(head="Layer, Head ,RANK"),
        lines(head="row,head,value"),
        lines().replace(",", ";"),
        lines().replace(",", "\t"),
        lines().replace("\n", "\r\n") + "\n\n",
        lines().replace("1,2,4.0", "1.0,2.0,4"),
        "0.5,-1,2\n3,1e-3,4\n",
        "0.5;-1;2\n3;0.001;4",
    ],
)
def test_every_shape_of_table_gives_the_same_ranking(text, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(text.encode())
    for source in (
        path,
        str(path),
        io.StringIO(text),
        io.BytesIO(text.encode()),
        io.BytesIO(b"\xef\xbb\xbf" + text.encode()),
    ):
        found = read_ranking(source, GRID)
        assert found.dtype == float
        np.testing.assert_array_equal(found, VALUES)


def test_data_frames_are_taken_and_other_columns_left_alone():
    scores = hp.HeadScores(GRID, {"his": VALUES[None]}).to_frame()
    np.testing.assert_array_equal(read_ranking(scores.rename(columns={"his": "score"}), GRID), VALUES)
    np.testing.assert_array_equal(read_ranking(scores.assign(score=scores.his, his="no number"), GRID), VALUES)
    np.testing.assert_array_equal(read_ranking(pd.DataFrame(VALUES), GRID), VALUES)


def test_a_score_comes_before_a_rank_and_a_value():
    frame = hp.HeadScores(GRID, {"his": VALUES[None]}).to_frame().assign(value=0.0, rank=1.0)
    np.testing.assert_array_equal(read_ranking(frame.rename(columns={"his": "score"}), GRID), VALUES)


def test_the_lowest_goes_first():
    assert not hp.prune_mask(read_ranking(io.StringIO(lines()), GRID), 1 / 6)[0, 1]


def test_rows_of_an_encoder_decoder_go_by_their_labels():
    grid = SimpleNamespace(shape=(2, 3), row_labels=("encoder 0", "cross 0"))
    text = lines().replace("\n0,", "\nencoder 0,").replace("\n1,", "\ncross 0,")
    np.testing.assert_array_equal(read_ranking(io.StringIO(text), grid), VALUES)


def test_a_models_own_grid_is_taken():
    grid = hp.PrunableModel(tiny("bert")).grid
    values = np.arange(12.0).reshape(grid.shape)
    np.testing.assert_array_equal(read_ranking(io.StringIO(lines(values)), grid), values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the ranking is empty; expected the columns row, head and score"),
        ("\n \n", "the ranking is empty"),
        ("row,head,score\n", "the ranking has 0 of 6 heads, and row 0, head 0 is the first that is missing"),
        ("row,head,his\n0,0,1\n", "the ranking has the columns row, head, his; expected the columns row, head and score"),
        ("1," * 70_000 + '"' + "1" * 140_000, "the ranking cannot be read as CSV: field larger than field limit"),
        ("score\n1\n", "the ranking has the columns score; expected"),
        ("1,2\n3,4\n", "a matrix of 2 x 2; expected 2 rows x 3 heads, or a header"),
        ("1,2,3\n", "a matrix of 1 x 3; expected 2 rows x 3 heads"),
        ("1,2,3\n4,5\n", "line 2 of the ranking has 2 cells and the first 3"),
        ("1,2,3\n4,five,6\n", "the ranking has 'five' at row 1, head 1; expected a finite number"),
        ("1,2,3\n4,,6\n", "the ranking has 'nothing' at row 1, head 1; expected a finite number"),
        ("1,2,3\n4,inf,6\n", "the ranking has 'inf' at row 1, head 1; expected a finite number"),
        (lines().replace("4.0", "high"), "the ranking has 'high' at row 1, head 2; expected a finite number"),
        (lines().replace("4.0", "nan"), "the ranking has 'nan' at row 1, head 2; expected a finite number"),
        (lines() + "2,0,1\n", "names row 2, head 0, which is not there; expected rows 0 to 1 and heads 0 to 2"),
        (lines() + "0,3,1\n", "names row 0, head 3, which is not there"),
        (lines() + "-1,0,1\n", "names row -1, head 0, which is not there"),
        (lines() + "0.5,0,1\n", "names row 0.5, head 0, which is not there"),
        (lines() + "first,0,1\n", "names row first, head 0, which is not there"),
        (lines() + "0,1,1\n", "the ranking has row 0, head 1 twice; expected every head once"),
        (lines(order=[0, 1, 2, 3, 5]), "the ranking has 5 of 6 heads, and row 1, head 1 is the first that is missing"),
    ],
)
def test_what_is_no_ranking_is_refused_in_one_sentence(text, words):
    with pytest.raises(hp.HeadPruneError, match=words) as refused:
        read_ranking(io.StringIO(text), GRID)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(hp.HeadPruneError, match=r"nothing\.csv cannot be opened: No such file or directory"):
        read_ranking(tmp_path / "nothing.csv", GRID)
    with pytest.raises(hp.HeadPruneError, match="is not text in UTF-8; expected a CSV file"):
        read_ranking(io.BytesIO(b"PK\x03\x04\xff\xfe"), GRID)
