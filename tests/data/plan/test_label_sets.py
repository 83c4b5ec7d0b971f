"""Plans of label sets: every form of one column gives the same sets, and what fits only partly stops."""

import datasets
import numpy as np
import pandas as pd
import pytest
import transformers as t
from helpers.tiny_models import SMALL, tiny_tokenizer

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.data.examples import balanced_order, read_examples
from headprune_core.data.model_labels import ModelLabels

NAMES = ("joy", "anger", "fear", "trust")
MODEL = ModelLabels("multi_label", NAMES)
TEXT = [f"text number {i}" for i in range(6)]
SETS = [["joy", "trust"], [], ["anger"], ["joy"], ["fear", "joy"], ["trust"]]
NUMBERS = [[NAMES.index(name) for name in names] for names in SETS]
VECTORS = [[int(name in names) for name in NAMES] for names in SETS]
REPEATED = ["joy,trust", "", "anger", "joy", "fear,joy", "trust"]


def table(labels, **more):
    return pd.DataFrame({"text": TEXT, "labels": labels} | more)


def named(plan):
    """The sets by text, as names of the model."""
    return {text: [NAMES[number] for number in labels] for text, labels in zip(plan.rows.text, plan.rows.label, strict=True)}


EXPECTED = {text: sorted(names, key=NAMES.index) for text, names in zip(TEXT, SETS, strict=True)}


@pytest.mark.parametrize(
    ("labels", "by"),
    [
        (SETS, "name"),
        ([[name.upper() for name in names] for names in SETS], "name"),
        ([np.array(names, object) for names in SETS], "name"),
        ([str(names) for names in SETS], "name"),
        (NUMBERS, "number"),
        ([str(numbers) for numbers in NUMBERS], "number"),
        (VECTORS, "order"),
        ([np.array(vector) for vector in VECTORS], "order"),
        ([[bool(flag) for flag in vector] for vector in VECTORS], "order"),
        ([[float(flag) for flag in vector] for vector in VECTORS], "order"),
        ([str(np.array(vector)) for vector in VECTORS], "order"),
    ],
)
def test_lists_in_every_form_are_the_same_sets(labels, by, tmp_path):
    said = {"model": MODEL, "label_mapping": "numbers" if by == "number" else None}
    plan = hp.plan_examples(table(labels), **said)
    assert (named(plan), plan.label_kind, plan.mapped_by) == (EXPECTED, "set", by)
    table(labels).to_csv(tmp_path / "t.csv", index=False)
    table([list(row) if not isinstance(row, str) else row for row in labels]).to_json(
        tmp_path / "t.jsonl", orient="records", lines=True
    )
    for name in ("t.csv", "t.jsonl"):
        assert named(hp.plan_examples(tmp_path / name, **said)) == EXPECTED


def test_a_dataset_has_the_names_of_its_own_classes():
    order = ["trust", "fear", "anger", "joy"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=order))}
    )
    numbers = [[order.index(name) for name in names] for names in SETS]
    source = datasets.Dataset.from_dict({"text": TEXT, "labels": numbers}, features=features)
    plan = hp.plan_examples(source, model=MODEL)
    assert (named(plan), plan.mapped_by) == (EXPECTED, "name")
    examples, _ = read_examples(hp.plan_examples(source), size=2)
    assert examples.features["label"].feature.names == order


def test_names_between_separators_are_a_guess():
    for separator in (",", ";", "|", " , "):
        cells = [cell.replace(",", separator) for cell in REPEATED]
        plan = hp.plan_examples(table(cells), model=MODEL)
        filled = {text: names for text, names in EXPECTED.items() if names}  # an empty cell has no labels
        assert named(plan) == filled
        assert ("label_separator", plan.settings["label_separator"]) == (plan.guesses[0][0], separator.strip())
        assert [(part.reason, part.count) for part in plan.left_out] == [("without a label", 1)]
        again = hp.plan_examples(table(cells), model=MODEL, **plan.settings)
        assert named(again) == filled


def test_a_name_that_contains_a_separator_is_one_label_or_stops():
    cells = ["joy, anger", "joy", "joy"] * 2
    plan = hp.plan_examples(table(cells), model=ModelLabels("multi_label", ("joy", "joy, anger")))
    assert (plan.guesses, plan.rows.label.to_list()) == ((), [[1], [0], [0]] * 2)
    model = ModelLabels("multi_label", ("joy", "joy, anger", "anger"))
    with pytest.raises(hp.HeadPruneError, match=r"in several ways; say which .label_separator=',' or label_separator=''."):
        hp.plan_examples(table(cells), model=model)
    assert hp.plan_examples(table(cells), model=model, label_separator="").rows.label[0] == [1]
    assert hp.plan_examples(table(cells), model=model, label_separator=",").rows.label[0] == [0, 2]
    both = ModelLabels("multi_label", ("a", "b;c", "a,b", "c"))
    with pytest.raises(hp.HeadPruneError, match=r"say which .label_separator=',' or label_separator=';'."):
        hp.plan_examples(table(["a,b;c"] * 6), model=both)


