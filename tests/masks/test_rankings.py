"""Custom rankings: every accepted format, and one sentence for every table that is refused."""

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
def test_every_format_gives_the_same_ranking(text, tmp_path):
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


def test_data_frames_are_read_and_other_columns_ignored():
    scores = hp.HeadScores(GRID, {"his": VALUES[None]}).to_frame()
    np.testing.assert_array_equal(read_ranking(scores.rename(columns={"his": "score"}), GRID), VALUES)
    np.testing.assert_array_equal(read_ranking(scores.assign(score=scores.his, his="no number"), GRID), VALUES)
    np.testing.assert_array_equal(read_ranking(pd.DataFrame(VALUES), GRID), VALUES)


def test_a_score_column_takes_precedence_over_rank_and_value():
    frame = hp.HeadScores(GRID, {"his": VALUES[None]}).to_frame().assign(value=0.0, rank=1.0)
    np.testing.assert_array_equal(read_ranking(frame.rename(columns={"his": "score"}), GRID), VALUES)


def test_the_lowest_value_is_pruned_first():
    assert not hp.prune_mask(read_ranking(io.StringIO(lines()), GRID), 1 / 6)[0, 1]


def test_rows_of_an_encoder_decoder_are_found_by_their_labels():
    grid = SimpleNamespace(shape=(2, 3), row_labels=("encoder 0", "cross 0"))
    text = lines().replace("\n0,", "\nencoder 0,").replace("\n1,", "\ncross 0,")
    np.testing.assert_array_equal(read_ranking(io.StringIO(text), grid), VALUES)


def test_the_grid_of_a_model_is_accepted():
    grid = hp.PrunableModel(tiny("bert")).grid
    values = np.arange(12.0).reshape(grid.shape)
    np.testing.assert_array_equal(read_ranking(io.StringIO(lines(values)), grid), values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the ranking is empty; expected the columns row, head and score"),
        ("\n \n", "the ranking is empty"),
        ("row,head,score\n", "the ranking lists 0 of 6 heads, the first missing one is row 0, head 0"),
        ("row,head,his\n0,0,1\n", "the ranking has the columns row, head, his; expected the columns row, head and score"),
        ("1," * 70_000 + '"' + "1" * 140_000, "the ranking is not valid CSV: field larger than field limit"),
        ("score\n1\n", "the ranking has the columns score; expected"),
        ("1,2\n3,4\n", "the ranking must have 2 rows x 3 heads, got a matrix of 2 x 2; change it, or add a header"),
        ("1,2,3\n", "must have 2 rows x 3 heads, got a matrix of 1 x 3"),
        ("1,2,3\n4,5\n", "line 2 of the ranking must have 3 cells, as the first, got 2"),
        ("1,2,3\n4,five,6\n", "the ranking must hold finite numbers, got 'five' for row 1, head 1"),
        ("1,2,3\n4,,6\n", "must hold finite numbers, got 'nothing' for row 1, head 1"),
        ("1,2,3\n4,inf,6\n", "must hold finite numbers, got 'inf' for row 1, head 1"),
        (lines().replace("4.0", "high"), "must hold finite numbers, got 'high' for row 1, head 2"),
        (lines().replace("4.0", "nan"), "must hold finite numbers, got 'nan' for row 1, head 2"),
        (lines() + "2,0,1\n", "lists row 2, head 0, but the model has rows 0 to 1 and heads 0 to 2"),
        (lines() + "0,3,1\n", "lists row 0, head 3, but the model has rows 0 to 1"),
        (lines() + "-1,0,1\n", "lists row -1, head 0, but the model has rows 0 to 1"),
        (lines() + "0.5,0,1\n", "lists row 0.5, head 0, but the model has rows 0 to 1"),
        (lines() + "first,0,1\n", "lists row first, head 0, but the model has rows 0 to 1"),
        (lines() + "0,1,1\n", "the ranking lists row 0, head 1 twice; remove one of the two lines"),
        (lines(order=[0, 1, 2, 3, 5]), "the ranking lists 5 of 6 heads, the first missing one is row 1, head 1"),
    ],
)
def test_an_invalid_ranking_is_refused_in_one_sentence(text, words):
    with pytest.raises(hp.HeadPruneError, match=words) as refused:
        read_ranking(io.StringIO(text), GRID)
    assert "\n" not in str(refused.value)


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(hp.HeadPruneError, match=r"cannot open the ranking .*nothing\.csv: No such file or directory"):
        read_ranking(tmp_path / "nothing.csv", GRID)
    with pytest.raises(hp.HeadPruneError, match=r"cannot open the ranking a\\x00b: .*null"):
        read_ranking("a\0b", GRID)
    with pytest.raises(hp.HeadPruneError, match="is not UTF-8 text; choose a CSV file"):
        read_ranking(io.BytesIO(b"PK\x03\x04\xff\xfe"), GRID)
