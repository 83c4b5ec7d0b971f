"""Limits on tables: honest tables are read in full, limits follow the free memory, and reading can be cancelled."""

import io

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.parquet_files import lying, parquet, same_text

from headprune_core import HeadPruneError, load_examples, plan_examples
from headprune_core.data import limits
from headprune_core.data.formats.parquet import check_parquet_folder
from headprune_core.data.limits import UPLOAD
from headprune_core.data.table_io import read_table
from headprune_core.errors import Cancelled

HONEST = {
    "lists": {"tokens": [["a", "b"], ["c"], []] * 50, "label": list(range(150))},
    "structures": {"text": [{"one": "a", "two": ["b", None]}] * 20, "n": [0.5, None] * 10},
    "missing": {"text": ["a", None, "c" * 5_000], "when": pd.date_range("2026", periods=3)},
    "long texts": {"text": [f"{i} {'word ' * 2_000}" for i in range(100)]},
}
ENCODINGS = {
    "as usual": {},
    "without dictionaries": {"use_dictionary": False, "compression": "zstd"},
    "small groups and pages": {"row_group_size": 20, "data_page_size": 100, "write_batch_size": 5},
    "pages of version 2": {"data_page_version": "2.0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("columns", HONEST)
def test_an_honest_parquet_file_is_read_as_pandas_reads_it(columns, encoding):
    data = parquet(HONEST[columns], **ENCODINGS[encoding])
    found, expected = read_table("a.parquet", data, limits=UPLOAD).frame, pd.read_parquet(io.BytesIO(data))
    pd.testing.assert_frame_equal(found, expected)


def test_texts_that_repeat_beginnings_are_read():
    texts = [f"{'the same beginning ' * 50}{i}" for i in range(5_000)]
    data = parquet({"text": texts}, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"})
    assert len(data) < sum(map(len, texts)) / 10
    assert read_table("a.parquet", data, limits=UPLOAD).frame.text.tolist() == texts


def test_many_rows_with_the_same_long_text_are_read_up_to_the_limit():
    data = parquet({"text": same_text("a" * 100_000, 900)})
    assert read_table("a.parquet", data, limits=UPLOAD).frame.text.str.len().sum() == 90_000_000
    with pytest.raises(HeadPruneError, match=r"110\.0 MB, at most 100\.0 MB can be read"):
        read_table("a.parquet", parquet({"text": same_text("a" * 100_000, 1_100)}), limits=UPLOAD)


def test_categories_are_texts_and_row_numbers_are_no_column(tmp_path):
    table = pd.DataFrame({"text": ["a day", "a night", "a week"], "label": pd.Categorical(["x", "y", "x"])}, index=[3, 1, 2])
    table.to_parquet(tmp_path / "t.parquet")
    plan = plan_examples(tmp_path / "t.parquet")
    assert plan.table.to_dict("list") == {"text": ["a day", "a night", "a week"], "label": ["x", "y", "x"]}


def test_local_limits_follow_the_free_memory(monkeypatch, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("text\n" + "".join(f"a text of {i} words\n" for i in range(1_000)))
    assert len(load_examples(file, size=10)) == 10
    monkeypatch.setattr(limits, "available_memory", lambda: 40_000)
    with pytest.raises(HeadPruneError, match=r"t\.csv: its unpacked content has 0\.0 MB, at most 0\.0 MB can be read"):
        load_examples(file, size=10)


def test_a_wide_local_table_is_read_and_not_uploaded():
    data = (",".join(["text", *(f"c{i}" for i in range(4_999))]) + "\n" + "a" + ",1" * 4_999 + "\n").encode()
    assert read_table("a.csv", data).frame.shape == (1, 5_000)
    with pytest.raises(HeadPruneError, match=r"at most 1,000 can be read; .* Python or the command line"):
        read_table("a.csv", data, limits=UPLOAD)


def test_a_table_in_memory_has_limits_too():
    with pytest.raises(HeadPruneError, match="the DataFrame: it has 10,001 columns, at most 10,000"):
        plan_examples(pd.DataFrame(np.zeros((1, limits.MAX_COLUMNS + 1)), columns=[f"c{i}" for i in range(10_001)]))


def test_a_selection_of_a_large_dataset_counts_as_its_own_rows(monkeypatch):
    rows = datasets.Dataset.from_dict({"text": [f"{i} {'a' * 1_000}" for i in range(1_000)]})
    few = rows.select(range(10))
    monkeypatch.setattr(limits, "available_memory", lambda: 400_000)
    assert plan_examples(few).n_examples == 10
    with pytest.raises(HeadPruneError, match=r"Dataset: its unpacked content has 1\.0 MB, at most 0\.1 MB"):
        plan_examples(rows)


def test_the_parquet_files_of_a_folder_are_checked_before_the_library_reads_them(tmp_path):
    (tmp_path / "train.parquet").write_bytes(parquet({"text": ["a"] * 10}))
    check_parquet_folder(tmp_path, UPLOAD)
    bomb = parquet({"text": same_text("a" * 1_000_000, 3_700)}, compression="zstd")
    (tmp_path / "validation.parquet").write_bytes(lying(bomb, unpacked=100))
    with pytest.raises(HeadPruneError, match=r"validation\.parquet: .*at most 100\.0 MB"):
        check_parquet_folder(tmp_path, UPLOAD)


LARGE = {
    "a.csv": lambda: b"text,label\n" + b'"a text",1\n' * 50_000,
    "a.jsonl": lambda: b'{"text": "a text"}\n' * 50_000,
    "a.conll": lambda: b"word O\n" * 50_000,
    "a.parquet": lambda: parquet({"text": [f"text {i}" for i in range(50_000)]}),
}


@pytest.mark.parametrize("name", LARGE)
def test_reading_reports_progress_and_can_be_cancelled(name):
    data, notes = LARGE[name](), []

    def stop(done, total, note):
        assert 0 <= done <= total
        notes.append(note)
        if len(notes) > 6:
            raise Cancelled("reading was cancelled")

    with pytest.raises(Cancelled):
        read_table(name, data, progress=stop)
    assert len(set(notes)) > 1


def test_dates_in_json_stay_texts():
    data = b'[{"text": "a", "date": "2026-01-01", "updated_at": 1}]'
    assert read_table("a.json", data).frame.to_dict("list") == {"text": ["a"], "date": ["2026-01-01"], "updated_at": [1]}
