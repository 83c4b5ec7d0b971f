"""Tables, masks and rankings that are made to do harm: each is refused in one sentence, soon, and nothing is written."""

import gzip
import io
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from helpers.parquet_files import lying, parquet, same_text

from headprune_core import HeadPruneError
from headprune_core.data.limits import UPLOAD
from headprune_core.data.table_io import read_table
from headprune_core.masks.mask_files import read_mask
from headprune_core.masks.rankings import read_ranking

PATIENCE = 10  # seconds, on a busy machine
LONGEST = 600  # characters of a message, with the name of the file
MEGABYTE = "a" * 1_000_000
GRID = SimpleNamespace(
    shape=(2, 3), row_names=("one", "two"), row_labels=("0", "1"), kept=np.ones((2, 3), bool), layers=(0, 1)
)
TEXTS = ["a fine day", "a bad day", "a long day"]


def one_line(start: str, values) -> bytes:
    return (start + ",".join(values)).encode()


def jsonl(*records) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


# name of the file, content, and a part of the sentence
TABLES = {
    "100,000 columns": lambda: ("a.csv", one_line("text,", ["c"] * 100_000), "100,001 columns, at most 1,000"),
    "a million columns": lambda: ("a.csv", b"text" + b",c" * 10**6 + b"\nx" + b",1" * 10**6, "1,000,001 columns"),
    "a million quoted columns": lambda: ("a.csv", b'"text"' + b",c" * 10**6, "1,000,001 columns"),
    "a million columns of tabs": lambda: ("a.tsv", b"text" + b"\tc" * 10**6 + b"\n", "1,000,001 columns"),
    "wide rows below a narrow header": lambda: (
        "a.csv",
        b"text,label\n" + (b"x" * 9 + b",1" * 9_999 + b"\n") * 400,
        "10,000 columns",
    ),
    "many values in each row": lambda: ("a.csv", b"text,label\n" + (b"x" + b",1" * 900 + b"\n") * 4_000, "3,000,.* cells"),
    "ten million rows": lambda: ("a.csv", b"a\n" * 10_000_000, "10,000,001 lines, at most 3,000,000"),
    "three hundred thousand rows": lambda: ("a.csv", b"a,b\n" * 300_000, "at least 250,001 rows, at most 250,000"),
    "ragged rows": lambda: ("a.csv", b"text,label\na,1\nb\nc,d,1,1\n,,,,\n", "no delimiter gives all rows equally many"),
    "a cell of 200,000 characters": lambda: ("a.csv", b'text,label\n"' + b"a" * 200_000 + b'",1\n', "131,072 characters"),
    "null characters": lambda: ("a.csv", b"text,label\na\0b,1\n", "looks like binary data"),
    "null characters as text": lambda: ("a.txt", b"\0" * 10_000, "looks like binary data"),
    "random bytes": lambda: ("a.txt", np.random.default_rng(0).bytes(100_000), "looks like binary data"),
    "half of UTF-16": lambda: ("a.csv", "text\nä\n".encode("utf-16")[:-1], "it is not utf-16"),
    "a mark of UTF-8 and other bytes": lambda: ("a.csv", b"\xef\xbb\xbftext\n\xff\xfe\xfd\n", "not utf-8-sig: byte"),
    "lists in lists": lambda: ("a.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "objects in objects": lambda: ("a.json", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "a deep line": lambda: ("a.jsonl", b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n", "damaged|no rows"),
    "empty objects": lambda: ("a.json", b"[" + b"{}," * 4_000_000 + b"{}]", "cells, at most 3,000,000"),
    "a new name in every object": lambda: ("a.json", json.dumps([{f"c{i}": 1} for i in range(50_000)]).encode(), "columns"),
    "a new name in every line": lambda: ("a.jsonl", jsonl(*({f"c{i}": 1} for i in range(50_000))), "1,001 columns"),
    "a million names in a line": lambda: ("a.jsonl", jsonl({f"c{i}": 1 for i in range(10**5)}), "columns|length of"),
    "a line of 2 MB": lambda: ("a.jsonl", jsonl({"text": 2 * MEGABYTE}), "a length of 2,000,012, at most 1,000,000"),
    "a text of 2 MB": lambda: ("a.json", json.dumps([{"text": 2 * MEGABYTE}]).encode(), "a length of 2,000,000"),
    "a list of two million": lambda: ("a.json", json.dumps([{"text": "a", "b": [1] * 2 * 10**6}]).encode(), "length of"),
    "a number of 100,000 digits": lambda: ("a.json", b'[{"text": "a", "label": ' + b"9" * 100_000 + b"}]", "cannot be read"),
    "numbers instead of objects": lambda: ("a.json", b"12", "expected a list of objects"),
    "a name of 100,000 characters": lambda: ("a.json", json.dumps([{MEGABYTE[:100_000]: "a"}]).encode(), "column name has"),
    "columns of different lengths": lambda: ("a.json", b'{"text": ["a"], "label": [1, 2]}', "cannot be read"),
    "one text, 3,700 times": lambda: ("a.parquet", parquet({"text": same_text(MEGABYTE, 3_700)}), "3,700.0 MB, at most 100"),
    "one text, 3,700 times, with a false size": lambda: (
        "a.parquet",
        lying(parquet({"text": same_text(MEGABYTE, 3_700)}, compression="zstd"), unpacked=100),
        "3,700.0 MB",
    ),
    "pages of 200 MB": lambda: ("a.parquet", pages_of_200_mb(), "MB, at most 100.0 MB"),
    "pages of 200 MB with a false size": lambda: ("a.parquet", lying(pages_of_200_mb(), unpacked=100), "at most 100.0 MB"),
    "a million rows": lambda: ("a.parquet", parquet({"text": same_text("a", 10**6)}), "1,000,000 rows, at most 250,000"),
    "a million rows that are said to be 10": lambda: (
        "a.parquet",
        lying(parquet({"n": pa.array(np.zeros(4 * 10**6, np.int64))}), num_rows=10),
        "cells|rows",
    ),
    "one row with a list of four million": lambda: (
        "a.parquet",
        parquet({"tokens": pa.ListArray.from_arrays([0, 4 * 10**6], pa.array(np.zeros(4 * 10**6, np.int32)))}),
        "4,000,000 cells",
    ),
    "a list of 200,000 times one text": lambda: (
        "a.parquet",
        parquet({"tokens": pa.ListArray.from_arrays([0, 200_000], same_text(MEGABYTE, 200_000))}),
        "at most 100.0 MB",
    ),
    "a beginning of 90,000 characters, repeated": lambda: (
        "a.parquet",
        parquet(
            {"text": [f"{MEGABYTE[:90_000]}{i}" for i in range(1_200)]},
            use_dictionary=False,
            column_encoding={"text": "DELTA_BYTE_ARRAY"},
        ),
        "at most 100.0 MB",
    ),
    "values of fixed size": lambda: (
        "a.parquet",
        parquet({"text": pa.array([MEGABYTE.encode()] * 110, pa.binary(10**6))}, compression="zstd"),
        "110.0 MB",
    ),
    "20,000 columns in Parquet": lambda: ("a.parquet", parquet({f"c{i}": [1] for i in range(20_000)}), "20,000 columns"),
    "a long name in Parquet": lambda: ("a.parquet", parquet({MEGABYTE[:5_000]: ["a"]}), "column name has 5,000"),
    "half of a Parquet file": lambda: ("a.parquet", parquet({"text": TEXTS})[:-20], "cannot be read as parquet"),
    "a summary that is larger than the file": lambda: (
        "a.parquet",
        b"PAR1\0\xff\xff\xff\x7fPAR1",
        "cannot be read as parquet",
    ),
    "a summary of random bytes": lambda: (
        "a.parquet",
        b"PAR1" + np.random.default_rng(1).bytes(1_000) + (900).to_bytes(4, "little") + b"PAR1",
        "cannot be read as parquet",
    ),
    "pages of random bytes": lambda: ("a.parquet", spoiled_pages(), "page is damaged|cannot be read"),
    "a line of 20 MB": lambda: ("a.txt", MEGABYTE.encode() * 20, "a length of 20,000,000"),
    "four million line ends": lambda: ("a.txt", b"a" + b"\n" * 4 * 10**6, "4,000,001 lines, at most 3,000,000"),
    "three hundred thousand lines": lambda: ("a.txt", b"an example\n" * 300_000, "250,001 rows"),
    "two million words": lambda: ("a.conll", b"word O\n" * 2_000_000, "cells"),
    "a line of a million words": lambda: ("a.conll", b"w " * 10**6 + b"O\n", "a length of 2,000,00"),
    "one value per line in CoNLL": lambda: ("a.conll", b"word\n\n" * 1_000, "each line must have a word and its tag"),
    "markup in the name": lambda: ('<img src=x onerror="alert(1)">[a](b).csv', b" ", "is empty"),
    "a line break in the name": lambda: ("a\nb.csv", b"text\n", "has no rows"),
    "an archive": lambda: ("a.csv", gzip.compress(b"text\na\n"), "a gzip archive"),
    "a pickle": lambda: ("a.jsonl", pickle.dumps(TEXTS), "a Python pickle"),
    "a pointer": lambda: ("a.csv", b"version https://git-lfs.github.com/spec/v1\nsize 123\n", "Git LFS pointer"),
}


