"""Files and folders that options name: no command writes over an input, or over anything but a plain file."""

import argparse
import json
import os
import socket
import stat

import pytest
from helpers.tiny_models import tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.cli.main import COMMANDS, main
from headprune_core.cli.parser import parser
from headprune_core.cli.paths import INPUT_FILES, OUTPUT_FILES, OUTPUT_FOLDERS
from headprune_core.output_files import atomic_file

(_SUBCOMMANDS,) = (action for action in parser(COMMANDS)._actions if isinstance(action, argparse._SubParsersAction))
FILE_OPTIONS = [
    (name, action.dest)
    for name, command in _SUBCOMMANDS.choices.items()
    for action in command._actions
    if action.metavar in ("FILE", "FOLDER")
]
OUTPUTS = [(name, option) for name, option in FILE_OPTIONS if option in OUTPUT_FILES]
READERS = [(name, option) for name, option in FILE_OPTIONS if option in INPUT_FILES] + [
    (name, option) for name in COMMANDS if name not in ("app", "bench", "cache") for option in ("dataset", "model")
]


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def arguments(command, option, file):
    """A command line that fails at its model at the latest; the name fits the option."""
    first = {"bench": ["scores"], "cache": []}.get(command, ["--model", "/no/such/model"])
    return [command, *first, f"--{option.replace('_', '-')}", str(file)]


