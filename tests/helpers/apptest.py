"""The app in Streamlit's own test runner: opened on a page, and waited for while it works."""

import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds, on a machine that has other things to do; far more than anything here takes on one that has not


def opened(view="model_and_data", **link) -> AppTest:
    """The app on one page, with what a first opening loads loaded."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for name, value in link.items():
        app.query_params[name] = value
    deadline = time.monotonic() + PATIENCE
    app.run()
    while "work" not in app.session_state:
        assert time.monotonic() < deadline, f"the embedded model was not loaded within {PATIENCE} s"
        time.sleep(0.1)
        app.run()
    if view != "model_and_data":
        app.switch_page(f"pages/views/{view}.py").run()
    assert not app.exception
    return app


def finished(app: AppTest) -> AppTest:
    """The app once its running job has ended."""
    deadline = time.monotonic() + PATIENCE
    app.run()
    while "nothing" not in [line.value for line in app.sidebar.markdown]:
        assert time.monotonic() < deadline, f"the job did not end within {PATIENCE} s"
        time.sleep(0.1)
        app.run()
    assert not app.exception
    return app
