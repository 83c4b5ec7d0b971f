"""Labels of the data as classes of the model: right, or refused; never another class."""

import string
from functools import cache

import datasets
import numpy as np
import pandas as pd
import pytest
import transformers as t
from helpers.tiny_models import EVERYTHING, SMALL, tiny_tokenizer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.data.examples import read_examples
from headprune_core.data.labels import map_labels, plain_label, suggested_class

NAMES = ("negative", "Neutral", "positive")


@cache
def unnamed(count: int) -> hp.PrunableModel:
    return hp.PrunableModel(t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=count)), tiny_tokenizer())


def classifier(names) -> hp.PrunableModel:
    model = unnamed(len(names))
    model.model.config.id2label = dict(enumerate(names))
    return model


def labels(values, names=NAMES, class_names=None):
    examples = datasets.Dataset.from_dict({"input_ids": [[5, 6]] * len(values), "label": values})
    if class_names:
        feature = datasets.ClassLabel(names=list(class_names))
        features = datasets.Features(examples.features | {"label": feature})
        examples = datasets.Dataset.from_dict(examples.to_dict(), features=features)
    return encode(classifier(names), examples).labels


@pytest.mark.parametrize("values", [["positive", "negative"], ["POSITIVE", " Negative "], ["2", "0"], [2, 0], [2.0, 0.0]])
def test_labels_by_name_and_by_number(values):
    assert labels(values) == [2, 0]


def test_class_names_of_the_data_are_matched_in_any_order():
    assert labels([0, 1, 2], class_names=("positive", "neutral", "negative")) == [2, 1, 0]


def test_names_of_classes_are_spelled_loosely():
    assert labels(["not_entailment", "Entailment"], names=("entailment", "not entailment")) == [1, 0]


def test_class_numbers_decide_only_if_the_model_has_no_class_names():
    generic = ("LABEL_0", "LABEL_1", "LABEL_2")
    assert labels([2, 0, 1], names=generic, class_names=("good", "so so", "bad")) == [2, 0, 1]
    with pytest.raises(hp.HeadPruneError, match="the model does not have: 'good', 'so so', 'bad'"):
        labels([0, 1, 2], class_names=("good", "so so", "bad"))
    with pytest.raises(hp.HeadPruneError, match="the model does not have: 'bad', 'good'"):
        labels([0, 1], names=generic, class_names=("bad", "good"))


def test_one_unknown_name_is_named_and_nothing_is_guessed():
    with pytest.raises(hp.HeadPruneError, match=r"the model does not have: 'contradictory'; .* 0 = contradiction, 1 = ent"):
        labels(
            [0, 1],
            names=("contradiction", "entailment", "neutral"),
            class_names=("entailment", "neutral", "contradictory"),
        )


def test_classes_whose_names_are_numbers():
    assert labels([1, 2, 3], names=("1", "2", "3")) == [0, 1, 2]
    with pytest.raises(hp.HeadPruneError, match="the model does not have: '0'"):
        labels([0, 1, 2], names=("1", "2", "3"))


@pytest.mark.parametrize("value", ["glad", "--1", "²", "1.5", "3"])
@pytest.mark.parametrize("first", ["0", "positive"])
def test_labels_that_the_model_lacks_are_refused(value, first):
    with pytest.raises(hp.HeadPruneError, match=r"does not have: .*0 = negative, 1 = Neutral, 2 = pos") as refusal:
        labels([first, value])
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize("value", [-1, None, float("nan"), "", " ", "-", "-1", "None"])
def test_marks_of_missing_labels(value):
    assert plain_label(value) is None
    column = ["positive" if isinstance(value, str) else 2, value]
    with pytest.raises(hp.HeadPruneError, match="1 of 2 examples have no label"):
        labels(column)
    assert labels([value, value]) is None


def test_a_class_number_of_minus_one_is_no_label():
    with pytest.raises(hp.HeadPruneError, match="1 of 2 examples have no label"):
        labels([0, -1], class_names=NAMES)


