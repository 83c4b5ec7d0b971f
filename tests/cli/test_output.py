"""The output of every command where something cannot be measured: strict JSON, and a reason instead of a number."""

import json
import re

import pytest
from helpers.tiny_models import EVERYTHING, tiny, tiny_tokenizer

from headprune_core.cli.main import COMMANDS, main

ROWS = [f"w{i} w{i + 1} w{2 * i + 3}" for i in range(9)]
ONE = ("--calibration-size", "1", "--evaluation-size", "1")
FEW = ("--calibration-size", "3", "--evaluation-size", "4")
CASES = {  # case: (model, whether there are labels, sizes)
    "no labels": ("bert", False, FEW),
    "language model": ("llama", False, FEW),
    "single example": ("bert", True, ONE),
    "single example without a label": ("bert", False, ONE),
    "single example of a language model": ("llama", False, ONE),
}
OF_PRUNING = ("no labels", "single example of a language model")  # the longest command; the others before a release
RUNS = {
    "score": ("--evaluate",),
    "alpha": ("--measure", "--sparsity", "0.5"),
    "compare": ("--against", "his-reduction=token", "--against", "entropy=normalized", "no-special-tokens"),
    "curves": ("--methods", "hies", "his", "random", "--sparsities", "0", "0.5", "1", "--n-random", "1"),
    "greedy": ("--steps", "3"),
    "prune": ("--sparsity", "0.5", "--n-random", "1", "--finetune-steps", "1", "--latency-lengths", "4"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    for family in ("bert", "llama"):
        tiny(family).save_pretrained(place / family)
        tiny_tokenizer(model_max_length=20).save_pretrained(place / family)
    (place / "labeled.csv").write_text("text,label\n" + "\n".join(f"{row},{i % 3}" for i, row in enumerate(ROWS)))
    (place / "unlabeled.csv").write_text("text\n" + "\n".join(ROWS))
    return place


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def test_every_command_is_run():
    assert {*RUNS} == {*COMMANDS} - {"app", "bench", "cache"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("command", "case"),
    [(command, case) for command in RUNS for case in CASES if EVERYTHING or command != "prune" or case in OF_PRUNING],
)
def test_every_command_writes_strict_json_and_no_number_that_is_none(command, case, folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))
    model, labeled, sizes = CASES[case]
    table = folders / ("labeled.csv" if labeled else "unlabeled.csv")
    words = [command, "--model", str(folders / model), "--dataset", str(table), *sizes, *RUNS[command]]
    out = tmp_path / "out.json"
    capsys.readouterr()
    status = main([*words, "--json", "--out", str(out)])
    if command == "alpha" and sizes == ONE:
        error = capsys.readouterr().err
        assert (status, out.exists()) == (2, False)
        assert error.splitlines()[-1] == "headprune: --measure needs at least 2 evaluation examples, got 1; add examples"
        return
    assert status == 0
    printed = capsys.readouterr().out
    document = json.loads(printed, parse_constant=refuse)
    assert document == json.loads(out.read_text(), parse_constant=refuse)
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert not re.search(r"\b(nan|inf|NaN|None)\b", shown), shown
    if not labeled and model == "bert" and command in ("score", "greedy"):
        assert "accuracy unknown: the evaluation set has no labels" in shown
