"""Examples from every source: usable and skipped rows, and disjoint calibration and evaluation sets."""

import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.examples import CALIBRATION_POOL, as_examples, describe_overlap, overlap, read_examples
from headprune_core.data.plan.rows import LONGEST_CELL
from headprune_core.data.table_io import lines_table

SENTENCES = [f"sentence number {i}" for i in range(60)]


def frame(rows=60, classes=3):
    labels = {"label": [i % classes for i in range(rows)]} if classes else {}
    return pd.DataFrame({"text": [f"sentence number {i}" for i in range(rows)]} | labels)


def read(table, **options):
    """(Dataset, notes) of a table, by default all of its calibration rows."""
    return read_examples(table, **{"size": 10_000} | options)


@pytest.mark.slow
@given(rows=st.integers(2, 900), classes=st.integers(0, 5), seed=st.integers(0, 9), other_seed=st.integers(0, 9))
def test_calibration_and_evaluation_never_share_a_row(rows, classes, seed, other_seed):
    table = frame(rows, classes)
    calibration = set(read(table, seed=seed)[0]["text"])
    evaluation = set(read(table, seed=other_seed, split="evaluation")[0]["text"])
    assert not calibration & evaluation
    assert calibration | evaluation == set(table.text)
    assert len(calibration) == min(CALIBRATION_POOL, max(1, rows // 3))


@pytest.mark.slow
@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_prefixes_are_balanced_and_nested(counts, size, seed):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    table = pd.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    everything = read(table, split="evaluation", seed=seed)[0].to_pandas()
    part = read(table, split="evaluation", seed=seed, size=size)[0].to_pandas()
    pd.testing.assert_frame_equal(part, everything.head(size))
    taken, there = part.label.value_counts(), everything.label.value_counts()
    most = taken.max()
    # a class may have fewer examples by more than one only if it is exhausted
    assert all(taken.get(label, 0) >= most - 1 or taken.get(label, 0) == there[label] for label in there.index)


def test_another_seed_selects_other_rows():
    first, second = (read(frame(), size=8, seed=seed)[0]["text"] for seed in (0, 1))
    assert list(first) != list(second)
    assert list(first) == list(read(frame(), size=8, seed=0)[0]["text"])


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl", "rows.json", "rows.parquet"])
def test_files(name, tmp_path):
    path = tmp_path / name
    {
        ".csv": lambda: frame().to_csv(path, index=False),
        ".tsv": lambda: frame().to_csv(path, index=False, sep="\t"),
        ".jsonl": lambda: frame().to_json(path, orient="records", lines=True),
        ".json": lambda: frame().to_json(path, orient="records"),
        ".parquet": lambda: frame().to_parquet(path),
    }[path.suffix]()
    for source in (path, str(path)):
        assert hp.load_examples(source, size=12).to_dict() == read(frame(), size=12)[0].to_dict()


def test_lists_of_texts_and_of_pairs():
    assert hp.load_examples(SENTENCES, size=20).column_names == ["text"]
    pairs = hp.load_examples([(text, len(text) % 2) for text in SENTENCES], size=20)
    assert all(len(text) % 2 == label for text, label in zip(pairs["text"], pairs["label"], strict=True))


@pytest.mark.parametrize("rows", [[1, 2], [("a", "b", 1)], [("a",)], ["a", 3]])
def test_lists_of_other_items_are_refused(rows):
    with pytest.raises(hp.HeadPruneError, match="list items must be strings or \\(text, label\\) pairs"):
        hp.load_examples(rows)


def test_two_texts_and_a_label_are_found_by_their_usual_names():
    table = pd.DataFrame({"id": range(3), "premise": list("abc"), "hypothesis": list("def"), "Label": ["x", "y", "x"]})
    examples, _ = read(table, split="evaluation")
    found = set(zip(examples["text"], examples["text_pair"], examples["label"], strict=True))
    assert found < {("a", "d", "x"), ("b", "e", "y"), ("c", "f", "x")}


def test_columns_can_be_named():
    table = pd.DataFrame(
        {"text": ["wrong"] * 9, "said": list("abcdefghi"), "reply": list("jklmnopqr"), "mood": [0, 1, 2] * 3}
    )
    columns = {"text_column": "said", "text_pair_column": "reply", "label_column": "mood"}
    examples = hp.load_examples(table, size=3, **columns)
    assert set(examples["text"]) < set("abcdefghi")
    assert all(ord(b) - ord(a) == 9 for a, b in zip(examples["text"], examples["text_pair"], strict=True))
    assert sorted(examples["label"]) == [0, 1, 2]


@pytest.mark.parametrize("column", ["text_column", "text_pair_column", "label_column"])
def test_an_unknown_column_is_refused(column):
    with pytest.raises(hp.HeadPruneError, match="column 'nope' not found; the table has the columns text, label"):
        hp.load_examples(frame(), **{column: "nope"})


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
        pd.DataFrame({"one": ["a", "b"], "two": ["c", "d"]}),
        pd.DataFrame({"label": ["a", "b"]}),
        pd.DataFrame({"text": [1.5, 2.5]}),
        pd.DataFrame([["a", "b"]]),
        pd.DataFrame(),
    ],
)
def test_a_table_without_a_column_of_text_is_refused(table):
    with pytest.raises(hp.HeadPruneError, match="no text column found"):
        hp.load_examples(table)


