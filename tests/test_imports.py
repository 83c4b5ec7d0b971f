"""The engine stands on its own: no web framework, and every public name is there."""

import subprocess
import sys
from pathlib import Path

import pytest

import headprune_core as hp

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_engine_imports_without_streamlit():
    code = "import sys; sys.modules['streamlit'] = None; import headprune_core; print(headprune_core.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, hp.__version__), done.stderr


def test_no_module_of_the_engine_names_streamlit():
    modules = list((ROOT / "headprune_core").rglob("*.py"))
    assert len(modules) > 15
    assert not [path.name for path in modules if "import streamlit" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", hp.__all__)
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(hp, name)
    assert thing.__doc__


def test_public_names_are_listed_once():
    assert len(set(hp.__all__)) == len(hp.__all__)
