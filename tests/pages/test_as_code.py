"""What "Copy as code" shows is run here, in a folder with the user's files, and has to give the curves on screen."""

import io
import json
import shlex

import numpy as np
import pandas as pd
import pytest

from headprune_core import greedy_gnorm, leave_one_out, measure_curves, plan_examples, prune_mask
from headprune_core.cli.main import main
from headprune_core.data.table_io import lines_table
from headprune_core.model.builtin import LABELS
from pages.parts.common.score_code import mask_command, mask_python, score_command, score_python
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, ScoreOptions, load
from pages.parts.curves.curve_code import command, python
from pages.parts.curves.curve_exports import parquet
from pages.parts.curves.curve_run import CurveRequest, ExternalRanking

PASTED = "\n".join(f"the flight number {i} was {'lovely' if i % 2 else 'late'}" for i in range(12))
TABLE = "remark,class\n" + "".join(f"flight {i} was {'great' if i % 2 else 'awful'},{i % 2 * 2}\n" for i in range(12))
OTHERWISE = ScoreOptions("token", "prediction", "loss", "normalized", special_tokens=False)


@pytest.fixture(scope="module")
def server():
    return ServerState()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder that holds the user's files, and is where the code is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pasted.txt").write_text(PASTED)
    (tmp_path / "mine.csv").write_text(TABLE)
    return tmp_path


def loaded(server, **request):
    return load(Request(**request), server, lambda *_: None)


def on_screen(work, wanted: CurveRequest) -> pd.DataFrame:
    options = {"alpha": wanted.alpha, "n_random": wanted.n_random, "rankings": wanted.rankings, "dtype": wanted.dtype}
    texts = wanted.texts(work.evaluation, work.key)
    methods, sparsities = wanted.methods, wanted.sparsities
    return measure_curves(work.model, texts, work.scores, methods=methods, sparsities=sparsities, **options).frame


def by_python(work, wanted: CurveRequest) -> pd.DataFrame:
    names: dict[str, object] = {}
    exec(python(work.request, work.options, wanted), names)
    return names["curves"]


def by_command(work, wanted: CurveRequest, folder) -> pd.DataFrame:
    last = command(work.request, work.options, wanted).splitlines()[-1]
    words = shlex.split(last)
    assert words[0] == "headprune"
    assert main([*words[1:], "--out", str(folder / "out.json")]) == 0
    return pd.DataFrame(json.loads((folder / "out.json").read_text())["curves"])


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found.method.tolist() == expected.method.tolist()
    for column in ("sparsity", "heads_pruned", "accuracy", "agreement", "correlation", "loss", "examples"):
        np.testing.assert_allclose(found[column].astype(float), expected[column].astype(float), atol=1e-6, err_msg=column)


SIMPLE = CurveRequest(("his", "hies@0.25", "hies", "random"), (0.0, 0.3, 0.5), 0.7, 2, 9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"size": 6}, SIMPLE),
        ({"size": 6, "options": OTHERWISE}, SIMPLE),
        (
            {"text": "mine.csv", "size": 4},
            CurveRequest(("his", "ae"), (0.5,), 0.5, 1, 5),
        ),
        ({"text": "pasted.txt", "size": 4}, CurveRequest(("gnorm",), (0.0, 0.5), 0.5, 1, 5)),
    ],
    ids=["as it comes", "other options", "an upload", "pasted lines"],
)
def test_both_give_what_is_on_screen(server, folder, request_, wanted, capsys):
    if request_.get("text") == "mine.csv":
        request_ = request_ | {"plan": plan_examples("mine.csv", model=LABELS)}
    if request_.get("text") == "pasted.txt":
        request_ = request_ | {"text": "pasted lines", "plan": plan_examples(lines_table(PASTED))}
    work = loaded(server, **request_)
    expected = on_screen(work, wanted)
    same(by_python(work, wanted), expected)
    same(by_command(work, wanted, folder), expected)


@pytest.mark.slow
def test_sparsities_head_by_head_are_a_formula_to_the_last_bit(server):
    work = loaded(server, size=6)
    wanted = CurveRequest(("his",), tuple(k / 72 for k in range(8)), 0.5, 1, 5)
    assert "[k / 72 for k in range(8)]" in python(work.request, work.options, wanted)
    assert by_python(work, wanted).sparsity.tolist() == list(wanted.sparsities)