# Their files take long to make or to search.
SLOW = (
    "many values in each row",
    "three hundred thousand rows",
    "three hundred thousand lines",
    "pages of 200 MB",
    "pages of 200 MB with a false size",
    "20,000 columns in Parquet",
    "two million words",
)


def pages_of_200_mb() -> bytes:
    texts = [f"{MEGABYTE[:500_000]}{i}" for i in range(400)]
    return parquet({"text": texts}, use_dictionary=False, compression="zstd")


def spoiled_pages() -> bytes:
    data = parquet({"text": TEXTS * 1_000}, compression="none")
    return data[:4] + np.random.default_rng(2).bytes(60) + data[64:]


def mask(**changed) -> bytes:
    return json.dumps({"version": 1, "shape": [2, 3], "kept": [[True] * 3] * 2} | changed).encode()


def mask_table(*cells: str) -> bytes:
    """A mask of all heads whose first lines are replaced."""
    lines = [f"{row},{head},true" for row in range(2) for head in range(3)]
    return "\n".join(["row,head,kept", *cells, *lines[len(cells) :]]).encode()


MASKS = {
    "5 MB": lambda: ("m.json", b" " * 5_000_000, "at most 4,194,304 bytes"),
    "lists in lists": lambda: ("m.json", b"[" * 10**6, "not valid JSON"),
    "a number of 100,000 digits": lambda: ("m.json", b'{"version": ' + b"9" * 100_000 + b"}", "not valid JSON"),
    "a million rows": lambda: ("m.json", mask(kept=[[]] * 10**6), "2 rows of 3 heads"),
    "a long name": lambda: ("m.json", mask(row_names=[MEGABYTE]), "was made for a model with rows named"),
    "markup in names": lambda: ("m.json", b'{"<img src=x onerror=alert(1)>": "\\n"}', "must have the keys"),
    "a name twice": lambda: ("m.json", b'{"version": 1, "kept": [[1,1,1],[1,1,1]], "kept": []}', "duplicate name"),
    "NaN": lambda: ("m.json", b'{"version": 1, "kept": [[NaN, 1, 1], [1, 1, 1]]}', "true or false, got NaN"),
    "infinity": lambda: ("m.json", b'{"version": 1, "kept": [[1e999, 1, 1], [1, 1, 1]]}', "true or false, got Infinity"),
    "UTF-16": lambda: ("m.csv", mask_table().decode().encode("utf-16"), "not UTF-8 text"),
    "null characters": lambda: ("m.csv", mask_table("0\0,0,true"), "which m.csv lists"),
    "100,000 columns": lambda: ("m.csv", one_line("", ["kept"] * 100_000), "expected the columns row, head and kept"),
    "a cell of 200,000 characters": lambda: ("m.csv", mask_table(f"{MEGABYTE[:200_000]},0,true"), "not valid CSV"),
    "a row number over 2^63": lambda: ("m.csv", mask_table(f"{2**63},0,true"), "the model has no row 9223372036854775808"),
    "a formula": lambda: ("m.csv", mask_table("0,0,=1+1"), "true or false, got '=1.1'"),
}


