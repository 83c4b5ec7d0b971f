"""Plans of words with tags, and of numbers: read as they are, stated, and mapped by name."""

import datasets
import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.data.examples import overlap, read_examples
from headprune_core.data.model_labels import ModelLabels

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MODEL = ModelLabels("token_classification", TAGS)
WORDS = [["Ann", "lives", "in", "Paris"], ["Bonn"], ["He", "left"]]
NAMED = [["B-PER", "O", "O", "B-LOC"], ["B-LOC"], ["O", "O"]]
NUMBERS = [[TAGS.index(tag) for tag in row] for row in NAMED]


def table(words="tokens", tags="ner_tags", values=NAMED):
    return pd.DataFrame({words: WORDS, tags: values})


def read(plan):
    return [list(row) for row in plan.rows.tokens], plan.rows.tags.to_list()


@pytest.mark.parametrize("words", ["tokens", "words", "Tokens"])
@pytest.mark.parametrize("tags", ["ner_tags", "tags", "labels", "pos_tags", "label", "ner"])
@pytest.mark.parametrize("values", [NAMED, NUMBERS, [np.array(row) for row in NUMBERS]])
def test_words_and_tags_by_their_usual_names(words, tags, values):
    said = None if values is NAMED else "numbers"
    plan = hp.plan_examples(table(words, tags, values), model=MODEL, label_mapping=said)
    assert (plan.columns.text, plan.columns.label, plan.columns.words, plan.label_kind) == (words, tags, True, "tags")
    assert (read(plan), plan.guesses) == ((WORDS, NUMBERS), ())


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "csv", "conll", "bio", "iob", "txt", "tsv"])
def test_every_file_gives_the_same(ending, tmp_path):
    file = tmp_path / f"t.{ending}"
    if ending in ("jsonl", "json"):
        table().to_json(file, orient="records", lines=ending == "jsonl")
    elif ending == "parquet":
        table().to_parquet(file)
    elif ending == "csv":
        table().to_csv(file, index=False)
    else:
        rows = zip(WORDS, NAMED, strict=True)
        lines = ["\n".join(f"{w}\t{t}" for w, t in zip(*row, strict=True)) for row in rows]
        file.write_text("\n\n".join(lines) + "\n")
    plan = hp.plan_examples(file, model=MODEL)
    assert (read(plan), plan.guesses) == ((WORDS, NUMBERS), ())
    assert plan.rows.row.to_list() == {"csv": [2, 3, 4]}.get(ending, [1, 2, 3] if ending[0] in "jp" else [1, 6, 8])


def test_names_of_the_dataset_decide_over_numbers():
    order = ["B-LOC", "I-LOC", "O", "I-PER", "B-PER"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=order))}
    )
    columns = {"tokens": WORDS, "ner_tags": [[order.index(tag) for tag in row] for row in NAMED]}
    source = datasets.Dataset.from_dict(columns, features=features)
    plan = hp.plan_examples(source, model=MODEL)
    assert (read(plan), plan.mapped_by) == ((WORDS, NUMBERS), "name")
    examples, _ = read_examples(hp.plan_examples(source), size=1)
    assert examples.features["tags"].feature.names == order


def test_the_plan_counts_tags_and_shows_words_with_them():
    plan = hp.plan_examples(table(), model=MODEL)
    assert plan.describe() == [
        "DataFrame: 3 of 3 rows can be used (memory).",
        "Columns: words in 'tokens', tags in 'ner_tags'.",
        "Tags of words, matched by name: B-LOC → B-LOC (2), B-PER → B-PER (1), O → O (4).",
    ]
    assert plan.preview(2).words.to_list() == ["Ann/B-PER lives/O in/O Paris/B-LOC", "Bonn/B-LOC"]
    examples, _ = read_examples(plan, size=1)
    assert examples.column_names == ["text", "tokens", "tags"]


def test_excluded_tags_have_no_target():
    with pytest.raises(hp.HeadPruneError, match="a label that the model does not have: 'B-ORG'"):
        hp.plan_examples(table(values=[NAMED[0], ["B-ORG"], NAMED[2]]), model=MODEL)
    plan = hp.plan_examples(table(), model=MODEL, label_mapping={"B-LOC": None})
    assert plan.rows.tags.to_list() == [[1, 0, 0, -100], [0, 0]]
    assert "B-LOC → no target (2)" in plan.describe()[2]
    assert plan.left_out[0].describe() == "1 row without a tag of the model was left out (row 2, 'Bonn')."
    again = hp.plan_examples(table(), **plan.settings).for_model(MODEL)
    assert again == plan


def test_words_without_a_tag():
    values = [[1, -100, -100, 3], [-100], [0, 0]]
    with pytest.raises(hp.HeadPruneError, match=r"has label numbers, but the model's classes have names: 0 = O, 1 = B-PER"):
        hp.plan_examples(table(values=values), model=MODEL)
    plan = hp.plan_examples(table(values=values), model=MODEL, label_mapping="numbers")
    assert plan.rows.tags.to_list() == [values[0], values[2]]
    assert [(part.reason, part.row) for part in plan.left_out] == [("without a tag", 2)]
    assert plan.preview(1).words.to_list() == ["Ann/B-PER lives in Paris/B-LOC"]


