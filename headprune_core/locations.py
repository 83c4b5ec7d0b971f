"""Location of the app's files: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """Return the folder that holds app.py, pages and assets."""
    installed = _PACKAGE / "_app"
    return installed if installed.is_dir() else _PACKAGE.parent
