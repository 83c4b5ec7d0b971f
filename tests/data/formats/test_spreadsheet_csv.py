"""Tables that pages, the export bundle and commands write as CSV: no formulas in spreadsheets."""

import ast
import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from headprune_core.masks.mask_files import mask_csv

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


def test_every_table_that_is_written_goes_through_it():
    root = Path(__file__).resolve().parents[3]
    files = [*(root / "headprune_core").rglob("*.py"), *(root / "pages").rglob("*.py")]
    writers = {
        file.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("to_csv", "writer", "DictWriter", "savetxt", "to_excel")
    }
    assert writers == {"spreadsheet_csv.py"}
    downloads = [
        ast.get_source_segment(text, node)
        for text in (file.read_text(encoding="utf-8") for file in files)
        if "text/csv" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Lambda) and "csv" in ast.get_source_segment(text, node)
    ]
    assert len(downloads) == 4
    assert all(data.startswith("lambda: spreadsheet_csv(") for data in downloads)


def test_a_mask_has_numbers_and_truths_only():
    rows = csv.reader(io.StringIO(mask_csv(np.array([[True, False]]))))
    assert list(rows) == [["row", "head", "kept"], ["0", "0", "true"], ["0", "1", "false"]]
