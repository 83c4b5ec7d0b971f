"""Plans of reading: columns, labels and rows that are left out are right and stated, or the plan stops with the choices."""

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers as t
from helpers.tiny_models import SMALL, randomized, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.columns import guess_columns
from headprune_core.data.examples import read_examples
from headprune_core.data.reading_plan import ReadingPlan, plan_examples

TEXT = [f"some words about number {i}" for i in range(12)]
OTHER = [f"other words about number {i}" for i in range(12)]
LABELS = [i % 2 for i in range(12)]


def columns(**options):
    """(text, pair, label) and the settings that are guesses."""
    named = {
        name: options.pop(name)
        for name in ("text", "pair", "label")
        if name in options and not isinstance(options[name], list)
    }
    found, guesses = guess_columns(pd.DataFrame(options), **named)
    return (found.text, found.pair, found.label), [setting for setting, _ in guesses]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("question", "sentence"),
        ("question1", "question2"),
        ("text", "text_pair"),
        ("query", "document"),
        ("question", "passage"),
        ("Text A", "text-b"),
        ("PREMISE", "Hypothesis"),
    ],
)
def test_pairs_are_found_by_any_usual_name_in_any_case_and_order(first, second):
    assert columns(**{first: TEXT, second: OTHER, "label": LABELS}) == ((first, second, "label"), [])
    assert columns(**{"label": LABELS, second: OTHER, first: TEXT}) == ((first, second, "label"), [])


def test_several_pairs_stop():
    with pytest.raises(hp.HeadPruneError, match="'premise' and 'hypothesis', 'question' and 'sentence'"):
        columns(premise=TEXT, hypothesis=OTHER, question=TEXT, sentence=OTHER)


def test_a_second_text_that_is_not_read_is_stated():
    assert columns(text=TEXT, remark=OTHER, label=LABELS) == (("text", None, "label"), ["text_pair_column"])
    assert columns(text=TEXT, remark=OTHER, label=LABELS, pair="remark") == (("text", "remark", "label"), [])


@pytest.mark.parametrize("name", ["label", "labels", "Label", "gold_label", "target", "class", "sentiment", " Category "])
def test_label_columns_by_their_usual_names(name):
    assert columns(**{"text": TEXT, name: LABELS}) == (("text", None, name), [])


@pytest.mark.parametrize("name", ["stars", "Rating", "emotion", "mood"])
def test_likely_label_columns_are_guesses(name):
    assert columns(**{"text": TEXT, name: LABELS}) == (("text", None, name), ["label_column"])
    assert columns(**{"text": TEXT, name: LABELS}, label=False) == (("text", None, None), [])


def test_several_label_columns_stop():
    with pytest.raises(hp.HeadPruneError, match="may contain the labels: mood, source; name one with label_column"):
        columns(text=TEXT, mood=LABELS, source=["a", "b", "c"] * 4)
    with pytest.raises(hp.HeadPruneError, match="contain the labels: target, sentiment"):
        columns(text=TEXT, sentiment=LABELS, target=LABELS)
    assert columns(text=TEXT, sentiment=LABELS, label=LABELS) == (("text", None, "label"), ["label_column"])


def test_columns_of_many_values_are_no_labels():
    assert columns(text=TEXT, id=list(range(12)), date=[f"2026-01-{i:02}" for i in range(12)]) == (("text", None, None), [])


def test_the_only_text_among_short_words_and_numbers():
    table = {"id": [str(i) for i in range(12)], "said": TEXT, "mood": ["good", "bad"] * 6}
    assert columns(**table) == (("said", None, "mood"), ["text_column", "label_column"])


def test_two_columns_of_one_name_stop(tmp_path):
    (tmp_path / "twice.csv").write_text(
        "text,text,label\n" + "".join(f"{a},{b},0\n" for a, b in zip(TEXT, OTHER, strict=True))
    )
    with pytest.raises(hp.HeadPruneError, match="two columns are named 'text'"):
        plan_examples(tmp_path / "twice.csv")
    plan = plan_examples(tmp_path / "twice.csv", text_column="text", text_pair_column="text (2)")
    assert plan.columns.pair == "text (2)"


def classifier(*names):
    config = t.BertConfig(**SMALL, num_labels=len(names), id2label=dict(enumerate(names)))
    return hp.PrunableModel(t.BertForSequenceClassification(config), tiny_tokenizer())


