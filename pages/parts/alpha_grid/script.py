"""JavaScript modules as the one script that Streamlit takes."""

import re
from collections.abc import Iterable
from pathlib import Path


def joined(files: Iterable[Path]) -> str:
    """Join files without indentation and lines of comments, because Streamlit sends a script again at every rerun."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r"(?m)^\s*(?://.*\n|/\*\*[\s\S]*?\*/\n)?\s*", "", text)