def test_a_text_column_of_numbers_is_refused():
    with pytest.raises(hp.HeadPruneError, match="column 'label' must contain text, got int64 values"):
        hp.load_examples(frame(), text_column="label")


def test_empty_unlabeled_and_duplicate_rows_are_skipped_with_notes():
    texts = ["a", " a ", "", "  ", None, "b", "c", "d", "e"]
    labels = [0, 1, 0, 0, 0, None, 1, 0, 1]
    table = pd.DataFrame({"text": texts, "label": labels})
    calibration, notes = read(table, size=1)
    evaluation, _ = read(table, split="evaluation", size=3)
    assert sorted([*calibration["text"], *evaluation["text"]]) == ["a", "c", "d", "e"]
    assert notes == [
        "3 rows without text were left out (first: row 3).",
        "1 row without a label was left out (row 6, 'b').",
        "1 row with the text of an earlier row was left out (row 2, 'a').",
    ]


def test_skipped_rows_cause_a_warning():
    with pytest.warns(hp.HeadPruneWarning, match="1 row with the text of an earlier row was left out \\(row 4, 'c'\\)"):
        hp.load_examples(["a", "b", "c", "c"], size=1)


def test_fewer_rows_than_requested_are_noted():
    assert read(frame(9), size=5)[1] == ["Requested 5 examples, but the calibration split has only 3; using all of them."]


def test_a_table_of_empty_rows_is_refused():
    with pytest.raises(hp.HeadPruneError, match="none of the 3 rows is usable"):
        hp.load_examples(["", " ", "\t"])


def test_a_very_long_text_is_refused():
    with pytest.raises(hp.HeadPruneError, match=r"row 2 has 5,000,000 characters; the limit is 100,000"):
        hp.load_examples(["a", "b" * 5_000_000, "c"])
    assert len(hp.load_examples(["b" * LONGEST_CELL, "c" * LONGEST_CELL], size=1)) == 1


def test_one_example_can_be_scored_but_not_evaluated():
    assert hp.load_examples(["a"], size=1)["text"][:] == ["a"]
    with pytest.raises(hp.HeadPruneError, match="has only 1 usable row; at least 2 are needed"):
        hp.load_examples(["a"], size=1, split="evaluation")


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ([1.0, 0.0, 1.0], {0, 1}),
        ([True, False, True], {0, 1}),
        ([" up ", "down", "up"], {"up", "down"}),
        ([1, "x", 1], {"1", "x"}),
        ([1.0, 2.5, 1.0], {"1", "2.5"}),
    ],
)
def test_labels_are_integers_or_text(labels, kept):
    table = pd.DataFrame({"text": [f"t{i}" for i in range(9)], "label": labels * 3})
    assert set(read(table, split="evaluation")[0]["label"]) == kept


