"""Loading a model and a dataset for the app: notes, errors, and the keys that keep workspaces apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny_models import tiny, tiny_tokenizer

from headprune_core import Cancelled, HeadPruneError, PrunableModel, plan_examples, score_heads
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, ScoreOptions, load, rescore

TEXTS = [f"the flight number {i} was {'lovely' if i % 2 else 'late'}" for i in range(9)]


@pytest.fixture(scope="module")
def server():
    return ServerState()


def silent(done, total, note):
    pass


def loaded(server, *columns, **options):
    table = pd.DataFrame(dict(zip(("text", "label"), columns, strict=False)))
    return load(Request(text="mine", plan=plan_examples(table), **options), server, silent)


@pytest.mark.slow
def test_the_default_is_loaded_in_visible_steps(server):
    steps = []
    work = load(Request(), server, lambda done, total, note: steps.append((done / total, note)))
    assert [note for _, note in steps[:3]] == ["Reading the dataset", "Loading the built-in model", "Tokenizing"]
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    assert work.scores.his.shape == (6, 12)
    assert len(work.evaluation) == 960
    assert work.notes == ()


@pytest.mark.slow
def test_text_without_labels_is_scored_by_the_models_own_answers(server):
    work = loaded(server, TEXTS)
    assert work.scores.settings["objective"] == "prediction"
    assert any("no labels" in note for note in work.notes)


def test_one_text_can_be_scored_but_not_tested_on(server):
    work = loaded(server, TEXTS[:1])
    assert work.evaluation is None
    assert any("Accuracy is unavailable" in note for note in work.notes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::headprune_core.HeadPruneWarning")  # for notebooks; the page shows the note
def test_a_text_that_is_cut_is_noted(server):
    work = loaded(server, [f"{text} {'word ' * 700}" for text in TEXTS])
    assert any("3 of 3 examples exceed the model's maximum length of 512 tokens" in note for note in work.notes)
    assert max(work.lengths) == 512


def test_labels_that_the_model_does_not_have_are_refused(server):
    with pytest.raises(HeadPruneError, match="a label that the model does not have: 'sarcastic'"):
        loaded(server, TEXTS, ["sarcastic"] * len(TEXTS))


def test_works_on_other_texts_have_other_keys(server):
    assert loaded(server, TEXTS).key != loaded(server, TEXTS[:-1]).key
    assert loaded(server, TEXTS).key == loaded(server, TEXTS).key


def test_labels_are_shown_by_their_names(server):
    work = loaded(server, TEXTS, [i % 3 for i in range(len(TEXTS))])
    assert set(work.label_names(list(work.calibration["label"]))) <= {"negative", "neutral", "positive"}


@pytest.mark.slow
def test_options_are_part_of_what_is_asked_and_of_the_key(server):
    usual, other = loaded(server, TEXTS), loaded(server, TEXTS, options=ScoreOptions(entropy="normalized"))
    assert other.scores.settings["entropy"] == "normalized"
    assert other.scores.ae.max() <= 1.0 < usual.scores.ae.max()
    assert other.key != usual.key


def test_another_reduction_needs_no_run_and_has_another_key(server):
    work = loaded(server, TEXTS)
    token = work.reduced_by("token")
    assert token.request.options.his_reduction == token.scores.settings["his_reduction"] == "token"
    np.testing.assert_array_equal(token.scores.his, work.scores.his_by_reduction["token"].mean(0))
    assert token.run_key == work.run_key
    assert token.key != work.key


def test_scoring_again_keeps_the_text_and_the_model(server):
    work = loaded(server, TEXTS)
    again = rescore(work, ScoreOptions(his_reduction="batch", gnorm_objective="prediction"), server, silent)
    assert again.model is work.model
    assert again.scores.settings["gnorm_objective"] == "prediction"
    assert again.scores.settings["his_reduction"] == "batch"
    np.testing.assert_array_equal(again.scores.ae, work.scores.ae)


def test_scores_are_made_once_for_the_same_options(server):
    work = loaded(server, TEXTS)
    again = rescore(rescore(work, ScoreOptions(entropy="A"), server, silent), ScoreOptions(), server, silent)
    assert again.scores.per_example["ae"] is work.scores.per_example["ae"]


def test_scoring_again_can_be_cancelled(server):
    def stop(done, total, note):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        rescore(loaded(server, TEXTS), ScoreOptions(entropy="C"), server, stop)


@pytest.mark.slow
def test_the_other_precision_is_found_where_it_was_computed(server):
    work = loaded(server, [f"{text} again" for text in TEXTS])
    assert work.in_precision("bfloat16", server) is None
    half = rescore(work, ScoreOptions(dtype="bfloat16"), server, silent)
    assert work.in_precision("bfloat16", server).settings["dtype"] == "bfloat16"
    assert half.in_precision("float32", server).settings["dtype"] == "float32"


def test_the_task_loss_is_not_offered_without_labels(server):
    work = loaded(server, TEXTS)
    assert work.objectives == ("prediction", "logit_norm")
    assert work.options.objective == "prediction"
    again = rescore(work, ScoreOptions(objective="logit_norm", gnorm_objective="loss"), server, silent)
    assert again.scores.settings["gnorm_objective"] == "prediction"
    assert [note for note in again.notes if "no labels" in note] == [
        "The dataset has no labels, so Gnorm uses the model's own predictions as targets."
    ]
    assert "loss" in loaded(server, TEXTS, [i % 3 for i in range(len(TEXTS))]).objectives


@torch.no_grad()
def train_into(folder, seed):
    """A tiny model with other weights in each version, saved into the same folder."""
    model, generator = tiny("bert"), torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    tiny_tokenizer(model_max_length=20).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 2])
def test_a_model_trained_anew_into_the_same_folder_is_loaded_and_scored_anew(others, tmp_path):
    """With two other models between, the old model has left the memory but its scores have not."""
    server, words, works = ServerState(), pd.DataFrame({"text": [f"w{i} w{i + 1}" for i in range(6)]}), []
    rest = {"text": "t", "plan": plan_examples(words), "is_folder": True}
    for seed in (0, 1):
        train_into(tmp_path / "mine", seed)
        works.append(load(Request(str(tmp_path / "mine"), **rest), server, silent))
        for other in range(others):
            train_into(tmp_path / f"other{other}", 2 + other)
            load(
                Request(str(tmp_path / f"other{other}"), text="t", plan=plan_examples(words), is_folder=True), server, silent
            )
    before, after = works
    assert after.model is not before.model
    assert (after.key != before.key, after.run_key != before.run_key) == (True, True)
    for work, different in ((after, before), (before, after)):
        alone = score_heads(PrunableModel(work.model.model, work.model.tokenizer), work.calibration, objective="prediction")
        np.testing.assert_allclose(work.scores.his, alone.his, rtol=1e-6)
        assert not np.allclose(different.scores.his, alone.his, rtol=1e-2)
    again = load(Request(str(tmp_path / "mine"), **rest), server, silent)
    assert again.key == after.key
    assert again.scores.per_example["his"] is after.scores.per_example["his"]
