"""Uploaded files: every supported format, and files whose content does not match their extension."""

import io
import pickle

import pandas as pd
import pytest

from headprune_core import HeadPruneError
from headprune_core.data.table_io import SUFFIXES, read_table

TABLE = pd.DataFrame({"text": ["a fine, long day", "naïve “quotes”", 'she said "no"'], "label": [1, 0, 2]})


def parquet(table=TABLE):
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


FILES = {
    "a.csv": TABLE.to_csv(index=False).encode(),
    "A.CSV": TABLE.to_csv(index=False).encode(),
    "bom.csv": TABLE.to_csv(index=False).encode("utf-8-sig"),
    "windows.csv": TABLE.to_csv(index=False).encode("cp1252"),
    "excel.csv": TABLE.to_csv(index=False).encode("utf-16"),
    "a.tsv": TABLE.to_csv(index=False, sep="\t").encode(),
    "a.jsonl": TABLE.to_json(orient="records", lines=True).encode(),
    "a.json": TABLE.to_json(orient="records").encode(),
    "a.parquet": parquet(),
    "a.txt": "".join(f"{text}\t{label}\n" for text, label in TABLE.to_numpy()).encode(),
}

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
MISMATCHES = {
    "empty": ("a.csv", b"", "a.csv is empty"),
    "only blank": ("a.jsonl", b" \n\n", "a.jsonl is empty"),
    "header alone": ("a.csv", b"text,label\n", "has no rows"),
    "other ending": ("a.xlsx", b"PK\x03\x04", "file extension of a.xlsx must be one of .csv"),
    "no ending": ("readme", b"text\na\n", "must be one of .*, got none"),
    "picture": ("a.csv", PNG, "looks like a PNG image, not plain text; fix the file extension"),
    "office document": ("a.csv", b"PK\x03\x04" + bytes(20), "looks like a zip archive or an Office document"),
    "parquet as csv": ("a.csv", parquet(), "looks like a Parquet file, not plain text"),
    "csv as parquet": ("a.parquet", b"text\na\n", "looks like plain text, not a Parquet file"),
    "picture as parquet": ("a.parquet", PNG, "looks like a PNG image, not a Parquet file"),
    "cut parquet": ("a.parquet", parquet()[:200], "cannot be read as parquet"),
    "binary": ("a.tsv", bytes(range(256)), "looks like binary data"),
    "half a document": ("a.json", b'[{"text": ', "cannot be read as json"),
    "a number": ("a.json", b"3", "cannot be read as json"),
    "lines as one document": ("a.json", b'{"text": "a"}\n{"text": "b"}\n', "cannot be read as json"),
    "a row too long": ("a.csv", b"text,label\na,1\nb,c,1\n", "no delimiter gives all rows equally many values"),
    "all rows too long": ("a.csv", b"text,label\nb, c,1\nd, e,0\n", "no delimiter gives all rows equally many values"),
    "some lines with labels": ("a.txt", b"a\t1\nb\n", "a.txt: 1 of 2 lines have a label after a tab"),
    "a pointer": ("a.csv", b"version https://git-lfs.github.com/spec/v1\nsize 123\n", "Git LFS pointer, .*git lfs pull"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read(name):
    typed = name.endswith((".json", ".jsonl", ".parquet"))  # cells of the other formats are text
    pd.testing.assert_frame_equal(
        read_table(name, FILES[name]).frame, TABLE if typed else TABLE.astype(str), check_dtype=False
    )


def test_every_supported_extension_is_tested_above():
    words = {".conll", ".bio", ".iob"}  # in tests/data/plan/test_tags.py
    assert {f".{name.lower().split('.')[1]}" for name in FILES} == set(SUFFIXES) - words


@pytest.mark.parametrize(("name", "data", "words"), MISMATCHES.values(), ids=MISMATCHES)
def test_content_that_does_not_match_the_extension_is_refused(name, data, words):
    with pytest.raises(HeadPruneError, match=words) as refusal:
        read_table(name, data)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


class Trap:
    """Unpickling this would raise; it must never be unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_a_pickle_is_refused_and_never_opened(name, protocol):
    with pytest.raises(HeadPruneError, match=r"binary data|Python pickle"):
        read_table(name, pickle.dumps([Trap(), 1.5], protocol=protocol))


def test_words_that_look_like_missing_values_are_text():
    table = read_table("a.csv", b"text,label\nNone,NA\nnull,\n").frame
    assert table.to_dict("list") == {"text": ["None", "null"], "label": ["NA", ""]}


def test_column_names_are_text():
    assert list(read_table("a.json", b'["one text", "another"]').frame.columns) == ["0"]
