"""The command `prune` as users call it: what it prints, and the folder, zip, report and ONNX file that it writes."""

import json
import zipfile

import numpy as np
import pytest
from helpers.tiny_models import tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.cli.main import main
from headprune_core.masks.mask_files import mask_csv
from headprune_core.model.builtin import LABELS

FEW = ("--calibration-size", "6", "--evaluation-size", "12", "--n-random", "2")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))


def document(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
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


@pytest.mark.slow
def test_prune_shows_what_is_left_and_may_only_try(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["prune", "--criterion", "random", "--calibration-size", "2", "--evaluation-size", "3", "--n-random", "1"]) == 0
    )
    shown = capsys.readouterr().out
    assert "22 of 72 heads removed" in shown
    assert shown.count(" accuracy 0") + shown.count(" accuracy 1") == 4
    assert "1 random mask" in shown
    assert "Not saved. Use --out-folder FOLDER to save the model." in shown
    assert [file.name for file in tmp_path.iterdir()] == ["cache"]


@pytest.mark.slow
def test_prune_takes_a_mask_from_a_file_and_scores_nothing(capsys, tmp_path):
    mask = np.random.default_rng(0).random((6, 12)) < 0.6
    (tmp_path / "mine.csv").write_text(mask_csv(mask))
    printed = document(capsys, "prune", "--mask", str(tmp_path / "mine.csv"), *FEW)
    assert printed["mask"] == mask.tolist()
    assert printed["mask_description"] == "mask from mine.csv"
    assert printed["criterion"] is None
    texts = hp.load_examples(split="evaluation", size=12)
    random_baseline = hp.random_baseline(hp.PrunableModel.from_pretrained(device="cpu"), texts, mask, n_random=2)
    assert printed["random"]["values"] == random_baseline.random_values.tolist()


@pytest.mark.slow
def test_prune_writes_all_that_is_asked_for(capsys, tmp_path):
    small = tiny("bert")
    small.config.id2label = dict(enumerate(LABELS))
    hp.PrunableModel(small, tiny_tokenizer(model_max_length=60)).save_pretrained(tmp_path / "small")
    files = {name: str(tmp_path / file) for name, file in (("bundle", "all.zip"), ("report", "r.html"), ("onnx", "m.onnx"))}
    asked = [part for name, file in files.items() for part in (f"--{name}", file)]
    asked += ["--model", str(tmp_path / "small")]
    more = ("--finetune-steps", "2", "--latency-lengths", "8", "--sparsity", "0.5", "--criterion", "his")
    printed = document(capsys, "prune", *more, *asked, *FEW)
    assert printed["recovery"]["steps"] == 2
    assert printed["recovery"]["before"]["value"] == printed["accuracy"]["pruned"]
    assert {line["batch_size"] for line in printed["latency"]} == {1, 8, 32}
    assert printed["onnx"]["difference"] < 1e-4
    assert (tmp_path / "m.onnx").stat().st_size > 10**5
    report = (tmp_path / "r.html").read_text()
    assert "6 of 12" in report
    learned = "examples of embedded (training); it contains no evaluation examples"
    assert f"Training set: {learned}." in report
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path / "all")
    model = hp.PrunableModel.from_pretrained(tmp_path / "all" / "model", device="cpu")
    assert model.grid.kept.tolist() == printed["mask"]
    texts = hp.load_examples(split="evaluation", size=12)
    found = hp.evaluate_masks(model, texts, np.ones((1, 3, 4), bool))
    assert found.accuracy[0] == pytest.approx(printed["recovery"]["after"]["value"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--onnx", "model.zip"), "the file name must end in .onnx, got 'model.zip'"),
        (("--out", "nowhere/x.json"), "--out must be a file in an existing folder, got nowhere/x.json"),
        (("--out", "tests"), "--out must be a file in an existing folder, got tests"),
        (("--report", "x.html", "--out", "./x.html"), "--out and --report must name different files, got ./x.html for both"),
        (("--n-random", "-1"), "--n-random must be at least 0, got -1"),
        (("--seed", "-1", "--criterion", "random"), "--seed must be at least 0, got -1"),
        (("--finetune-steps", "-3"), "--finetune-steps must be at least 0, got -3"),
        (("--latency-lengths", "8", "0"), "--latency-lengths must be at least 1, got 0"),
        (("--mask", ""), "--mask needs a file or folder name; omit the option otherwise"),
        (("--out-folder", ""), "--out-folder needs a file or folder name"),
        (("--evaluation-size", "0"), "size must be at least 1, got 0"),
        (
            ("--finetune-steps", "1", "--training-split", "nope"),
            "split of the built-in dataset must be one of calibration, evaluation, training, got 'nope'",
        ),
        (("--out-folder", "."), "is the working directory or one of its parents"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said_before_a_model_is_loaded(capsys, arguments, words):
    assert main(["prune", "--model", "/there/is/no/such/model", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--criterion", "greedy_gnorm"), "criterion greedy_gnorm needs a run of its own"),
        (("--mask", "nothing.json"), "could not read the mask nothing.json"),
        (("--report", "nowhere/r.html"), "--report must be a file in an existing folder, got nowhere/r.html"),
        (("--mask", "README.md"), "mask file must end in .json or .csv, got README.md"),
        (
            ("--sparsity", "1", "--calibration-size", "3"),
            "must keep at least one head, got a mask that prunes all 72",
        ),
        (("--out-folder", "tests", "--calibration-size", "3", "--evaluation-size", "3"), "tests contains other files"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(capsys, arguments, words):
    assert main(["prune", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
