"""`headprune app`: the Streamlit command that it starts, its arguments, and what it says without Streamlit."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from headprune_core.cli import app as module
from headprune_core.cli.main import main
from headprune_core.locations import app_folder

RUN = [sys.executable, "-m", "streamlit", "run", str(app_folder() / "app.py")]


@pytest.fixture
def started(monkeypatch):
    """Commands that replaced this process, which they do not."""
    commands = []
    monkeypatch.setattr(os, "name", "posix")
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append((program, command)) or sys.exit(0))
    return commands


@pytest.mark.parametrize(
    "arguments",
    [(), ("--server.port", "8000"), ("--help",), ("--server.headless=true", "--", "--json")],
)
def test_streamlit_replaces_the_process_and_gets_all_further_arguments(started, arguments):
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    assert started == [(sys.executable, [*RUN, *arguments])]


class Process:
    """A child process that Ctrl-C reaches while its parent waits."""

    def __init__(self, command):
        self.command, self.waits = command, 0

    def wait(self):
        self.waits += 1
        if self.waits == 1:
            raise KeyboardInterrupt
        return 3


def test_elsewhere_a_child_process_is_awaited_through_ctrl_c(monkeypatch):
    children = []
    monkeypatch.setattr(module.os, "name", "nt")
    monkeypatch.setattr(module.subprocess, "Popen", lambda command: children.append(Process(command)) or children[0])
    assert module.app(["--server.port", "8000"]) == 3
    assert children[0].command == [*RUN, "--server.port", "8000"]
    assert children[0].waits == 2


def test_without_streamlit_one_sentence_says_how_to_install_it(started, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name))
    assert main(["app"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == 'headprune app needs Streamlit; run: pip install "headprune[app]"\n'
    assert not started


def test_without_its_files_one_sentence_says_so(started, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(module, "app_folder", lambda: tmp_path)
    assert main(["app"]) == 2
    assert capsys.readouterr().err == f"headprune app was not found at {tmp_path / 'app.py'}; reinstall headprune\n"
    assert not started


def run(*command, cwd):
    environment = os.environ | {"PYTHONPATH": str(app_folder())}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_help_after_app_is_streamlits(tmp_path):
    ended = run(sys.executable, "-m", "headprune_core", "app", "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "--server.port" in ended.stdout


@pytest.mark.slow
def test_the_apps_own_configuration_is_read_in_any_working_directory(tmp_path):
    """Streamlit reads it from the folder of the script, which `headprune app` relies on."""
    program = (
        "import sys; from unittest import mock; from streamlit import config; from streamlit.web import bootstrap, cli\n"
        "show = lambda *_: print({name: config.get_option(name) for name in ('server.address', 'server.maxUploadSize', "
        "'server.port')})\n"
        "with mock.patch.object(bootstrap, 'run', show): cli.main(sys.argv[1:], standalone_mode=False)\n"
    )
    ended = run(sys.executable, "-c", program, "run", RUN[-1], "--server.port", "8123", cwd=tmp_path)
    expected = "{'server.address': '127.0.0.1', 'server.maxUploadSize': 20, 'server.port': 8123}"
    assert re.findall(r"\{.*\}", ended.stdout) == [expected], ended.stderr