def test_rows_without_a_label_are_left_out_with_an_example():
    labels = [-1 if i % 7 == 0 else i % 3 for i in range(70)]
    source = datasets.Dataset.from_dict(
        {"premise": [f"p {i}" for i in range(70)], "hypothesis": [f"h {i}" for i in range(70)], "label": labels},
        features=datasets.Features(
            {name: datasets.Value("string") for name in ("premise", "hypothesis")}
            | {"label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])}
        ),
    )
    plan = plan_examples(source, model=classifier("contradiction", "entailment", "neutral"))
    assert [(part.reason, part.count, part.row, part.example) for part in plan.left_out] == [
        ("without a label", 10, 1, "'p 0'")
    ]
    assert plan.n_examples == 60
    assert [(planned.label, planned.class_name) for planned in plan.labels] == [
        (name, name) for name in ("entailment", "neutral", "contradiction")
    ]


@pytest.mark.parametrize("mark", [-1, None, "", "-"])
def test_a_column_without_any_label_is_read_without_labels(mark):
    plan = plan_examples(pd.DataFrame({"text": TEXT, "label": [mark] * 12}))
    assert plan.columns.label is None
    assert "No row has a label in column 'label': examples are read without labels." in plan.notes
    assert read_examples(plan, size=4)[0].column_names == ["text"]


def test_class_names_belong_to_the_column_that_has_them():
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "coarse_label": datasets.ClassLabel(names=["NUM", "LOC"]),
            "fine_label": datasets.ClassLabel(names=list("abcd")),
        }
    )
    columns = {"text": TEXT, "coarse_label": LABELS, "fine_label": [i % 4 for i in range(12)]}
    source = datasets.Dataset.from_dict(columns, features=features)
    model = classifier("LOC", "NUM")
    examples, _ = read_examples(plan_examples(source, model=model, label_column="coarse_label"), size=12)
    named = dict(zip(TEXT, ("NUM", "LOC") * 6, strict=True))
    assert [model.labels[label] for label in examples["label"]] == [named[text] for text in examples["text"]]
    with pytest.raises(hp.HeadPruneError, match="coarse_label, fine_label; name one"):
        plan_examples(source)


def test_unknown_labels_are_mapped_or_left_out_by_the_user():
    table = pd.DataFrame({"text": TEXT, "label": ["pos", "neg", "mixed"] * 4})
    model = classifier("negative", "positive")
    with pytest.raises(hp.HeadPruneError, match=r"does not have: 'mixed', 'neg', 'pos'; .*0 = negative, 1 = positive"):
        plan_examples(table, model=model)
    mapping = {"pos": "positive", "neg": 0, "mixed": None}
    plan = plan_examples(table, model=model, label_mapping=mapping)
    assert plan_examples(table, label_mapping=mapping).for_model(model) == plan
    assert [(one.label, one.count, one.class_name) for one in plan.labels] == [
        ("mixed", 4, None),
        ("neg", 4, "negative"),
        ("pos", 4, "positive"),
    ]
    assert "4 rows labeled 'mixed' were left out (first: row 3, 'some words about number 2')." in plan.describe()
    for split in ("calibration", "evaluation"):
        examples, _ = read_examples(plan, split=split, size=99)
        assert all(
            int(text.rsplit(" ", 1)[1]) % 3 == 1 - label
            for text, label in zip(examples["text"], examples["label"], strict=True)
        )


def test_a_plan_reads_what_load_examples_reads(tmp_path):
    file = tmp_path / "t.csv"
    pd.DataFrame({"text": TEXT, "label": LABELS}).to_csv(file, index=False)
    for split in ("calibration", "evaluation"):
        expected = hp.load_examples(file, split=split, size=3, seed=4)
        assert hp.load_examples(plan_examples(file), split=split, size=3, seed=4).to_dict() == expected.to_dict()


