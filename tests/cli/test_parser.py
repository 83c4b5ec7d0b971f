"""The parser: overview, version, help texts, criteria, and the sentence about a missing dependency."""

import argparse
import importlib.util

import pytest

import headprune_core as hp
from headprune_core.cli.main import COMMANDS, main
from headprune_core.cli.parser import parser


def test_without_a_command_an_overview_is_printed(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: headprune ")
    assert "headprune app" in captured.err
    assert len(captured.err.splitlines()) < 40
    for name in COMMANDS:
        assert f"\n    {name} " in captured.err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"headprune {hp.__version__}\n"


def options(name):
    """The options of a command, without --help."""
    (commands,) = (action for action in parser(COMMANDS)._actions if isinstance(action, argparse._SubParsersAction))
    return [action for action in commands.choices[name]._actions if action.dest != "help"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "app"])
def test_every_option_has_a_help_text_of_its_own_with_its_default(name):
    texts = [action.help for action in options(name)]
    assert None not in texts
    assert len(set(texts)) == len(texts)
    for action in options(name):
        if action.default not in (None, False, True, []) and not isinstance(action.default, list):
            assert f"(default: {action.default})" in action.help


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("onnxruntime", 'this command needs onnxruntime, which is not installed; run: pip install "headprune[onnx]"'),
        ("gguf.reader", 'this command needs gguf, which is not installed; run: pip install "headprune[llm]"'),
        ("streamlit", 'this command needs streamlit, which is not installed; run: pip install "headprune[app]"'),
        ("sentencepiece", "the Python package sentencepiece is missing; install it with pip"),
    ],
)
def test_a_missing_dependency_is_one_sentence(capsys, monkeypatch, module, sentence):
    def missing(options):
        """Need a module that is not installed."""
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setitem(COMMANDS, "score", missing)
    assert main(["score"]) == 2
    assert capsys.readouterr().err == f"headprune: {sentence}\n"


@pytest.mark.parametrize(("module", "words"), [("onnx", "ONNX export needs onnx"), ("onnxscript", "needs onnxscript")])
def test_onnx_export_without_its_packages_names_the_extra(capsys, monkeypatch, module, words):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    assert main(["prune", "--onnx", "model.onnx"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert 'pip install "headprune[onnx]"' in error
    assert error.count("\n") == 1


def test_curves_take_every_criterion_that_scores_give_and_hies_at_any_alpha():
    usual = parser(COMMANDS).parse_args(["curves"]).methods
    assert {"his", "hies_keep_high", "random"} <= set(usual)
    assert not {"greedy_gnorm", "leave_one_out", "custom"} & set(usual)
    assert parser(COMMANDS).parse_args(["curves", "--methods", "hies@0.25", "his"]).methods == ["hies@0.25", "his"]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("magic", "unknown criterion 'magic'"),
        ("hies@7", "alpha in 'hies@7' must be between 0 and 1"),
    ],
)
def test_a_method_that_there_is_not_is_refused(capsys, method, words):
    with pytest.raises(SystemExit):
        parser(COMMANDS).parse_args(["curves", "--methods", method])
    assert words in capsys.readouterr().err
