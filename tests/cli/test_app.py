"""`headprune app`: the Streamlit command that it starts, its arguments, and what it says without Streamlit."""

import importlib.util
import os
import subprocess
import sys

import pytest

from headprune_core.cli import app as module
from headprune_core.cli.hosting import DEFAULT_DEMO
from headprune_core.cli.main import main
from headprune_core.locations import app_folder

RUN = [sys.executable, "-m", "streamlit", "run", str(app_folder() / "app.py")]


@pytest.fixture
def started(monkeypatch):
    """Commands that replaced this process, which they do not."""
    commands = []
    monkeypatch.setattr(os, "name", "posix")
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"]})

    def replace_process(program, command, environment):
        commands.append(
            (program, command, {name: value for name, value in environment.items() if name.startswith("HEADPRUNE")})
        )
        sys.exit(0)

    monkeypatch.setattr(os, "execve", replace_process)
    return commands


@pytest.mark.parametrize(
    "arguments",
    [(), ("--server.port", "8000"), ("--help",), ("--server.headless=true", "--", "--json")],
)
def test_streamlit_replaces_the_process_and_gets_all_further_arguments(started, arguments):
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    assert started == [(sys.executable, [*RUN, *arguments], {})]


@pytest.mark.parametrize(
    ("arguments", "streamlits", "settings"),
    [
        (["--demo"], [], {"HEADPRUNE_DEMO": str(DEFAULT_DEMO)}),
        (["--demo", "--server.port", "1"], ["--server.port", "1"], {"HEADPRUNE_DEMO": str(DEFAULT_DEMO)}),
        (["--server.port=1", "--demo", str(DEFAULT_DEMO)], ["--server.port=1"], {"HEADPRUNE_DEMO": str(DEFAULT_DEMO)}),
        (["--allow-local-paths"], [], {"HEADPRUNE_ALLOW_LOCAL_PATHS": "1"}),
        (["--", "--demo"], ["--", "--demo"], {}),
    ],
)
def test_the_policy_travels_in_the_environment(started, capsys, arguments, streamlits, settings):
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    assert started == [(sys.executable, [*RUN, *streamlits], settings)]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--demo", "nowhere.toml"], "cannot be read"),
        (["--demo", "--allow-local-paths"], "exclude each other"),
        (["--allow-local-paths=no"], "ignored explicit argument"),
    ],
)
def test_wrong_options_are_one_sentence(started, capsys, arguments, problem):
    assert main(["app", *arguments]) == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert printed.startswith("headprune: ")
    assert printed.count("\n") == 1
    assert not started


@pytest.mark.parametrize(
    ("arguments", "environment", "folders"),
    [
        (["--server.address", "0.0.0.0"], {}, False),
        (["--server.address=192.168.1.7"], {}, False),
        (["--server.address", "::", "--allow-local-paths"], {}, True),
        ([], {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}, False),
    ],
)
def test_a_server_for_other_computers_says_what_visitors_can_do(started, capsys, arguments, environment, folders):
    os.environ.update(environment)
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    printed = capsys.readouterr().err
    assert "Visitors can" in printed
    assert "--demo" in printed
    assert ("open any folder" in printed) == folders
    assert started[0][2]["HEADPRUNE_WARNED"] == "1"


@pytest.mark.parametrize("arguments", [["--server.address", "127.0.0.1"], ["--server.address=::1"], []])
def test_a_server_for_this_computer_says_nothing(started, capsys, arguments):
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    assert capsys.readouterr().err == ""


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
    monkeypatch.setattr(module.subprocess, "Popen", lambda command, env: children.append(Process(command)) or children[0])
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
def test_help_after_app_holds_streamlits(tmp_path):
    ended = run(sys.executable, "-m", "headprune_core", "app", "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "--server.port" in ended.stdout
    assert "--demo [FILE]" in ended.stdout


@pytest.mark.slow
def test_the_apps_own_configuration_is_read_in_any_working_directory(tmp_path):
    """Streamlit reads it from the folder of the script, which `headprune app` relies on."""
    program = (
        "import sys; from unittest import mock; from streamlit import config; from streamlit.web import bootstrap, cli\n"
        "names = ('server.address', 'server.allowedHosts', 'server.maxUploadSize', 'server.port')\n"
        "show = lambda *_: print([config.get_option(name) for name in names])\n"
        "with mock.patch.object(bootstrap, 'run', show): cli.main(sys.argv[1:], standalone_mode=False)\n"
    )
    ended = run(sys.executable, "-c", program, "run", RUN[-1], "--server.port", "8123", cwd=tmp_path)
    assert "['127.0.0.1', ['localhost', '127.0.0.1', '::1'], 20, 8123]" in ended.stdout, ended.stderr
