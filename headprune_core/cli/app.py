"""The command `app`: start the browser app on Streamlit."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

from headprune_core.locations import app_folder


def app(arguments: Sequence[str] = ()) -> int:
    """Start the browser app; all further arguments are passed to Streamlit.

    Streamlit reads the app's .streamlit/config.toml from the folder of app.py, and options given here override it. The
    working directory stays the user's, so relative paths of models and datasets work.

    Args:
        arguments: arguments of `streamlit run`, such as --server.port 8000 or --help.

    Returns:
        Exit status: Streamlit's, or 2 if it cannot be started. On POSIX systems Streamlit replaces this process.
    """
    script = app_folder() / "app.py"
    if importlib.util.find_spec("streamlit") is None:
        print('headprune app needs Streamlit; run: pip install "headprune[app]"', file=sys.stderr)
        return 2
    if not script.is_file():
        print(f"headprune app was not found at {script}; reinstall headprune", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "streamlit", "run", str(script), *arguments]
    if os.name == "posix":  # One process: signals such as Ctrl-C and termination reach Streamlit directly.
        sys.stdout.flush()
        os.execv(command[0], command)
    return _wait(subprocess.Popen(command))


def _wait(process: subprocess.Popen) -> int:
    """Exit status of a child that receives Ctrl-C itself, since it shares the console."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