@pytest.mark.slow
def test_rankings_that_take_a_run_are_made_again(server, folder):
    work = loaded(server, size=6)
    greedy = greedy_gnorm(work.model, work.calibration, heads_per_step=24).ranking
    out = leave_one_out(work.model, work.evaluation.select(range(2))).loss_change
    own = np.random.default_rng(0).random((6, 12))
    pd.DataFrame(own).to_csv(folder / "order.csv", header=False, index=False)
    how = "greedy_gnorm(model, calibration, heads_per_step=24).ranking"
    given = (
        ExternalRanking("greedy_gnorm", "g", greedy, code=(f"rankings['greedy_gnorm'] = {how}",), by_command=False),
        ExternalRanking(
            "leave_one_out",
            "l",
            out,
            code=("rankings['leave_one_out'] = leave_one_out(model, held_out.select(range(2))).loss_change",),
            by_command=False,
        ),
        ExternalRanking("custom", "o", own, "order.csv", ("rankings['custom'] = read_ranking('order.csv', model.grid)",)),
    )
    wanted = CurveRequest(("greedy_gnorm", "leave_one_out", "custom"), (0.25, 0.5), 0.5, 1, 6, start=2, given=given)
    same(by_python(work, wanted), on_screen(work, wanted))
    told = command(work.request, work.options, wanted).splitlines()
    assert [line for line in told if line.startswith("# ")][:2] == [
        "# greedy_gnorm: the command computes this ranking on the calibration set",
        "# leave_one_out: the command computes this ranking on the calibration set",
    ]
    assert "# the command also evaluates on the first 2 examples" in told
    assert told[-1].endswith("--ranking order.csv")


def test_settings_are_a_document_and_the_table_survives_parquet(server):
    work = loaded(server, size=6)
    wanted = CurveRequest(
        ("custom",), (0.5,), 0.5, 1, 5, given=(ExternalRanking("custom", "o", np.eye(6, 12), "order.csv"),)
    )
    document = json.loads(json.dumps(wanted.settings()))
    assert document["evaluation_texts"] == 5
    assert document["rankings"]["custom"]["ranking"] == np.eye(6, 12).tolist()
    frame = on_screen(work, wanted)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet(frame))), frame)


@pytest.mark.slow
@pytest.mark.parametrize("options", [ScoreOptions(), OTHERWISE], ids=["default options", "other options"])
def test_copied_scores_are_those_on_screen(server, folder, options, capsys):
    work = loaded(server, size=6, options=options)
    names: dict[str, object] = {}
    exec(score_python(work, 0.7), names)
    pd.testing.assert_frame_equal(names["table"], work.scores.to_frame(), atol=1e-6)
    np.testing.assert_allclose(names["hies"], work.scores.hies(0.7), atol=1e-6)
    words = shlex.split(score_command(work))
    assert main([*words[1:], "--out", str(folder / "scores.json")]) == 0
    document = json.loads((folder / "scores.json").read_text())
    np.testing.assert_allclose(document["scores"]["his"], work.scores.his, atol=1e-6)


@pytest.mark.slow
def test_a_copied_mask_is_the_one_on_screen(server, folder, capsys):
    work = loaded(server, size=6)
    protect, remove = np.zeros((2, 6, 12), bool)
    protect[0, 0] = remove[5, 11] = remove[2, 3] = True
    scaling = {"normalize": "global", "entropy_direction": "high"}
    constraints = {
        "protect": protect,
        "remove": remove,
        "min_heads_per_layer": 4,
        "uniform": False,
        "groups": None,
        "parameters": work.model.grid.parameters_per_head,
    }
    mask = prune_mask(work.scores.hies(0.8, **scaling), 0.4, **constraints)
    names: dict[str, object] = {}
    exec(mask_python(work, 0.8, 0.4, scaling, constraints), names)
    np.testing.assert_array_equal(names["mask"], mask)
    words = shlex.split(mask_command(work, 0.8, 0.4, scaling, constraints))
    assert main([*words[1:], "--out", str(folder / "alpha.json")]) == 0
    assert json.loads((folder / "alpha.json").read_text())["mask"] == mask.tolist()