def test_separated_names_that_fit_partly_stop():
    cells = ["joy,love", "anger", "joy,fear", "joy", "fear", "trust"]
    with pytest.raises(hp.HeadPruneError, match=r"separated by ',', of which the model lacks 'love'; name the separator"):
        hp.plan_examples(table(cells), model=MODEL)
    plan = hp.plan_examples(table(cells), model=MODEL, label_mapping={"love": "trust"}, label_separator=",")
    assert named(plan)[TEXT[0]] == ["joy", "trust"]
    with pytest.raises(hp.HeadPruneError, match="does not have: 'joy,fear', 'joy,love'"):
        hp.plan_examples(table(cells), model=MODEL, label_separator="")


def test_excluded_labels_are_dropped_and_rows_stay():
    sets = [["joy", "love"], ["love"], ["anger"], [], ["fear"], ["joy"]]
    with pytest.raises(hp.HeadPruneError, match="a label that the model does not have: 'love'"):
        hp.plan_examples(table(sets), model=MODEL)
    plan = hp.plan_examples(table(sets), model=MODEL, label_mapping={"love": None})
    assert plan.n_examples == 6
    assert named(plan)[TEXT[0]] == ["joy"]
    assert plan.describe()[2] == (
        "Label sets: anger → anger (1), fear → fear (1), joy → joy (2), love → dropped from the sets (2); 2 of 6 sets are "
        "empty."
    )
    assert plan.preview(2).label.to_list() == ["joy", "no label"]
    assert hp.plan_examples(table(sets), label_mapping={"love": None}).for_model(MODEL) == plan
    with pytest.raises(hp.HeadPruneError, match="leaves out all examples"):
        hp.plan_examples(table([["love"]] * 6), model=MODEL, label_mapping={"love": None})


def test_one_column_of_zeros_and_ones_for_each_label():
    columns = {name.title(): [row[i] for row in VECTORS] for i, name in enumerate(NAMES)}
    source = pd.DataFrame({"text": TEXT} | columns)
    plan = hp.plan_examples(source, model=MODEL)
    assert (named(plan), plan.guesses) == (EXPECTED, ())
    assert "labels in 'Joy', 'Anger', 'Fear', 'Trust' (zeros and ones)" in plan.describe()[1]
    as_text = source.assign(Joy=source.Joy.astype(bool).astype(str), Fear=source.Fear.astype(str))
    assert named(hp.plan_examples(as_text, model=MODEL)) == EXPECTED
    again = hp.plan_examples(source, **plan.settings)
    assert again.preview(1).label.to_list() == ["Joy, Trust"]
    assert named(again.for_model(MODEL)) == EXPECTED
    with pytest.raises(hp.HeadPruneError, match="may contain the labels: Joy, Anger, Fear, Trust"):
        hp.plan_examples(source)
    with pytest.raises(hp.HeadPruneError, match="several label columns need a multi-label model"):
        again.for_model(NAMES)
    marked = hp.plan_examples(source.assign(Joy=[-1, *source.Joy[1:]]), model=MODEL)
    assert [(part.reason, part.row) for part in marked.left_out] == [("without a label", 1)]


def test_columns_of_only_some_labels_stop():
    source = pd.DataFrame({"text": TEXT, "joy": [1, 0] * 3, "fear": [0, 1] * 3, "trust": [0.5, 0.1] * 3})
    with pytest.raises(hp.HeadPruneError, match=r"'joy' and 'fear' are named as labels.* named 'anger' and 'trust'"):
        hp.plan_examples(source, model=MODEL)
    plan = hp.plan_examples(source, model=MODEL, label_column=["joy", "fear"])
    assert named(plan) == dict(zip(TEXT, [["joy"], ["fear"]] * 3, strict=True))
    one = hp.plan_examples(source, model=MODEL, label_column="joy")
    assert named(one) == dict(zip(TEXT, [["joy"], []] * 3, strict=True))
    with pytest.raises(hp.HeadPruneError, match="column 'trust' must contain zeros and ones"):
        hp.plan_examples(source, model=MODEL, label_column=["joy", "trust"])
    both = table(SETS, **{name: [0, 1] * 3 for name in NAMES})
    with pytest.raises(hp.HeadPruneError, match="may be in the column 'labels' or in the columns 'joy' and 'anger'"):
        hp.plan_examples(both, model=MODEL)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1, 0, 0]] * 6, r"lists of 4 zeros and ones, or labels without repetition, got \[1, 0, 0\]"),
        ([[0.5, 0.1, 0.2, 0.9]] * 6, "has the label 0.5 in a list"),
        ([["joy", None]] * 6, "has an empty label in a list"),
        ([[1], [2]] * 3, "does not have: '1', '2'"),
        ([[0, 4]] * 6, "does not have: '0', '4'"),
        ([0, 1] * 3, "has one number per row, but the model predicts sets of joy, anger, fear, trust"),
    ],
)
def test_other_lists_stop(labels, message):
    with pytest.raises(hp.HeadPruneError, match=message):
        hp.plan_examples(table(labels), model=MODEL)