def ranking(*cells: str) -> bytes:
    """A ranking of all heads whose first lines are replaced."""
    lines = [f"{row},{head},0.5" for row in range(2) for head in range(3)]
    return "\n".join(["row,head,score", *cells, *lines[len(cells) :]]).encode()


RANKINGS = {
    "5 MB": lambda: (b"0.5," * 1_250_000, "at most 4,194,304 bytes"),
    "a million columns": lambda: (b"c," * 10**6, "expected the columns"),
    "a million numbers": lambda: (b"1," * 10**6 + b"1", "2 rows x 3 heads, got a matrix of 1 x 1000001"),
    "markup in names": lambda: (b"<img src=x onerror=alert(1)>,b\n1,2\n", "expected the columns"),
    "a long value": lambda: (ranking(f"0,0,{MEGABYTE[:100_000]}"), "must hold finite numbers, got 'aaa"),
    "a cell of 200,000 characters": lambda: (ranking(f"0,0,{MEGABYTE[:200_000]}"), "not valid CSV"),
    "a long row": lambda: (ranking(f"{MEGABYTE[:100_000]},0,1"), "lists row aaa"),
    "an underscore in a number": lambda: (ranking("0,0,1_1"), "finite numbers, got '1_1'"),
    "Arabic digits": lambda: (ranking("0,0,١"), "finite numbers, got '١'"),
    "a number too large": lambda: (ranking("0,0,1e999"), "finite numbers, got '1e999'"),
    "a row over 2^63": lambda: (ranking(f"{2**63},0,1"), "lists row 9223372036854775808"),
    "UTF-16": lambda: (ranking().decode().encode("utf-16"), "not UTF-8 text"),
    "null characters": lambda: (ranking("0,0,1\0"), "finite numbers"),
    "ragged rows": lambda: (b"1,2,3\n4,5\n", "line 2 of the ranking must have 3 cells"),
    "a line break in a name": lambda: (b'"row\nx",head,score\n0,0,1\n', r"columns row\?x, head"),
}


