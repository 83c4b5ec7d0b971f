"""The command line as users call it: results on standard output; errors as one sentence and status 2."""

import json
import signal

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.cli.main import main


def document(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_score_prints_three_matrices_and_the_models_accuracy(capsys):
    printed = document(capsys, "score", "--evaluate")
    assert set(printed["scores"]) == {"his", "ae", "gnorm"}
    for values in printed["scores"].values():
        assert np.shape(values) == (6, 12)
        assert np.min(values) >= 0
    assert printed["evaluation"]["accuracy"] >= 0.86
    assert printed["evaluation"]["n_predictions"] == 960


def test_a_file_that_cannot_be_written_is_reported_before_any_work(capsys):
    assert main(["score", "--model", "no/such-model", "--out", "nowhere/scores.json"]) == 2
    error = capsys.readouterr().err
    assert error == "headprune: --out must be a file in an existing folder, got nowhere/scores.json\n"


@pytest.mark.slow
def test_ctrl_c_ends_it_in_a_sentence(capsys, monkeypatch, tmp_path):
    logits, calls = hp.PrunableModel.logits, []

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return logits(self, *args, **options)

    monkeypatch.setattr(hp.PrunableModel, "logits", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a browser of other tests has a handler of its own
    try:
        assert main(["greedy", "--no-cache", "--out", str(tmp_path / "found.json")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == 3
    assert capsys.readouterr().err.endswith("interrupted. Completed files were kept; no partial files were written.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_alpha_prints_the_mask_and_the_path(capsys):
    printed = document(capsys, "alpha", "--alpha", "0.7", "--sparsity", "0.5")
    assert np.sum(printed["mask"]) == 36
    path = printed["path"]
    assert path[0]["low"] == 0.0
    assert path[-1]["high"] == 1.0
    interval = next(part for part in path if part["low"] < 0.7 <= part["high"])
    assert interval["mask"] == printed["mask"]


@pytest.mark.slow
def test_alpha_under_constraints(capsys):
    named = ("--protect", "0.3", "5", "--remove", "1.2", "--min-heads-per-layer", "4", "--sparsity", "0.5")
    printed = document(capsys, "alpha", *named)
    mask, share = np.array(printed["mask"]), np.array(printed["keep_fraction"])
    assert mask.sum() == 36
    assert mask.sum(1).min() >= 4
    assert mask[0, 3]
    assert mask[5].all()
    assert not mask[1, 2]
    assert (share[5] == 1).all()
    assert share[1, 2] == 0
    assert printed["constraints"]["protect"] == ["0.3", "5"]
    for part in printed["path"]:
        assert np.array(part["mask"])[5].all()


@pytest.mark.slow
def test_alpha_with_even_rows_and_with_a_budget_of_parameters(capsys):
    uniform = document(capsys, "alpha", "--uniform", "--whole-groups", "--sparsity", "0.5")
    assert np.sum(uniform["mask"], axis=1).tolist() == [6] * 6
    half = document(capsys, "alpha", "--sparsity-unit", "parameters", "--sparsity", "0.5")
    assert np.sum(half["mask"]) == 36  # the heads of this model are all of one size


@pytest.mark.slow
def test_alpha_measures_every_mask_and_chooses(capsys):
    printed = document(
        capsys, "alpha", "--sparsity", "0.5", "--measure", "--evaluation-size", "12", "--entropy-direction", "high"
    )
    assert len(printed["measured"]) == len(printed["path"])
    chosen = printed["recommendation"]
    assert chosen["value"] == pytest.approx(max(line["accuracy"] for line in printed["measured"]))
    assert 0 <= chosen["low"] < chosen["alpha"] < chosen["high"] <= 1
    assert chosen["verdict"]


@pytest.mark.slow
def test_curves_prints_points_and_verdicts(capsys, tmp_path):
    out = tmp_path / "curves.json"
    short = ("--methods", "his", "random", "--sparsities", "0", "0.5", "--n-random", "2", "--evaluation-size", "9")
    printed = document(capsys, "curves", *short, "--out", str(out))
    assert len(printed["curves"]) == 2 * 3
    assert [line["method"] for line in printed["verdicts"]] == ["his"]
    assert json.loads(out.read_text()) == printed


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_greedy_prints_the_order_and_every_step(capsys):
    printed = document(
        capsys, "greedy", "--steps", "3", "--heads-per-step", "2", "--calibration-size", "4", "--evaluation-size", "9"
    )
    assert len(printed["order"]) == 6
    assert len(printed["accuracy"]) == len(printed["agreement"]) == 4
    assert np.shape(printed["scores"]) == (3, 6, 12)
    assert printed["agreement"][0] == 1


@pytest.mark.slow
def test_curves_of_criteria_that_need_a_run_and_of_a_users_own_ranking(capsys, tmp_path):
    order = np.random.default_rng(0).permutation(72)
    rows = "\n".join(f"{place // 12},{place % 12},{score}" for place, score in enumerate(order))
    (tmp_path / "mine.csv").write_text(f"row,head,score\n{rows}\n")
    few = ("--calibration-size", "2", "--evaluation-size", "6", "--sparsities", "0.5")
    methods = ("inverse_greedy_gnorm", "leave_one_out", "custom", "hies@0.2")
    printed = document(capsys, "curves", "--methods", *methods, "--ranking", str(tmp_path / "mine.csv"), *few)
    assert [line["method"] for line in printed["curves"]] == list(methods)
    assert {line["heads_pruned"] for line in printed["curves"]} == {36}
    assert printed["calibration_evaluation_overlap"] == 0


@pytest.mark.slow
def test_results_are_kept_unless_told_not_to(capsys, tmp_path):
    few = ("greedy", "--steps", "1", "--calibration-size", "2", "--evaluation-size", "3")
    document(capsys, *few, "--no-cache")
    assert not (tmp_path / "cache").exists()
    document(capsys, *few)
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_a_table_for_people_is_the_default(capsys):
    assert main(["score", "--calibration-size", "3"]) == 0
    shown = capsys.readouterr().out
    assert "HIS" in shown
    assert shown.count("layer ") == 3


@pytest.mark.slow
def test_a_users_own_text_is_taken(capsys, tmp_path):
    table = tmp_path / "mine.jsonl"
    table.write_text("\n".join(json.dumps({"text": f"text number {i}"}) for i in range(6)))
    printed = document(capsys, "score", "--dataset", str(table), "--calibration-size", "2")
    assert printed["settings"]["objective"] == "prediction"
    assert printed["settings"]["examples"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alpha", "--alpha", "1.5"), "alpha must be between 0 (entropy only) and 1 (importance only), got 1.5"),
        (("alpha", "--sparsity", "-0.1"), "sparsity must be between 0 and 1, got -0.1"),
        (("alpha", "--protect", "9.1", "--calibration-size", "3"), "unknown head '9.1'; use row.head"),
        (
            ("alpha", "--protect", "0.1", "--remove", "0.1", "--calibration-size", "3"),
            "head 1 in row 0 is in both protect and remove",
        ),
        (
            ("alpha", "--uniform", "--sparsity-unit", "parameters", "--calibration-size", "3"),
            "uniform=True cannot be combined with a parameter budget",
        ),
        (("score", "--dataset", "nothing.csv"), "file not found: nothing.csv"),
        (("score", "--model", "./nothing"), "folder not found: './nothing'"),
        (("score", "--calibration-size", "0"), "size must be at least 1, got 0"),
        (("curves", "--n-random", "0", "--calibration-size", "3"), "n_random must be at least 1, got 0"),
        (("curves", "--methods", "custom", "--calibration-size", "3"), "'custom' needs a ranking"),
        (
            ("greedy", "--heads-per-step", "73", "--calibration-size", "3"),
            "heads_per_step must be between 1 and 72, got 73",
        ),
        (("score", "--calibration-split", "holdout"), "must be one of calibration, evaluation, training, got 'holdout'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(capsys, arguments, words):
    assert main([*arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
