"""Tables and documents that pages offer for download: no formulas in spreadsheets, strict JSON."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv

HOSTILE = ["=1+1", "+49 30 1234", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x";"y")']


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_and_no_column_name_is_a_formula(text):
    written = spreadsheet_csv(pd.DataFrame({"text": [text, f"a {text}"], text: [1.5, -2.0]}))
    (_, name), (first, high), (second, low) = csv.reader(io.StringIO(written, newline=""))
    assert first == f"'{text}"
    assert name == f"'{text}"
    assert second == f"a {text}"
    assert (float(high), float(low)) == (1.5, -2.0)


def test_numbers_and_missing_values_are_written_as_before():
    frame = pd.DataFrame(
        {
            "score": [-1.5, np.nan, 1e-9],
            "seed": pd.array([-1, None, 3], dtype="Int64"),
            "kept": [True, False, True],
            "text": ["a, b", None, 'say "no"'],
        }
    )
    assert spreadsheet_csv(frame).replace("\r\n", "\n") == frame.to_csv(index=False)


def test_a_line_break_in_a_text_starts_no_formula():
    (text,) = pd.read_csv(io.StringIO(spreadsheet_csv(pd.DataFrame({"text": ["a\r=1+1"]})), newline="")).text
    assert text == "a\r=1+1"