def refusal(capsys, words):
    """The error of `main(words)`, one sentence on standard error."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def named(option):
    return "x.onnx" if option == "onnx" else "x"


def test_every_option_that_names_a_file_or_folder_is_checked():
    assert {option for _, option in FILE_OPTIONS} == {*OUTPUT_FILES, *OUTPUT_FOLDERS, *INPUT_FILES}
    assert {name for name, option in OUTPUTS if option == "out"} == set(COMMANDS) - {"app"}


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_no_command_writes_over_a_pipe_socket_link_or_folder(command, option, place, capsys):
    file = place / named(option)
    os.mkfifo(file)
    assert f"{file} is a pipe, not a plain file" in refusal(capsys, arguments(command, option, file))
    assert stat.S_ISFIFO(os.lstat(file).st_mode)
    file.unlink()
    (place / "target").write_text("mine")
    for target in ("target", "nothing"):
        file.symlink_to(target)
        assert f"{file} is a symbolic link, not a plain file" in refusal(capsys, arguments(command, option, file.name))
        assert file.is_symlink()
        file.unlink()
    assert (place / "target").read_text() == "mine"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(file.name)  # a relative name, because the path of a socket may have only 107 bytes
        assert f"{file} is a socket, not a plain file" in refusal(capsys, arguments(command, option, file))
    file.unlink()
    file.mkdir()
    assert "must be a file in an existing folder" in refusal(capsys, arguments(command, option, file))


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
@pytest.mark.parametrize("name", ["a\0b", "", "n" * 300, "file/x", "nowhere/x"])
def test_a_name_that_cannot_be_written_is_one_sentence(command, option, name, place, capsys):
    (place / "file").write_text("mine")
    assert refusal(capsys, arguments(command, option, name)).startswith(f"headprune: --{option} ")
    assert (place / "file").read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder in which nobody can create files")
@pytest.mark.parametrize(("command", "option"), [*OUTPUTS, ("prune", "out_folder")])
def test_a_folder_that_cannot_be_written_is_one_sentence(command, option, capsys):
    error = refusal(capsys, arguments(command, option, f"/proc/self/{named(option)}"))
    assert f"--{option.replace('_', '-')} must be in a folder that can be written: cannot write to /proc/self" in error


@pytest.mark.parametrize(("command", "reader"), READERS)
@pytest.mark.parametrize("spelling", ["t.csv", "./t.csv", "../place/t.csv", "linked/t.csv", "hard.csv", "{place}/t.csv"])
def test_no_command_writes_over_its_input(command, reader, spelling, place, capsys):
    (place / "t.csv").write_text("mine")
    (place / "linked").symlink_to(".")
    os.link(place / "t.csv", place / "hard.csv")
    spelling = spelling.format(place=place)
    for option in [option for name, option in OUTPUTS if name == command and option != "onnx"]:
        for read, written in (("t.csv", spelling), (spelling, "t.csv")):
            words = [*arguments(command, option, written), f"--{reader}", read]
            error = refusal(capsys, words)
            assert error == (
                f"headprune: --{option} must not replace {written}, which --{reader} reads; choose another name\n"
            )
    assert (place / "t.csv").read_text() == "mine"


def test_an_input_is_known_through_a_link(place, capsys):
    (place / "t.csv").write_text("mine")
    (place / "link.csv").symlink_to("t.csv")
    error = refusal(capsys, ["score", "--dataset", "link.csv", "--out", "t.csv"])
    assert "--out must not replace t.csv, which --dataset reads" in error


def test_files_in_a_folder_that_is_read_are_inputs_too(place, capsys):
    tiny("bert").save_pretrained(place / "model")
    blobs = place / "blobs"
    blobs.mkdir()
    (place / "model" / "config.json").rename(blobs / "1234")
    (place / "model" / "config.json").symlink_to(blobs / "1234")  # as in the cache of the Hub
    capsys.readouterr()  # the library's progress bar
    for reader in ("model", "dataset"):
        for file in ("model/model.safetensors", "blobs/1234"):
            error = refusal(capsys, ["score", f"--{reader}", "model", "--out", file])
            assert f"--out must not replace {file}, which --{reader} reads" in error
    assert json.loads((blobs / "1234").read_text())["model_type"] == "bert"


def test_the_result_cache_is_an_input(tmp_path, capsys):
    cache = hp.ResultCache.default()
    with cache.committing():
        cache.put("key", [1.0])
    error = refusal(capsys, ["greedy", "--out", cache.path])
    assert f"--out must not replace {cache.path}, which the result cache reads" in error
    assert cache.get(["key"])["key"] == [1.0]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (("--report", "linked/x", "--out", "x"), "--out and --report must name different files, got x for both"),
        (
            ("--onnx", "m.onnx", "--bundle", "m.onnx.data"),
            "--bundle and --onnx must name different files, got m.onnx.data for both",
        ),
        (
            ("--out-folder", "new", "--out", "new/config.json"),
            "--out must not replace a file that --out-folder writes, got new/config.json",
        ),
    ],
)
def test_two_options_do_not_write_one_file(outputs, words, place, capsys):
    (place / "linked").symlink_to(".")
    (place / "new").mkdir()
    assert words in refusal(capsys, ["prune", "--model", "/no/such/model", *outputs])


def test_a_folder_with_an_input_is_not_replaced(place, capsys):
    model = hp.prune_heads(hp.PrunableModel(tiny("bert"), tiny_tokenizer()), [[1, 0, 1, 1]] * 3)
    model.save_pretrained(place / "model")
    (place / "model" / "vocab.txt").write_text("one\ntwo\n")
    words = ["--dataset", "model/vocab.txt", "--out-folder", "model", "--overwrite"]
    error = refusal(capsys, ["prune", "--model", "/no/such/model", *words])
    assert "--out-folder must not replace model, from which --dataset reads; choose a new folder" in error
    assert (place / "model" / "vocab.txt").read_text() == "one\ntwo\n"


@pytest.mark.slow
def test_prune_replaces_the_users_own_model_only_if_told_to(place, capsys):
    tiny("bert").save_pretrained(place / "mine")
    tiny_tokenizer(model_max_length=20).save_pretrained(place / "mine")
    capsys.readouterr()  # the library's progress bar
    before = {file.name: file.read_bytes() for file in (place / "mine").iterdir()}
    (place / "t.csv").write_text("text\n" + "\n".join(f"w{i} w{i + 1}" for i in range(9)))
    words = ["prune", "--dataset", "t.csv", "--criterion", "random", "--n-random", "0", "--out-folder", "mine"]
    words += ["--calibration-size", "3", "--evaluation-size", "6"]
    assert "is the folder that the model is read from" in refusal(capsys, [*words, "--model", "mine"])
    assert "contains a model that HeadPrune did not write" in refusal(capsys, words)
    assert {file.name: file.read_bytes() for file in (place / "mine").iterdir()} == before
    assert main([*words, "--model", "mine", "--overwrite"]) == 0
    assert "Saved to mine." in capsys.readouterr().out
    assert not hp.PrunableModel.from_pretrained("mine", device="cpu").grid.kept.all()


def test_a_file_that_becomes_a_pipe_meanwhile_is_left_alone(place):
    def write():
        with atomic_file(place / "report") as new:
            new.write_text("report")
            os.mkfifo(place / "report")

    with pytest.raises(hp.HeadPruneError, match="report is a pipe, not a plain file"):
        write()
    assert stat.S_ISFIFO(os.lstat(place / "report").st_mode)
    assert [file.name for file in place.iterdir()] == ["report"]


def test_external_data_do_not_replace_a_link(place):
    (place / "mine").write_text("mine")
    (place / "m.onnx.data").symlink_to("mine")

    def write():
        with atomic_file(place / "m.onnx") as new:
            new.write_text("graph")
            (new.parent / "m.onnx.data").write_text("weights")

    with pytest.raises(hp.HeadPruneError, match=r"m\.onnx\.data is a symbolic link"):
        write()
    assert (place / "mine").read_text() == "mine"
    assert not (place / "m.onnx").exists()
