"""Install the built wheel into a new environment outside the repository and use it as a user would.

`pip install <wheel>[app]`, then `headprune --version`, `headprune score --json` and `headprune app`, whose first page and
page of scores are opened in Chromium. Run it from an environment that has requirements-dev.txt: python .ci/check_wheel.py
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240  # for a server to answer, and for a page to show its scores, on a busy machine


def run(*command, cwd: Path) -> str:
    """Run a command outside the repository; its standard output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=900).stdout


def installed(folder: Path) -> Path:
    """The folder of scripts of a new environment that holds the wheel and its app."""
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(ROOT)], check=True)
    wheel = next(folder.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(ROOT / "requirements.txt"), f"{wheel}[app]"], cwd=folder, check=True)
    return folder / "venv/bin"


def check_commands(scripts: Path, folder: Path) -> None:
    """The console command knows its version and scores the built-in model."""
    print(run(str(scripts / "headprune"), "--version", cwd=folder).strip())
    document = json.loads(run(str(scripts / "headprune"), "score", "--json", cwd=folder))
    shapes = {name: (len(rows), len(rows[0])) for name, rows in document["scores"].items()}
    print("headprune score --json:", shapes)
    assert set(shapes.values()) == {(6, 12)}
    without = subprocess.run([str(scripts / "headprune")], cwd=folder, capture_output=True, text=True, check=False)
    assert without.returncode == 2
    assert "headprune app" in without.stdout + without.stderr


def check_app(scripts: Path, folder: Path) -> None:
    """`headprune app` serves its first page, and a page of scores, in a real browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(scripts / "headprune"), "app", "--server.headless", "true", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=folder, env=os.environ | {"HEADPRUNE_CACHE": str(folder / "cache")})
    try:
        end = time.monotonic() + SECONDS
        while not healthy(port):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
                args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
            )
            tab = browser.new_page()
            tab.goto(f"http://127.0.0.1:{port}/")
            expect(tab.get_by_role("heading", level=1, name="Model & data")).to_be_visible(timeout=1000 * SECONDS)
            tab.goto(f"http://127.0.0.1:{port}/scores")
            expect(tab.get_by_role("gridcell", name="Layer 5, head 11: HIS").first).to_be_visible(timeout=1000 * SECONDS)
            assert tab.get_by_test_id("stException").count() == 0
            assert tab.locator(
                "img[data-testid='stLogo'], [data-testid='stSidebarLogo'], [data-testid='stHeaderLogo']"
            ).count()
            browser.close()
        print("headprune app: first page and scores seen in Chromium")
    finally:
        server.terminate()
        server.wait(timeout=60)


def healthy(port: int) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="headprune-wheel-") as place:
        where = installed(Path(place))
        check_commands(where, Path(place))
        check_app(where, Path(place))
