"""The package: versions that agree, and a wheel that holds the engine, the app and the built-in model."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import headprune_core as hp

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(*names: str) -> dict[str, str]:
    """The exact versions in requirements files, by package."""
    lines = [line for name in names for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def bounds(requirements) -> dict[str, str]:
    """The lower bounds, by package."""
    found = (re.match(r"([\w.-]+)(?:>=|==)([\w.]+)", line) for line in requirements)
    return {match[1]: match[2] for match in found if match}


def same_version(a: str, b: str) -> bool:
    """1.67 and 1.67.0 are one version."""
    return re.sub(r"(\.0)+$", "", a) == re.sub(r"(\.0)+$", "", b)


@pytest.mark.parametrize("extra", [None, "app", "notebook", "onnx", "llm"])
def test_lower_bounds_are_the_versions_that_are_tested(extra):
    pinned = pins("requirements.txt", "requirements-dev.txt", "requirements-onnx.txt", "requirements-llm.txt")
    low = bounds(PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra])
    assert low
    assert {name: version for name, version in low.items() if not same_version(version, pinned[name])} == {}


def test_every_pin_is_a_dependency():
    named = bounds(PROJECT["dependencies"]) | {
        name: version
        for extra in ("app", "onnx", "llm")
        for name, version in bounds(PROJECT["optional-dependencies"][extra]).items()
    }
    assert set(pins("requirements.txt", "requirements-onnx.txt", "requirements-llm.txt")) == set(named)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_its_data(wheel):
    engine = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "headprune_core").rglob("*")
        if path.suffix in (".py", ".js", ".css", ".typed")
    }
    app = {
        f"headprune_core/_app/{path.relative_to(ROOT)}"
        for path in (ROOT / "pages").rglob("*")
        if path.suffix in (".py", ".js", ".css", ".html")
    }
    more = ["app.py", ".streamlit/config.toml", "assets/icon.svg", "assets/embedded/adapter_model.safetensors"]
    assert engine | app | {f"headprune_core/_app/{name}" for name in more} <= set(wheel)
    assert "headprune_core/py.typed" in wheel
    assert not [name for name in wheel if "__pycache__" in name or name.startswith(("tests", "pages", "app.py"))]


def test_the_wheel_has_the_command_and_the_version(wheel):
    points = next(text.decode() for name, text in wheel.items() if name.endswith("entry_points.txt"))
    assert "headprune = headprune_core.cli.main:main" in points
    metadata = next(text.decode() for name, text in wheel.items() if name.endswith("METADATA"))
    assert f"\nVersion: {hp.__version__}\n" in metadata
    assert {"app", "notebook", "onnx", "llm", "dev"} <= set(re.findall(r"^Provides-Extra: (\w+)$", metadata, re.M))
