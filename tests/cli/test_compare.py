"""The command `compare`: the numbers of the engine, which options make a run, and what is refused."""

import json

import pytest
from helpers.tiny_models import tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.cli.main import main

FEW = ("--calibration-size", "6")
ROWS = [f"w{i} w{i + 1} w{2 * i + 3},{i % 3}" for i in range(36)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    for seed in (0, 1):
        tiny("bert", seed=seed).save_pretrained(folder / f"model{seed}")
        tiny_tokenizer(model_max_length=20).save_pretrained(folder / f"model{seed}")
    (folder / "table.csv").write_text("text,label\n" + "\n".join(ROWS))
    return folder


@pytest.fixture
def compared(place, capsys):
    """Run the command on the first model; its document."""

    def run(*arguments):
        words = ("compare", "--model", str(place / "model0"), "--dataset", str(place / "table.csv"), *FEW, "--json")
        assert main([*words, *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def scores(place, model, **options):
    model = hp.PrunableModel.from_pretrained(str(place / model), device="cpu")
    plan = hp.plan_examples(str(place / "table.csv"), model=None, split="calibration").for_model(model)
    return hp.score_heads(model, hp.load_examples(plan, split="calibration", size=6), **options)


def test_the_numbers_are_those_of_the_engine(place, compared):
    found = compared("--against", "objective=prediction", "entropy=normalized", "--alpha", "0.7", "--sparsity", "0.5")
    runs = [scores(place, "model0"), scores(place, "model0", objective="prediction", entropy="normalized")]
    expected = hp.compare(*runs, names=found["runs"], alpha=0.7, sparsity=0.5, paired=True)
    assert found["runs"] == ["base", "objective=prediction entropy=normalized"]
    assert found["paired"]
    assert found["settings"] == {"objective": ["loss", "prediction"], "entropy": ["exact", "normalized"]}
    for line, plain in zip(found["agreement"], expected.agreement.to_dict("records"), strict=True):
        assert line == {name: pytest.approx(value, abs=1e-6) for name, value in plain.items()}
    for criterion in expected.criteria:
        for run in found["runs"]:
            assert found["places"][criterion][run] == expected.places(criterion, run).tolist()


def test_another_model_and_another_size_are_not_the_same_examples(place, compared):
    found = compared("--against", f"model={place / 'model1'}", "--against", "calibration-size=4", "no-special-tokens")
    assert not found["paired"]
    assert len(found["runs"]) == 3
    assert found["settings"]["examples"] == [6, 6, 4]
    assert found["settings"]["special_tokens"] == [True, True, False]
    assert {(line["first"], line["second"]) for line in found["agreement"]} == {
        (found["runs"][a], found["runs"][b]) for a, b in ((0, 1), (0, 2), (1, 2))
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("objective=nope",), "argument --objective: invalid choice: 'nope'"),
        (("evaluate",), "unrecognized arguments: --evaluate"),
        (("objective",), "argument --objective: expected one argument"),
        (("calibration-size=many",), "argument --calibration-size: invalid int value: 'many'"),
    ],
)
def test_a_wrong_option_of_a_run_is_one_sentence(words, message, capsys):
    assert main(["compare", "--against", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("headprune: --against takes options of `headprune score` as OPTION=VALUE: ")
    assert message in error
    assert "\n" not in error


def test_a_run_is_needed(capsys):
    assert main(["compare"]) == 2
    assert capsys.readouterr().err == "headprune: compare needs one more run, as in --against objective=prediction\n"


@pytest.mark.parametrize("option", ["dataset", "model"])
def test_the_input_of_no_run_is_written_over(option, place, capsys):
    before = (place / "table.csv").read_bytes()
    assert main(["compare", "--against", f"{option}={place / 'table.csv'}", "--out", str(place / "table.csv")]) == 2
    assert f"which --{option} reads; choose another name" in capsys.readouterr().err
    assert (place / "table.csv").read_bytes() == before


def test_two_equal_runs_have_no_two_names(compared, capsys, place):
    words = ("compare", "--model", str(place / "model0"), "--dataset", str(place / "table.csv"), *FEW)
    assert main([*words, "--against", "entropy=A", "--against", "entropy=A"]) == 2
    assert "names must be 3 different names, one per run" in capsys.readouterr().err
