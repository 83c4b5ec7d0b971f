"""The link /uncertainty on a server that has just started: Streamlit looks for this file once, and the router answers."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
