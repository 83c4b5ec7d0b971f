"""The app in Streamlit's own test runner: opened on a page, and waited for while it works."""

import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent


def opened(view="model_and_text", **link) -> AppTest:
    """The app on one page, with what a first opening loads loaded."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    deadline = time.monotonic() + 60
    app.run()
    while "work" not in app.session_state:
        assert time.monotonic() < deadline, "the embedded model was not loaded within 60 s"
        time.sleep(0.2)
        app.run()
    if view != "model_and_text":
        app.switch_page(f"pages/views/{view}.py").run()
    assert not app.exception
    return app


def finished(app: AppTest) -> AppTest:
    """The app once its running job has ended."""
    deadline = time.monotonic() + 120
    app.run()
    while "nothing" not in [line.value for line in app.sidebar.markdown]:
        assert time.monotonic() < deadline, "the job did not end within 120 s"
        time.sleep(0.2)
        app.run()
    assert not app.exception
    return app
