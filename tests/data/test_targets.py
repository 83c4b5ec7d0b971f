"""Label columns of multi-label and regression models: every form that is read, and every one that is refused."""

import datasets
import numpy as np
import pytest
from helpers.tasks import NAMES, tiny_task
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.data.targets import example_targets, format_numbers

IDS = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
VECTORS = [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
LABELS = ["joy", "anger", "fear", "trust"]


@pytest.fixture(scope="module")
def emotions():
    model = tiny_task("multi_label")
    model.config.id2label = NAMES["id2label"]
    return hp.PrunableModel(model)


@pytest.fixture(scope="module")
def rating():
    return hp.PrunableModel(tiny_task("regression"))


def targets(model, labels, feature=None):
    columns = {"input_ids": IDS[: len(labels)], "label": labels}
    features = None
    if feature is not None:
        features = datasets.Features({"input_ids": datasets.List(datasets.Value("int64")), "label": feature})
    return encode(model, datasets.Dataset.from_dict(columns, features=features)).labels


@pytest.mark.parametrize(
    "labels",
    [
        VECTORS,
        [[bool(v) for v in row] for row in VECTORS],
        [[float(v) for v in row] for row in VECTORS],
        [["joy", "trust"], [], ["ANGER"]],
        [[0, 3], [], [1]],
    ],
    ids=["numbers", "booleans", "floats", "names", "indices"],
)
def test_label_sets_in_every_form_are_the_same(emotions, labels):
    np.testing.assert_array_equal(targets(emotions, labels), VECTORS)


def test_names_of_the_dataset_decide_over_numbers(emotions):
    """Its own order of the names is another one than the model's."""
    feature = datasets.List(datasets.ClassLabel(names=["trust", "fear", "anger", "joy"]))
    np.testing.assert_array_equal(targets(emotions, [[3, 0], [], [2]], feature), VECTORS)


def test_one_class_is_a_set_of_one_label(emotions):
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(targets(emotions, ["anger", "joy", "trust"]), expected)
    feature = datasets.ClassLabel(names=["trust", "fear", "anger", "joy"])
    np.testing.assert_array_equal(targets(emotions, [2, 3, 0], feature), expected)
    nameless = hp.PrunableModel(tiny_task("multi_label"))  # LABEL_0 to LABEL_3
    np.testing.assert_array_equal(targets(nameless, [1, 0, 3]), expected)


@pytest.mark.slow
@given(st.lists(st.lists(st.sampled_from(LABELS), unique=True), min_size=1, max_size=3), st.permutations(LABELS))
def test_random_label_sets_are_read_back(emotions, sets, order):
    expected = [[float(name in names) for name in LABELS] for names in sets]
    assert targets(emotions, sets, datasets.List(datasets.Value("string"))) == expected
    feature = datasets.List(datasets.ClassLabel(names=order))
    assert targets(emotions, [[order.index(name) for name in names] for names in sets], feature) == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["joy", "love", "joy"], "example 1 has the label 'love'"),
        ([1, 0, 3], "of label names or numbers, or the name of one label; example 0 has 1"),
        ([["joy"], ["love"], ["fear"]], "example 1 has the label 'love'"),
        ([[0], [4], [1]], "example 1 has the label 4"),
        ([[0.2, 0.9, 0.1, 0.4]] * 3, "example 0 has the label 0.2"),
        (
            [[1, 0, 0]] * 3,
            "example 0 has .1, 0, 0.; expected a vector of 4 zeros and ones, or label numbers",
        ),
        ([VECTORS[0], None, VECTORS[2]], "1 of 3 examples have no label .the first is example 1."),
    ],
)
def test_other_label_sets_are_refused(emotions, labels, message):
    with pytest.raises(hp.HeadPruneError, match=message):
        targets(emotions, labels)


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        ([1.5, -2.0, 3.0], None),
        (["1.5", " -2", "3e0"], None),
        ([[1.5], [-2.0], [3.0]], None),
        ([0, 1, 2], datasets.ClassLabel(names=["1.5", "-2", "3"])),
    ],
)
def test_numbers_in_every_form_are_the_same(rating, labels, feature):
    assert targets(rating, labels, feature) == [[1.5], [-2.0], [3.0]]


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        (["good", "bad", "1"], None, "must be a finite number; example 0 has 'good'"),
        ([0, 1, 1], datasets.ClassLabel(names=["bad", "good"]), "example 0 has 'bad'"),
        ([1.0, float("nan"), 2.0], None, "example 1 has nan"),
        (["1,5", "2", "3"], None, "example 0 has '1,5'"),
        ([[1.0, 2.0]] * 3, None, "example 0 has .1.0, 2.0."),
        ([1.0, None, 2.0], None, "1 of 3 examples have no label"),
    ],
)
def test_other_numbers_are_refused(rating, labels, feature, message):
    with pytest.raises(hp.HeadPruneError, match=message):
        targets(rating, labels, feature)


def test_several_outputs_need_as_many_numbers():
    model = hp.PrunableModel(tiny_task("regression", "roberta"))
    assert targets(model, [[1, 2.5], [0, 0], [3, 4]]) == [[1.0, 2.5], [0.0, 0.0], [3.0, 4.0]]
    with pytest.raises(hp.HeadPruneError, match=r"a list of 2 finite numbers; example 0 has 1.0"):
        targets(model, [1.0, 2.0, 3.0])


def test_a_column_of_none_is_no_label(emotions, rating):
    for model in (emotions, rating):
        assert targets(model, [None, None, None]) is None


def test_tensors_are_read(emotions):
    examples = datasets.Dataset.from_dict({"input_ids": IDS, "label": VECTORS}).with_format("torch")
    np.testing.assert_array_equal(example_targets(emotions, examples), VECTORS)


def test_numbers_as_text():
    assert [format_numbers(value) for value in (1.0, "2.5", [1.5, 2.0])] == ["1", "2.5", "1.5, 2"]
