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
_idle_tabs = []


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
    """Open a browser session, which must end without errors, in a tab that an earlier one has left if there is one.

    A new tab loads and compiles Streamlit's code again, which takes more time than most tests. A test that changes the tab
    itself, such as its network, takes a `new_tab`.
    """
    tab = _idle_tabs.pop() if _idle_tabs else browser.new_context().new_page()
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=color_scheme, media="null")
    with _without_errors(tab):
        yield tab
        tab.evaluate("() => { try { localStorage.clear(); sessionStorage.clear() } catch {} }")  # a file has none
    tab.goto("about:blank")  # ends the session of Streamlit
    tab.context.clear_cookies()
    _idle_tabs.append(tab)


@contextmanager
def new_tab(browser, width=1280, color_scheme="light"):
    """Open a browser session in a tab of its own, which must end without errors."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=color_scheme)
    tab = context.new_page()
    with _without_errors(tab):
        yield tab
    context.close()


@contextmanager
def _without_errors(tab):
    tab.set_default_timeout(PATIENCE)
    errors: list[str] = []
    listeners = {
        "pageerror": lambda error: errors.append(str(error)),
        "console": lambda message: _keep_error(message, errors),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    yield
    exceptions = tab.locator("[data-testid='stException']").count()
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert errors == []
    assert exceptions == 0


def _keep_error(message, errors: list[str]) -> None:
    # on a deep link Streamlit's own page first asks for its health below the page's path: a 404 that means nothing
    if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
        errors.append(message.text)