def test_rows_of_other_lengths_are_left_out_or_stop():
    words = [[f"w{i}", "x"] for i in range(20)]
    source = pd.DataFrame({"tokens": words, "tags": [["O", "O"]] * 19 + [["O"]]})
    plan = hp.plan_examples(source, model=MODEL)
    assert [(part.reason, part.row) for part in plan.left_out] == [("with different numbers of words and tags", 20)]
    with pytest.raises(hp.HeadPruneError, match=r"3 rows are with different numbers of words and tags .the first is row 1"):
        hp.plan_examples(table(values=[["O", "O"], [], ["O"]]), model=MODEL)


def test_one_column_of_tags_among_several_is_a_guess():
    source = table().assign(pos_tags=[["N"] * len(row) for row in WORDS])
    plan = hp.plan_examples(source, model=MODEL)
    assert plan.guesses == (("label_column", "The tags are taken from column 'ner_tags', not from 'pos_tags'."),)


def test_the_model_decides_between_text_and_words():
    source = table().assign(text=["a text", "two texts", "three"], label=["good", "bad", "good"])
    assert hp.plan_examples(source, model=MODEL).columns.text == "tokens"
    plan = hp.plan_examples(source, model=("good", "bad"))
    assert (plan.columns.text, plan.columns.label, plan.label_kind) == ("text", "label", "class")
    assert hp.plan_examples(source).for_model(("good", "bad")).columns == plan.columns


def test_labels_of_texts_are_no_tags():
    source = pd.DataFrame({"text": ["a", "b"], "label": ["O", "B-PER"]})
    plan = hp.plan_examples(source, model=MODEL)
    assert plan.columns.label is None
    assert plan.notes == ["No column has a tag for each word: examples are read without labels."]
    with pytest.raises(hp.HeadPruneError, match="column 'label' has no tag for each word, but the model tags words"):
        hp.plan_examples(source, model=MODEL, label_column="label")


def test_what_a_line_contains_can_be_said(tmp_path):
    file = tmp_path / "t.tsv"
    file.write_text("I\tPRP\nrun\tVB\n\nYou\tPRP\nrun\tVB\nhome\tNN\n\nI\tPRP\nwalk\tVB\n")
    plan = hp.plan_examples(file)
    assert (plan.label_kind, plan.settings["lines"]) == ("tags", "words")
    assert "Each line is a word with its tag" in plan.notes[0]
    assert hp.plan_examples(file, **plan.settings).guesses == ()
    assert hp.plan_examples(file, lines="examples", header=False).n_examples == 5  # two words occur twice
    with pytest.raises(hp.HeadPruneError, match="lines must be 'examples' or 'words', got 'tags'"):
        hp.plan_examples(file, lines="tags")


def test_words_tell_examples_apart():
    first, second = (datasets.Dataset.from_dict({"tokens": [row]}) for row in (["a", "b"], ["c"]))
    assert (overlap(first, second), overlap(first, first)) == (0, 1)


@pytest.mark.parametrize(
    ("labels", "expected", "bounds"),
    [
        (["3,5", "1,0", "-2,25", "4"], ["3.5", "1", "-2.25", "4"], (-2.25, 4.0)),
        ([0.5, 4.75, 1, 2], ["0.5", "4.75", "1", "2"], (0.5, 4.75)),
        ([1, 2, 3, 5], [1, 2, 3, 5], (1.0, 5.0)),
        ([[1.5, 2], [0, 1], [3, 4], [-1, 0]], [(1.5, 2), (0, 1), (3, 4), (-1, 0)], (-1.0, 4.0)),
    ],
)
def test_numbers_of_a_regression_model_are_kept_and_their_range_is_stated(labels, expected, bounds):
    source = pd.DataFrame({"text": list("abcd"), "score": labels})
    plan = hp.plan_examples(source, model=ModelLabels("regression", ()), label_column="score")
    assert (plan.rows.label.to_list(), plan.label_range, plan.labels, plan.mapped_by) == (expected, bounds, (), None)
    assert plan.describe()[2] == f"Labels: numbers from {bounds[0]:g} to {bounds[1]:g}."


@pytest.mark.parametrize("name", ["label", "score", "similarity", "rating"])
def test_numbers_of_many_values_are_found_by_their_name(name):
    source = pd.DataFrame({"text": [f"text {i}" for i in range(60)], "id": range(60), name: np.linspace(0, 5, 60)})
    assert hp.plan_examples(source).columns.label == name


def test_minus_one_is_a_number_for_a_regression_model_if_there_are_others():
    model = ModelLabels("regression", ())
    source = pd.DataFrame({"text": list("abcd"), "label": [-1, 0, 1, None]})
    plan = hp.plan_examples(source, model=model)
    assert (plan.rows.label.to_list(), plan.label_range) == ([-1, 0, 1], (-1.0, 1.0))
    assert plan.guesses == (("label_column", "-1 in column 'label' is a number, not the mark of a missing label."),)
    assert hp.plan_examples(source.assign(label=-1), model=model).label_kind is None


def test_a_regression_model_needs_numbers():
    source = pd.DataFrame({"text": list("abcd"), "label": ["3,5", "1", "good", "2"]})
    with pytest.raises(hp.HeadPruneError, match="column 'label' has 'good' in row 3, but the model predicts numbers"):
        hp.plan_examples(source, model=ModelLabels("regression", ()))
