"""Helpers for Streamlit's AppTest: open the app on a page, and wait for its jobs."""

import functools
import threading
import time
from pathlib import Path

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

from pages.parts.common.server_cache import shared

# A server looks for components and compiles its scripts once; AppTest would do so for every app, and at every run.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
app_test.ScriptCache = local_script_runner.ScriptCache = functools.cache(local_script_runner.ScriptCache)

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds; far more than needed on an idle machine


def opened(view="model_and_data", **link) -> AppTest:
    """Open the app on one page and wait until the built-in model is loaded.

    `link` holds URL parameters; `app.link_toasts` are the messages about those that cannot be used.
    """
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for name, value in link.items():
        app.query_params[name] = value
    deadline = time.monotonic() + PATIENCE
    app.run()
    app.link_toasts = [toast.value for toast in app.toast]
    while "work" not in app.session_state:
        assert time.monotonic() < deadline, f"the built-in model was not loaded within {PATIENCE} s"
        time.sleep(0.1)
        app.run()
    if view != "model_and_data":
        app.switch_page(f"pages/views/{view}.py").run()
    assert not app.exception
    return app


def finished(app: AppTest) -> AppTest:
    """Wait until the running job has ended and return the app."""
    deadline = time.monotonic() + PATIENCE
    app.run()
    while "Idle" not in [line.value for line in app.sidebar.markdown]:
        assert time.monotonic() < deadline, f"the job did not end within {PATIENCE} s"
        for thread in threading.enumerate():
            if thread.name.startswith("job "):
                thread.join(1)  # drawing the page meanwhile would take the processor from the job
        app.run()
    assert not app.exception
    return app


def forget_inspections() -> None:
    """Drop the traits and distances that other tests of this process have computed; pages would show them at once."""
    for known in (shared().traits, shared().distances):
        known._values.clear()


def said(elements) -> str:
    """The texts of elements as Markdown shows them, without escapes."""
    return " ".join(element.value for element in elements).replace("\\", "").replace("\N{WORD JOINER}", "")
