"""A real server and a real Chromium. Without Chromium the tests are skipped with a hint on how to install it; with
HEADPRUNE_BROWSER_TESTS=required, as in CI, they fail."""

import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# The headless shell draws the same pages in two thirds of the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 120_000  # ms; until a page is drawn


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        how = "no Chromium was found; on Debian or Ubuntu run: apt-get install chromium-headless-shell"
        if os.environ.get("HEADPRUNE_BROWSER_TESTS") == "required":
            pytest.fail(how)
        pytest.skip(how)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def running_server(script="app.py"):
    """`streamlit run app.py` (or another script) on a free port with a cache of its own; yields its address."""
    with tempfile.TemporaryDirectory(prefix="headprune-") as cache, server_process(script, cache) as (address, _):
        yield address


@contextmanager
def server_process(script="app.py", cache="", **environment):
    """The same with a given folder of results; yields the address and the process."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true", "--server.port", str(port)]
    environment = os.environ | {"HEADPRUNE_CACHE": str(cache)} | environment
    silence_transformers = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, **silence_transformers)
    try:
        wait_for_server(server, f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}/", server
    finally:
        server.kill()  # terminate() would wait for the running computation
        server.wait()


def wait_for_server(server: subprocess.Popen, address: str) -> None:
    """Wait until a server answers at an address."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not _healthy(address):
        assert server.poll() is None, "the server ended before it answered"
        assert time.monotonic() < deadline, f"the server did not answer within {PATIENCE / 1000:g} s"
        time.sleep(0.1)


def free_port() -> int:
    """Return a port below the range of outgoing connections, so that none of the browser's takes it."""
    for port in random.sample(range(10_000, 30_000), 100):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port between 10000 and 30000")


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):  # not started, or started during the request
        return False


@pytest.fixture(scope="session")
def server(browser):
    with running_server() as address:
        yield address


@pytest.fixture
def tab(browser):
    """Open a new browser session, which must end without errors."""
    with opened_tab(browser) as page:
        yield page


@contextmanager
def opened_tab(browser, width=1280, color_scheme="light"):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=color_scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: _keep_error(message, errors))
    yield page
    exceptions = page.locator("[data-testid='stException']").count()
    context.close()
    assert errors == []
    assert exceptions == 0


def _keep_error(message, errors: list[str]) -> None:
    # on a deep link Streamlit's own page first asks for its health below the page's path: a 404 that means nothing
    if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
        errors.append(message.text)
