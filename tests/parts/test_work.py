"""Loading a model and a text for the app: what is noted, what is refused, and what keeps two works apart."""

import pandas as pd
import pytest

from headprune_core import HeadPruneError
from pages.parts.shelf import Shared
from pages.parts.work import Request, load

TEXTS = [f"the flight number {i} was {'lovely' if i % 2 else 'late'}" for i in range(9)]


@pytest.fixture(scope="module")
def server():
    return Shared()


def loaded(server, *columns, **options):
    table = pd.DataFrame(dict(zip(("text", "label"), columns, strict=False)))
    return load(Request(text="mine", table=table, **options), server, lambda done, total, note: None)


def test_the_default_is_loaded_in_visible_steps(server):
    steps = []
    work = load(Request(), server, lambda done, total, note: steps.append((done / total, note)))
    assert [note for _, note in steps[:3]] == ["Reading the text", "Loading the embedded model", "Making tokens"]
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    assert work.scores.his.shape == (6, 12)
    assert len(work.evaluation) == 960
    assert work.notes == ()


def test_text_without_labels_is_scored_by_the_models_own_answers(server):
    work = loaded(server, TEXTS)
    assert work.scores.settings["objective"] == "prediction"
    assert any("no labels" in note for note in work.notes)


def test_one_text_can_be_scored_but_not_tested_on(server):
    work = loaded(server, TEXTS[:1])
    assert work.evaluation is None
    assert any("Accuracy cannot be measured" in note for note in work.notes)


@pytest.mark.filterwarnings("ignore::headprune_core.HeadPruneWarning")  # for notebooks; the page shows the note
def test_a_text_that_is_cut_is_noted(server):
    work = loaded(server, [f"{text} {'word ' * 700}" for text in TEXTS])
    assert any("3 of 3 texts are longer than the 512 tokens" in note for note in work.notes)
    assert max(work.lengths) == 512


def test_labels_that_the_model_does_not_have_are_refused(server):
    with pytest.raises(HeadPruneError, match="labels that the model does not have"):
        loaded(server, TEXTS, ["sarcastic"] * len(TEXTS))


def test_works_on_other_texts_have_other_keys(server):
    assert loaded(server, TEXTS).key != loaded(server, TEXTS[:-1]).key
    assert loaded(server, TEXTS).key == loaded(server, TEXTS).key


def test_labels_are_shown_by_their_names(server):
    work = loaded(server, TEXTS, [i % 3 for i in range(len(TEXTS))])
    assert set(work.label_names(list(work.calibration["label"]))) <= {"negative", "neutral", "positive"}