def test_numbers_of_a_model_with_names_stop_until_the_user_says_so():
    with pytest.raises(hp.HeadPruneError, match=r"has label numbers, but .* 0 = joy, .*label_mapping='numbers'"):
        hp.plan_examples(table(NUMBERS), model=MODEL)
    by_hand = hp.plan_examples(table(NUMBERS), model=MODEL, label_mapping=dict(enumerate(NAMES)))
    assert (named(by_hand), by_hand.mapped_by) == (EXPECTED, "user")
    plan = hp.plan_examples(table(NUMBERS), label_mapping="numbers").for_model(MODEL)
    assert plan.describe()[2].startswith("Label sets, class numbers counted from 0: 0 → joy (3), 1 → anger (1)")
    cells = [",".join(map(str, numbers)) for numbers in NUMBERS]
    assert named(hp.plan_examples(table(cells), model=MODEL, label_mapping="numbers"))[TEXT[4]] == ["joy", "fear"]
    with pytest.raises(hp.HeadPruneError, match="needs class numbers from 0 to 3, got '4'"):
        hp.plan_examples(table([[0], [4]] * 3), model=MODEL, label_mapping="numbers")
    with pytest.raises(hp.HeadPruneError, match="must be a dictionary or 'numbers', got 'names'"):
        hp.plan_examples(table(NUMBERS), model=MODEL, label_mapping="names")


def test_sets_need_a_multi_label_model():
    with pytest.raises(hp.HeadPruneError, match="column 'labels' has lists, but the model predicts one class per example"):
        hp.plan_examples(table(SETS), model=NAMES)


def test_names_of_one_label_are_sets_of_one():
    plan = hp.plan_examples(table(["joy", "fear"] * 3), model=MODEL)
    assert plan.rows.label.to_list() == [[0], [2]] * 3


def test_numbers_of_a_model_without_names():
    model = ModelLabels("multi_label", tuple(f"LABEL_{i}" for i in range(4)))
    plan = hp.plan_examples(table(["0,3", "1", "2", "0", "3", "1,2"]), model=model)
    assert plan.rows.label.to_list() == [[0, 3], [1], [2], [0], [3], [1, 2]]


def test_without_a_model_sets_stay_and_vectors_are_told_from_numbers():
    plan = hp.plan_examples(table(SETS))
    assert [(one.label, one.count) for one in plan.labels] == [("anger", 1), ("fear", 1), ("joy", 3), ("trust", 2)]
    assert read_examples(hp.plan_examples(table(VECTORS)), size=2)[0]["label"][0] in VECTORS
    two = [[0, 1], [1, 0]] * 3  # sets of both labels, or vectors: the model decides
    pair = ModelLabels("multi_label", ("LABEL_0", "LABEL_1"))
    assert hp.plan_examples(table(two), model=pair).rows.label.to_list() == [[1], [0]] * 3
    assert hp.plan_examples(table([*two[:5], [0]]), model=pair).rows.label.to_list() == [[0, 1]] * 5 + [[0]]
    assert named(hp.plan_examples(table(VECTORS)).for_model(MODEL)) == EXPECTED


def test_a_sample_of_numbers_is_no_vector():
    """The sets [0, 1] of a sample look like vectors of two labels, but [0] in the rest of the column says otherwise."""
    config = t.BertConfig(**SMALL, num_labels=2, problem_type="multi_label_classification")
    model = hp.PrunableModel(t.BertForSequenceClassification(config), tiny_tokenizer())
    source = pd.DataFrame({"text": [f"w{i} w7" for i in range(5, 25)], "labels": [[0, 1]] * 19 + [[0]]})
    examples, _ = read_examples(source, size=1)
    assert examples["label"][0] == [0, 1]
    assert encode(model, examples).labels == [[1.0, 1.0]]


def test_sets_alternate_like_classes():
    labels = [[0], [0], [0], [1, 2], [1, 2], [1, 2]]
    order = balanced_order(pd.DataFrame({"label": labels}), seed=0)
    assert all({str(labels[i]), str(labels[j])} == {"[0]", "[1, 2]"} for i, j in zip(order[::2], order[1::2], strict=True))


def test_another_split_may_lack_a_mapped_label():
    parts = {"train": SETS, "test": [["joy"], ["fear"]] * 3}
    source = datasets.DatasetDict({k: datasets.Dataset.from_dict({"text": TEXT, "labels": v}) for k, v in parts.items()})
    plan = hp.plan_examples(source, model=MODEL, label_mapping={"trust": None})
    assert named(plan.for_split("test")) == dict(zip(TEXT, parts["test"], strict=True))
