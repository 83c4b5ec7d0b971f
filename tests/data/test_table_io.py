"""Files as users bring them: every kind that is read, and every pretender that is refused."""

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
PRETENDERS = {
    "empty": ("a.csv", b"", "a.csv is empty"),
    "only blank": ("a.jsonl", b" \n\n", "a.jsonl is empty"),
    "header alone": ("a.csv", b"text,label\n", "has no rows"),
    "other ending": ("a.xlsx", b"PK\x03\x04", "ends in .xlsx; expected a file ending in .csv"),
    "no ending": ("readme", b"text\na\n", "ends in nothing"),
    "picture": ("a.csv", PNG, "holds a PNG picture; expected text, as its name says"),
    "office document": ("a.csv", b"PK\x03\x04" + bytes(20), "holds a zip archive or an Office document"),
    "parquet as csv": ("a.csv", parquet(), "holds a Parquet file; expected text"),
    "csv as parquet": ("a.parquet", b"text\na\n", "holds plain text; expected a Parquet file"),
    "picture as parquet": ("a.parquet", PNG, "holds a PNG picture; expected a Parquet file"),
    "cut parquet": ("a.parquet", parquet()[:200], "cannot be read as parquet"),
    "binary": ("a.tsv", bytes(range(256)), "holds binary data"),
    "half a document": ("a.json", b'[{"text": ', "cannot be read as json"),
    "a number": ("a.json", b"3", "cannot be read as json"),
    "lines as one document": ("a.json", b'{"text": "a"}\n{"text": "b"}\n', "cannot be read as json"),
    "a row too long": ("a.csv", b"text,label\na,1\nb,c,1\n", "cannot be read as csv"),
    "all rows too long": ("a.csv", b"text,label\nb, c,1\nd, e,0\n", "more values than its header has names"),
    "some lines with labels": ("a.txt", b"a\t1\nb\n", "a.txt: 1 of 2 lines have a label after a tab"),
    "letters of no encoding": ("a.csv", b"text\n\xc3\x28\x81\n", "none of UTF-8, UTF-16 and Windows-1252"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_read(name):
    expected = TABLE.astype(str) if name.endswith(".txt") else TABLE  # lines do not say what is a number
    pd.testing.assert_frame_equal(read_table(name, FILES[name]), expected, check_dtype=False)


def test_every_ending_that_is_offered_is_tried_above():
    assert {f".{name.lower().split('.')[1]}" for name in FILES} == set(SUFFIXES)


@pytest.mark.parametrize(("name", "data", "words"), PRETENDERS.values(), ids=PRETENDERS)
def test_a_file_that_is_not_what_its_name_says_is_refused(name, data, words):
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


def test_words_that_look_like_nothing_are_text():
    table = read_table("a.csv", b"text,label\nNone,NA\nnull,\n")
    assert table.text.to_list() == ["None", "null"]
    assert table.label.isna().to_list() == [False, True]


def test_column_names_are_text():
    assert list(read_table("a.json", b'["one text", "another"]').columns) == ["0"]
