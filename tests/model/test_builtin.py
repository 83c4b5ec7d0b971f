"""The built-in model and dataset: disjoint splits, and the accuracy that its card states."""

import re

import numpy as np
import pytest
import torch
from helpers.tiny_models import thorough
from scipy import sparse

import headprune_core as hp
from headprune_core.model import builtin


def letters(text):
    """The letters of a tweet without links and mentions."""
    return re.sub(r"[^a-z]", "", re.sub(r"https?:\S+|@\w+|&\w+;", " ", text.lower()))


def runs_of_letters(texts, length=5):
    """Sparse 0/1 matrix (texts, n-grams): the letter n-grams of size `length` in each text."""
    number, rows, columns = {}, [], []
    for i, text in enumerate(map(letters, texts)):
        found = {text[j : j + length] for j in range(max(1, len(text) - length + 1))}
        rows += [i] * len(found)
        columns += [number.setdefault(run, len(number)) for run in sorted(found)]
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(texts), len(number)))


@pytest.fixture(scope="module")
def splits():
    return {name: builtin.rows(name) for name in builtin.SPLITS}


def test_splits_share_no_text(splits):
    texts = [set(map(letters, table.text)) for table in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))


@pytest.mark.slow
def test_splits_share_no_near_duplicates(splits):
    texts = [text for table in splits.values() for text in table.text]
    split = np.repeat(np.arange(3), [len(table) for table in splits.values()])
    runs = runs_of_letters(texts)
    size, held_out = np.asarray(runs.sum(1)).ravel(), np.flatnonzero(split < 2)
    shared = (runs[held_out] @ runs.T).tocoo()
    first, second = held_out[shared.row], shared.col
    overlap = shared.data / (size[first] + size[second] - shared.data)
    worst = np.argmax(np.where(split[first] != split[second], overlap, 0.0))
    assert overlap[worst] < 0.8, (texts[first[worst]], texts[second[worst]])


def test_held_out_splits_are_balanced_and_large_enough(splits):
    assert splits["evaluation"].label.value_counts().nunique() == 1
    assert splits["calibration"].label.value_counts().nunique() == 1
    assert len(splits["evaluation"]) >= 900


@pytest.mark.parametrize("split", ["calibration", "evaluation"])
@pytest.mark.parametrize("size", [8, 32, 100])
def test_prefixes_are_balanced_and_nested(split, size):
    examples, more = (hp.load_examples(split=split, size=n) for n in (size, size + 20))
    assert np.ptp(np.bincount(examples["label"], minlength=3)) <= 1
    assert more["text"][:size] == examples["text"][:]


def test_label_names_match_the_model(embedded_model, calibration):
    assert tuple(calibration.features["label"].names) == builtin.LABELS == embedded_model.labels
    assert len(calibration) == 32


@pytest.mark.slow
def test_builtin_is_an_alias_of_embedded(embedded_model):
    model = hp.PrunableModel.from_pretrained("builtin", device="cpu")
    assert model.name == embedded_model.name
    assert model.fingerprint == embedded_model.fingerprint
    assert [builtin.is_builtin(source) for source in ("embedded", "builtin", "user/builtin", 3)] == [
        True,
        True,
        False,
        False,
    ]


def test_the_model_is_a_small_frozen_classifier(embedded_model):
    assert embedded_model.grid.shape == (6, 12)
    assert embedded_model.task == "classification"
    assert not any(p.requires_grad for p in embedded_model.model.parameters())


@thorough
@pytest.mark.slow
def test_evaluation_accuracy_matches_the_card():
    model, tokenizer = builtin.load_model()
    model.eval().set_attn_implementation("sdpa")
    table = builtin.rows("evaluation")
    table = table.iloc[np.argsort(table.text.str.len())]
    right = 0
    for start in range(0, len(table), 32):
        part = table.iloc[start : start + 32]
        inputs = tokenizer(part.text.to_list(), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            right += (model(**inputs).logits.argmax(-1).numpy() == part.label.to_numpy()).sum()
    assert right / len(table) >= 0.86


def test_calibration_scores_exist_for_every_head(embedded_scores):
    for scores in (embedded_scores.his, embedded_scores.ae, embedded_scores.gnorm):
        assert scores.shape == (6, 12)
        assert (scores > 0).all()


def test_another_corpus_is_refused(monkeypatch):
    monkeypatch.setattr(builtin, "corpus_digest", lambda: "of another file")
    with pytest.raises(hp.HeadPruneError, match="not the file that the built-in splits were made for"):
        builtin.rows("evaluation")


def test_a_missing_package_is_named():
    with pytest.raises(hp.HeadPruneError, match=r"the package no_such_package, .* is not installed"):
        builtin.package_folder("no_such_package")
