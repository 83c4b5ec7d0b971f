"""The command `app`: start the browser app on Streamlit."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from headprune_core.errors import HeadPruneError
from headprune_core.locations import app_folder

from .hosting import ALLOW_LOCAL_PATHS, DEFAULT_DEMO, DEMO, WARNED, demo_settings, server_policy


def app(arguments: Sequence[str] = ()) -> int:
    """Start the browser app; all arguments but --demo and --allow-local-paths are passed to Streamlit.

    Streamlit reads the app's .streamlit/config.toml from the folder of app.py, and options given here override it. The
    working directory stays the user's, so relative paths of models and datasets work.

    Args:
        arguments: --demo [FILE], --allow-local-paths, and arguments of `streamlit run`, such as --server.port 8000.

    Returns:
        Exit status: Streamlit's, or 2 if it cannot be started. On POSIX systems Streamlit replaces this process.

    Raises:
        HeadPruneError: if the settings of demo mode cannot be used.
    """
    script = app_folder() / "app.py"
    if importlib.util.find_spec("streamlit") is None:
        print('headprune app needs Streamlit; run: pip install "headprune[app]"', file=sys.stderr)
        return 2
    if not script.is_file():
        print(f"headprune app was not found at {script}; reinstall headprune", file=sys.stderr)
        return 2
    own, further = _split(arguments)
    if "--help" in further:
        print(_options().format_help())
    environment = os.environ | _settings(own, further)
    command = [sys.executable, "-m", "streamlit", "run", str(script), *further]
    if os.name == "posix":  # One process: signals such as Ctrl-C and termination reach Streamlit directly.
        sys.stdout.flush()
        os.execve(command[0], command, environment)
    return _wait(subprocess.Popen(command, env=environment))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "headprune app",
        usage="%(prog)s [--demo [FILE]] [--allow-local-paths] [options of streamlit run]",
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    add = parser.add_argument
    add("--demo", nargs="?", const="", metavar="FILE", help="offer only what the TOML file FILE allows (default: built in)")
    add("--allow-local-paths", action="store_true", help="let visitors open folders of this computer")
    return parser


def _split(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The app's own options, and Streamlit's; what follows -- is Streamlit's."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    try:
        own, further = _options().parse_known_args(arguments[:end])
    except argparse.ArgumentError as error:
        raise HeadPruneError(f"{error}; see headprune app --help") from error
    return own, further + arguments[end:]


def _settings(own: argparse.Namespace, further: list[str]) -> dict[str, str]:
    """Environment variables that tell the app its policy; a warning if other computers can reach it without demo mode."""
    if own.demo is not None:
        if own.allow_local_paths:
            raise HeadPruneError("--demo and --allow-local-paths exclude each other; a demo opens no local folders")
        file = Path(own.demo).resolve() if own.demo else DEFAULT_DEMO
        demo_settings(file)
        return {DEMO: str(file)}
    settings = {ALLOW_LOCAL_PATHS: "1"} if own.allow_local_paths else {}
    policy = server_policy(_address(further), (), os.environ | settings)
    if policy.exposed and not policy.demo:
        print(f"warning: {policy.notice} {policy.advice}", file=sys.stderr)
        settings[WARNED] = "1"
    return settings


def _address(arguments: list[str]) -> str:
    """The address that the arguments or the environment tell Streamlit to bind to, else that of the app's configuration."""
    address = os.environ.get("STREAMLIT_SERVER_ADDRESS", "127.0.0.1")
    for name, value in pairwise([*arguments, ""]):
        if name.startswith("--server.address"):
            address = name.partition("=")[2] or value
    return address


def _wait(process: subprocess.Popen) -> int:
    """Exit status of a child that receives Ctrl-C itself, since it shares the console."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