def test_a_plan_is_described_in_sentences(tmp_path):
    file = tmp_path / "umlaut.csv"
    rows = "".join(f"schön war es {i};{['gut', 'schlecht'][i % 2]}\r\n" for i in range(8))
    file.write_bytes(f"Satz;Klasse\r\n{rows};gut\r\n".encode("cp1252"))
    plan = plan_examples(file, model=classifier("gut", "schlecht"))
    assert isinstance(plan, ReadingPlan)
    assert plan.describe() == [
        "umlaut.csv: 8 of 9 rows can be used (CSV; cp1252; semicolon between values, quotes enclose values, names in the "
        "first row).",
        "Columns: text in 'Satz', labels in 'Klasse'.",
        "Labels, matched by name: gut → gut (4), schlecht → schlecht (4).",
        "1 row without text was left out (row 10).",
        "Guess: The encoding is likely cp1252; check the letters.",
        "Guess: The delimiter is the semicolon.",
        "Guess: The first row is taken as column names: Satz, Klasse.",
        "Guess: The text is taken from column 'Satz', the only one that contains text.",
        "Guess: The labels are taken from column 'Klasse', the only column with few distinct values.",
    ]
    assert plan.preview(2).label.to_list() == ["gut", "schlecht"]
    with pytest.warns(hp.HeadPruneWarning) as said:
        hp.load_examples(file, size=2)
    assert [str(one.message) for one in said] == plan.notes


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"text": ["a"]}, r"a dictionary cannot be read; pass pandas.DataFrame\(dictionary\)"),
        ([{"text": "a"}], "a list of dictionaries cannot be read"),
        (3, "the source must be a file, .* got int"),
        (
            datasets.DatasetDict({"dev": datasets.Dataset.from_dict({"text": ["a"]}), "x": datasets.Dataset.from_dict({})}),
            "dev, x",
        ),
    ],
)
def test_sources_of_other_kinds_are_refused(source, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        plan_examples(source)


def test_datasets_and_series_are_read():
    plain = datasets.Dataset.from_dict({"text": TEXT, "label": [bool(label) for label in LABELS]})
    expected = read_examples(pd.DataFrame({"text": TEXT, "label": LABELS}), size=4)[0].to_dict()
    for source in (plain, plain.with_format("torch"), plain.with_format("numpy"), datasets.DatasetDict({"train": plain})):
        assert read_examples(source, size=4)[0].to_dict() == expected
    assert set(read_examples(pd.Series(TEXT), size=4)[0]["text"]) < set(TEXT)


def test_splits_of_a_datasetdict_are_read_by_one_plan():
    parts = {name: datasets.Dataset.from_dict({"text": [f"{name} {i}" for i in range(9)]}) for name in ("train", "test")}
    plan = plan_examples(datasets.DatasetDict(parts))
    assert all(text.startswith("train") for text in hp.load_examples(plan, size=9)["text"])
    assert all(text.startswith("test") for text in hp.load_examples(plan, split="evaluation", size=9)["text"])


@pytest.mark.parametrize(
    ("name", "value"), [("size", 1.5), ("size", float("nan")), ("size", "3"), ("seed", -1), ("seed", "a")]
)
def test_sizes_and_seeds_are_integers(name, value):
    with pytest.raises(hp.HeadPruneError, match=f"{name} must be (a whole number|at least [01])"):
        hp.load_examples(TEXT, **{name: value})


@pytest.mark.slow
@given(
    lines=st.lists(
        st.text("ab\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 ", min_size=1).filter(str.strip), min_size=1, unique_by=str.strip
    )
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_of_a_text_file_ends_at_line_feeds_and_carriage_returns_only(tmp_path_factory, lines, end):
    file = tmp_path_factory.getbasetemp() / "lines.txt"
    file.write_bytes(end.join(lines).encode())
    assert plan_examples(file).rows.text.to_list() == [line.strip() for line in lines]


@pytest.mark.slow
def test_the_question_of_a_pair_is_read():
    """A model's own answers are its labels, so its accuracy has to be 1."""
    names = {0: "not_entailment", 1: "entailment"}
    plain = randomized(lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=2, id2label=names)))
    tokenizer, rng = tiny_tokenizer(), np.random.default_rng(0)
    first, second = ([" ".join(f"w{i}" for i in rng.integers(4, 90, 6)) for _ in range(40)] for _ in range(2))

    @torch.no_grad()
    def logits():
        return torch.cat([plain(**tokenizer(*pair, return_tensors="pt")).logits for pair in zip(first, second, strict=True)])

    with torch.no_grad():
        plain.classifier.bias -= logits().median(0).values  # so that both answers occur
    labels = [names[number] for number in logits().argmax(-1).tolist()]
    assert set(labels) == set(names.values())
    model = hp.PrunableModel(plain, tokenizer)
    examples, _ = read_examples(pd.DataFrame({"question": first, "sentence": second, "label": labels}), size=99)
    assert hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool)).accuracy[0] == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0.5, -1, 2, None], ["0.5", "-1", "2"]),
        (["3,5", "-1", "0", ""], ["3.5", "-1", "0"]),
        (["-4", "-1", "2", "-"], ["-4", "-1", "2"]),
        ([0, -1, 1, 1], [0, 1, 1]),
    ],
)
def test_minus_one_is_a_value_among_measurements(labels, expected):
    plan = plan_examples(pd.DataFrame({"text": ["a", "b", "c", "d"], "label": labels}))
    assert plan.rows.label.to_list() == expected
