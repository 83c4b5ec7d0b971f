"""Answers the URL /text on a server that has just started: Streamlit runs this file, and it runs the router."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
