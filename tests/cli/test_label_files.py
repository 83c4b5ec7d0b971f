"""Files of label sets and of words with tags on the command line give the results of the same data as a Dataset."""

import json

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.tasks import NAMES, TAGS, tiny_task
from helpers.tiny_models import tiny_tokenizer

import headprune_core as hp
from headprune_core.cli.main import main

LABELS = tuple(NAMES["id2label"].values())
SIZES = ("--calibration-size", "4", "--evaluation-size", "8")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def examples():
    """Lists of words, a set of labels for each, and a tag for each word."""
    rng = np.random.default_rng(0)
    words = [[f"w{i}" for i in rng.integers(5, 90, n)] for n in rng.integers(3, 9, 12)]
    sets = [[name for name in LABELS if rng.random() < 0.4] for _ in words]
    return words, sets, [rng.choice(TAGS, len(row)).tolist() for row in words]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    for task in ("multi_label", "token_classification"):
        model = tiny_task(task)
        if task == "multi_label":
            model.config.id2label = NAMES["id2label"]
        hp.PrunableModel(model, tiny_tokenizer(model_max_length=60)).save_pretrained(place / task)
    return place


def run(capsys, *words):
    capsys.readouterr()
    assert main(["score", "--json", "--evaluate", *SIZES, *words]) == 0
    out = capsys.readouterr()
    return json.loads(out.out), out.err


def expected(folder, columns, shown):
    """The document that the Dataset gives, in the order of the file's examples."""
    model = hp.PrunableModel.from_pretrained(folder)
    direct = [
        datasets.Dataset.from_dict({name: [values[row] for row in rows] for name, values in columns.items()})
        for rows in ([columns["text"].index(text) for text in part["text"]] for part in shown)
    ]
    if "tokens" in columns:
        direct = [part.remove_columns("text") for part in direct]
    scores = hp.score_heads(model, direct[0])
    found = hp.evaluate_masks(model, direct[1], np.ones((1, *model.grid.shape), bool))
    return scores, found


def check(document, scores, found):
    for name in ("his", "ae", "gnorm"):
        np.testing.assert_array_equal(document["scores"][name], getattr(scores, name))
    assert document["evaluation"]["accuracy"] == found.accuracy[0]
    assert document["evaluation"]["loss"] == found.loss[0]


@pytest.mark.parametrize("form", ["jsonl", "csv", "columns"])
def test_label_sets(form, examples, folders, tmp_path, capsys):
    words, sets, _ = examples
    text, file = [" ".join(row) for row in words], tmp_path / f"t.{form}"
    if form == "jsonl":
        pd.DataFrame({"text": text, "labels": sets}).to_json(file, orient="records", lines=True)
    elif form == "csv":
        pd.DataFrame({"text": text, "labels": sets}).to_csv(file, index=False)
    else:
        file = tmp_path / "t.csv"
        columns = {name: [int(name in names) for names in sets] for name in reversed(LABELS)}
        pd.DataFrame({"text": text} | columns).to_csv(file, index=False)
    folder = folders / "multi_label"
    document, said = run(capsys, "--model", str(folder), "--dataset", str(file))
    assert "Label sets, matched by name" in said
    plan = hp.plan_examples(file, model=hp.PrunableModel.from_pretrained(folder))
    shown = [hp.load_examples(plan, size=4), hp.load_examples(plan, split="evaluation", size=8)]
    check(document, *expected(folder, {"text": text, "label": sets}, shown))


@pytest.mark.parametrize("form", ["jsonl", "conll"])
def test_words_with_tags(form, examples, folders, tmp_path, capsys):
    words, _, tags = examples
    file = tmp_path / f"t.{form}"
    if form == "jsonl":
        pd.DataFrame({"tokens": words, "ner_tags": tags}).to_json(file, orient="records", lines=True)
    else:
        lines = ("\n".join(map(" ".join, zip(*row, strict=True))) for row in zip(words, tags, strict=True))
        file.write_text("-DOCSTART- O\n\n" + "\n\n".join(lines))
    folder = folders / "token_classification"
    document, said = run(capsys, "--model", str(folder), "--dataset", str(file))
    assert "Tags of words, matched by name" in said
    shown = [hp.load_examples(file, size=4), hp.load_examples(file, split="evaluation", size=8)]
    columns = {"text": [" ".join(row) for row in words], "tokens": words, "ner_tags": tags}
    check(document, *expected(folder, columns, shown))


def test_labels_are_excluded_and_mapped_by_options(examples, folders, tmp_path, capsys):
    words, _, tags = examples
    file = tmp_path / "t.jsonl"
    tags = [[tag.replace("B-LOC", "B-CITY") for tag in row] for row in tags]
    pd.DataFrame({"tokens": words, "ner_tags": tags}).to_json(file, orient="records", lines=True)
    words = ("--model", str(folders / "token_classification"), "--dataset", str(file))
    assert main(["score", "--json", *words]) == 2
    assert "a label that the model does not have: 'B-CITY'" in capsys.readouterr().err
    _, said = run(capsys, *words, "--label", "B-CITY=B-LOC", "--label", "I-PER=")
    assert "B-CITY → B-LOC (" in said
    assert "I-PER → no target (" in said


def test_tag_numbers_of_a_model_with_names_need_an_option(examples, folders, tmp_path, capsys):
    words, _, tags = examples
    file = tmp_path / "t.jsonl"
    numbers = [[TAGS.index(tag) for tag in row] for row in tags]
    pd.DataFrame({"tokens": words, "ner_tags": numbers}).to_json(file, orient="records", lines=True)
    words = ("--model", str(folders / "token_classification"), "--dataset", str(file))
    assert main(["score", "--json", *words]) == 2
    assert "the data has label numbers, but the model's classes have names: 0 = O" in capsys.readouterr().err
    _, said = run(capsys, *words, "--label-numbers")
    assert "Tags of words, class numbers counted from 0: 0 → O (" in said
    assert main(["score", *words, "--label-numbers", "--label", "0=O"]) == 2
    assert "--label excludes --label-numbers" in capsys.readouterr().err