def test_pasted_lines():
    plain = lines_table("first line\n\n  second line\n")
    assert list(plain.columns) == ["text"]
    assert read(plain, split="evaluation")[0]["text"][:] in (["first line"], ["second line"])
    labelled = lines_table("a\tstill a\tgood\nb\tbad\n")
    assert labelled.to_dict("list") == {"text": ["a\tstill a", "b"], "label": ["good", "bad"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no text found; enter one example per line"),
        (" \n\n", "no text found; enter one example per line"),
        ("a\t1\nb\nc", "1 of 3 lines have a label"),
    ],
)
def test_invalid_pasted_lines(text, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        lines_table(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"split": "train"}, "split of a table must be 'calibration' or 'evaluation', got 'train'"),
        ({"split": "training"}, "split of a table must be 'calibration' or 'evaluation', got 'training'"),
    ],
)
def test_an_invalid_size_or_split_is_refused(options, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.load_examples(frame(), **options)


@pytest.mark.slow
def test_eight_threads_can_load_at_once_and_leave_the_output_alone(eager_switching, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    before = sys.stdout
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: hp.load_examples(frame(), size=9, seed=seed % 8).to_dict(), range(200)))
    assert sys.stdout is before
    assert together == [hp.load_examples(frame(), size=9, seed=seed % 8).to_dict() for seed in range(200)]


def test_builtin_is_an_alias_of_embedded():
    for split in ("calibration", "evaluation"):
        assert hp.load_examples("builtin", split=split, size=8).to_dict() == hp.load_examples(split=split, size=8).to_dict()


def test_the_builtin_dataset_has_three_splits():
    with pytest.raises(hp.HeadPruneError, match="must be one of calibration, evaluation, training, got 'train'"):
        hp.load_examples(split="train")


@pytest.mark.parametrize("source", ["gone.csv", "./gone", "/gone/rows", "~/gone.parquet"])
def test_a_missing_file_is_refused(source):
    with pytest.raises(hp.HeadPruneError, match=f"file not found: {re.escape(source)}; use 'embedded', a file"):
        hp.load_examples(source)


@pytest.mark.parametrize("source", ["stanfordnlp/imdb", "imdb"])
def test_a_hub_dataset_without_network_is_refused(source):
    with pytest.raises(hp.HeadPruneError, match=f"could not download dataset {source} .*check the network"):
        hp.load_examples(source)


@pytest.mark.parametrize(("first", "second", "shared"), [("ab", "cd", 0), ("abc", "bcd", 2), ("a", "aa", 2)])
def test_overlap_is_counted_by_content(first, second, shared):
    one, other = (
        datasets.Dataset.from_dict({"text": list(letters), "label": [0] * len(letters)}) for letters in (first, second)
    )
    assert overlap(one, other) == shared


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        (0, "it contains no evaluation examples"),
        (1, "it contains 1 evaluation example"),
        (3, "it contains 3 evaluation examples"),
    ],
)
def test_overlap_is_described(shared, words):
    learned, measured = (as_examples([f"text {i}" for i in range(*ends)]) for ends in ((0, 5), (5 - shared, 9)))
    assert describe_overlap(overlap(learned, measured)) == words


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("size", 1.5, "size must be a whole number, got 1.5"),
        ("size", float("nan"), "size must be a whole number, got nan"),
        ("size", "3", "size must be a whole number, got '3'"),
        ("size", True, "size must be a whole number, got True"),
        ("size", 0, "size must be at least 1, got 0"),
        ("seed", -1, "seed must be at least 0, got -1"),
        ("seed", "a", "seed must be a whole number, got 'a'"),
        ("seed", None, "seed must be a whole number, got None"),
    ],
)
def test_sizes_and_seeds_that_are_no_whole_numbers_are_refused(option, value, words):
    with pytest.raises(hp.HeadPruneError) as refusal:
        hp.load_examples(["one", "two", "three"], **{option: value})
    assert str(refusal.value) == words


def test_whole_numbers_of_any_type_are_sizes():
    texts = [f"text {i}" for i in range(9)]
    for size in (2, 2.0, np.int64(2), np.float32(2)):
        assert list(hp.load_examples(texts, size=size)["text"]) == list(hp.load_examples(texts, size=2)["text"])