def test_what_a_user_decides_comes_first():
    decided = map_labels(["pos", "neg", "mixed"], NAMES, chosen={"pos": "positive", "neg": 0, "mixed": None})
    assert decided.classes == {"pos": 2, "neg": 0, "mixed": None}
    with pytest.raises(hp.HeadPruneError, match="'great' is not a class of the model; its classes are 0 = negative"):
        map_labels(["pos"], NAMES, chosen={"pos": "great"})
    with pytest.raises(hp.HeadPruneError, match="label 'great' is not in the data, which has the labels 'pos'"):
        map_labels(["pos"], NAMES, chosen={"great": 0})
    with pytest.raises(hp.HeadPruneError, match="does not have: 'mixed'"):
        map_labels(["pos", "mixed"], NAMES, chosen={"pos": 2})


def test_numbers_of_a_column_that_may_count_from_one_are_refused():
    table = pd.DataFrame({"text": [f"w5 w{i + 6}" for i in range(20)], "label": [1, 2] * 10})
    with pytest.raises(hp.HeadPruneError, match="does not have: '1', '2'"):
        hp.plan_examples(table, model=classifier(NAMES))


@pytest.mark.parametrize(("label", "number"), [("pos", 2), ("Positive!", 2), ("ne", None), ("mixed", None), ("neg", 0)])
def test_suggestions(label, number):
    assert suggested_class(label, NAMES) == number


def spelled(name: str, style: str) -> str:
    return {"same": name, "upper": name.upper(), "spaces": f" {name} ", "hyphens": name.replace("_", "-")}[style]


names = st.lists(
    st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=6).filter(lambda name: name.strip("_ ")),
    min_size=2,
    max_size=6,
    unique_by=lambda name: name.replace("_", " ").strip(),
)


@pytest.mark.slow
@settings(max_examples=300 if EVERYTHING else 100)
@given(
    classes=names,
    order=st.randoms(use_true_random=False),
    kind=st.sampled_from(["names", "numbers", "class label"]),
    style=st.sampled_from(["same", "upper", "spaces", "hyphens"]),
    stranger=st.booleans(),
    size=st.integers(1, 12),
    seed=st.integers(0, 5),
)
def test_a_model_that_is_right_has_accuracy_one_or_is_not_measured(classes, order, kind, style, stranger, size, seed):
    """Whatever the class names, their order and spelling, the classes that occur, and the examples that are drawn."""
    present = order.sample(range(len(classes)), order.randint(1, len(classes)))
    truth = {f"w{5 + i} w{6 + i % 7}": order.choice(present) for i in range(40)}
    table = pd.DataFrame({"text": list(truth), "label": list(truth.values())})
    if kind == "names":
        table["label"] = [spelled(classes[number], style) for number in table.label]
        if stranger:
            table.loc[0, "label"] = "zzz zzz"
        source = table
    elif kind == "numbers":
        source = table
    else:
        shuffled = order.sample(classes, len(classes))
        table["label"] = [shuffled.index(classes[number]) for number in table.label]
        feature = datasets.ClassLabel(names=[spelled(name, style) for name in shuffled])
        assume(len(set(feature.names)) == len(classes))
        source = datasets.Dataset.from_pandas(
            table, features=datasets.Features({"text": datasets.Value("string"), "label": feature})
        )
    model = classifier(classes)
    for planned in (True, False):
        try:
            examples, _ = read_examples(hp.plan_examples(source, model=model) if planned else source, size=size, seed=seed)
            found = encode(model, examples).labels
        except hp.HeadPruneError:
            continue
        right = [number == truth[text] for number, text in zip(found, examples["text"], strict=True)]
        assert np.mean(right) == 1


def test_numbers_of_a_sample_are_those_of_the_column():
    """A sample without one of the labels is read like one with all of them."""
    table = pd.DataFrame({"text": [f"w5 w{i + 6}" for i in range(30)], "label": [*[1, 2] * 14, 0, 0]})
    stars = classifier(("1", "2", "3"))
    for seed in range(9):
        with pytest.raises(hp.HeadPruneError, match="does not have: '0'"):
            encode(stars, hp.load_examples(table, size=1, seed=seed))