def refused(read, words: str, name: str, folder) -> None:
    """`read` raises one sentence with these words (a pattern), soon, and writes nothing."""
    start = time.monotonic()
    with pytest.raises(HeadPruneError, match=words) as refusal:
        read()
    assert time.monotonic() - start < PATIENCE
    message = str(refusal.value).replace(name, "FILE")
    assert "\n" not in message
    assert len(message) < LONGEST
    assert "Traceback" not in message
    assert not any(folder.iterdir())


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in TABLES])
def test_a_hostile_table_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, data, words = TABLES[case]()
    refused(lambda: read_table(name, data, limits=UPLOAD), words, name, tmp_path)


@pytest.mark.parametrize("case", MASKS)
def test_a_hostile_mask_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, data, words = MASKS[case]()
    refused(lambda: read_mask(data, name, GRID), words, name, tmp_path)


@pytest.mark.parametrize("case", RANKINGS)
def test_a_hostile_ranking_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, words = RANKINGS[case]()
    refused(lambda: read_ranking(io.BytesIO(data), GRID), words, "a.csv", tmp_path)


WORST = ("one text, 3,700 times", "pages of 200 MB with a false size", "a list of 200,000 times one text", "empty objects")
MEASURE = """
import sys
from pathlib import Path
from headprune_core import HeadPruneError
from headprune_core.data.limits import UPLOAD
from headprune_core.data.table_io import read_table

def peak():
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


read_table("a.csv", b"text,label\\na,1\\n", limits=UPLOAD)
before = peak()
for file in sys.argv[1:]:
    with open(file, "rb") as opened:
        data = opened.read()
    try:
        read_table(file, data, limits=UPLOAD)
    except HeadPruneError:
        continue
    raise SystemExit(f"{file} was read")
print((peak() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs the peak of the memory of a process")
def test_refusing_the_worst_tables_takes_little_memory(tmp_path):
    files = []
    for number, case in enumerate(WORST):
        name, data, _ = TABLES[case]()
        files.append(tmp_path / f"{number}{name}")
        files[-1].write_bytes(data)
    found = subprocess.run([sys.executable, "-c", MEASURE, *map(str, files)], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 200  # MiB
