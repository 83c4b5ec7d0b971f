"""The command `prune`, as it is called: what it prints, and the folder, zip, report and ONNX file that it writes."""

import json
import zipfile

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.cli.main import main
from headprune_core.masks.mask_files import mask_csv

FEW = ("--calibration-size", "6", "--evaluation-size", "12", "--n-random", "2")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))


def document(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_prune_saves_a_smaller_model_that_answers_as_the_masked_one(capsys, tmp_path):
    where = ("--protect", "2", "--out-folder", str(tmp_path / "small"))
    printed = document(capsys, "prune", "--sparsity", "0.5", "--alpha", "1", *where, *FEW)
    mask = np.array(printed["mask"])
    assert mask.sum() == 36
    assert mask[2].all()
    whole = hp.PrunableModel.from_pretrained("embedded", device="cpu")
    scores = hp.score_heads(whole, hp.load_examples("embedded", size=6), metrics=("his", "ae"))
    protect = np.arange(6)[:, None] == np.full((6, 12), 2)
    np.testing.assert_array_equal(mask, hp.prune_mask(scores.hies(1.0), 0.5, protect=protect))
    before, after = printed["parameters"]["before"], printed["parameters"]["after"]
    assert before - after == 36 * 32 * (3 * 385 + 384)  # heads of 32 rows of q, k and v with biases, and 32 columns
    assert printed["difference"] < 1e-5
    assert printed["equal"] == 1
    assert printed["accuracy"]["masked"] == printed["accuracy"]["pruned"] == printed["accuracy"]["reloaded"]
    back = hp.PrunableModel.from_pretrained(str(tmp_path / "small"), device="cpu")
    np.testing.assert_array_equal(back.grid.kept, mask)


def test_prune_shows_what_is_left_and_may_only_try(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["prune", "--criterion", "random", "--calibration-size", "2", "--evaluation-size", "3", "--n-random", "1"]) == 0
    )
    shown = capsys.readouterr().out
    assert "22 of 72 heads removed" in shown
    assert shown.count(" accuracy 0") + shown.count(" accuracy 1") == 4
    assert "1 random choice of as many heads gives accuracy" in shown
    assert "not saved; --out-folder FOLDER saves it" in shown
    assert [file.name for file in tmp_path.iterdir()] == ["cache"]


def test_prune_takes_a_mask_from_a_file_and_scores_nothing(capsys, tmp_path):
    mask = np.random.default_rng(0).random((6, 12)) < 0.6
    (tmp_path / "mine.csv").write_text(mask_csv(mask))
    printed = document(capsys, "prune", "--mask", str(tmp_path / "mine.csv"), *FEW)
    assert printed["mask"] == mask.tolist()
    assert printed["mask_description"] == "the mask in mine.csv"
    assert printed["criterion"] is None
    texts = hp.load_examples(split="evaluation", size=12)
    random_baseline = hp.random_baseline(hp.PrunableModel.from_pretrained(device="cpu"), texts, mask, n_random=2)
    assert printed["random"]["values"] == random_baseline.random_values.tolist()


def test_prune_writes_all_that_is_asked_for(capsys, tmp_path):
    files = {name: str(tmp_path / file) for name, file in (("bundle", "all.zip"), ("report", "r.html"), ("onnx", "m.onnx"))}
    asked = [part for name, file in files.items() for part in (f"--{name}", file)]
    more = ("--finetune-steps", "2", "--latency-lengths", "8", "--sparsity", "0.5", "--criterion", "his")
    printed = document(capsys, "prune", *more, *asked, *FEW)
    assert printed["recovery"]["steps"] == 2
    assert printed["recovery"]["before"]["value"] == printed["accuracy"]["pruned"]
    assert {line["batch_size"] for line in printed["latency"]} == {1, 8, 32}
    assert printed["onnx"]["difference"] < 1e-4
    assert (tmp_path / "m.onnx").stat().st_size > 10**7
    report = (tmp_path / "r.html").read_text()
    assert "36 of 72" in report
    learned = "examples of embedded (training); no text that was measured on is among them"
    assert f"The fine-tune learned from {learned}." in report
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path / "all")
    model = hp.PrunableModel.from_pretrained(tmp_path / "all" / "model", device="cpu")
    assert model.grid.kept.tolist() == printed["mask"]
    texts = hp.load_examples(split="evaluation", size=12)
    found = hp.evaluate_masks(model, texts, np.ones((1, 6, 12), bool))
    assert found.accuracy[0] == pytest.approx(printed["recovery"]["after"]["value"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--onnx", "model.zip"), "the file is to be called 'model.zip'; expected a name that ends in .onnx"),
        (("--out", "nowhere/x.json"), "--out is nowhere/x.json, which cannot be written"),
        (("--out", "tests"), "--out is tests, which cannot be written; expected a file in a folder that is there"),
        (("--report", "x.html", "--out", "./x.html"), "--out and --report are both ./x.html; expected a file for each"),
        (("--n-random", "-1"), "--n-random is -1; expected at least 0"),
        (("--finetune-steps", "-3"), "--finetune-steps is -3; expected at least 0"),
        (("--latency-lengths", "8", "0"), "--latency-lengths is 0; expected at least 1"),
        (("--mask", ""), "--mask has no name; expected one, or leave the argument out"),
        (("--out-folder", ""), "--out-folder has no name"),
        (("--evaluation-size", "0"), "0 examples were asked for"),
        (("--finetune-steps", "1", "--training-split", "nope"), "the embedded text has no split 'nope'"),
        (("--out-folder", "."), "is the folder that this runs in"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said_before_a_model_is_loaded(capsys, arguments, words):
    assert main(["prune", "--model", "/there/is/no/such/model", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--criterion", "greedy_gnorm"), "criterion greedy_gnorm takes a run of its own"),
        (("--mask", "nothing.json"), "the mask nothing.json cannot be read"),
        (("--report", "nowhere/r.html"), "--report is nowhere/r.html, which cannot be written"),
        (("--mask", "README.md"), "README.md is neither .json nor .csv"),
        (
            ("--sparsity", "1", "--calibration-size", "3"),
            "no head of 72 would be left; expected a mask that keeps at least one",
        ),
        (("--out-folder", "tests", "--calibration-size", "3", "--evaluation-size", "3"), "tests holds other files"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(capsys, arguments, words):
    assert main(["prune", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
