"""Many sessions at one server, as WebSocket clients: scores for all, turns, short requests, and closed tabs.

How long it takes is measured by benchmarks/class_of_thirty.py.
"""

import time

import psutil
import pytest

from benchmarks.websocket_session import PATIENCE, WebSocketSession

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def sessions(server):
    opened = [WebSocketSession(server, "scores") for _ in range(6)]
    yield opened
    for session in opened:
        session.close()


def computes(session) -> bool:
    """Whether the progress bar of the page counts masks already, so the job has had a turn."""
    return any(text.startswith("Measuring accuracy") and " left" in text for text in session.texts())


def start_curves(session, size):
    session.open_page("accuracy")
    session.slide("Evaluation examples", size)
    session.click("Evaluate curves")


def test_all_see_scores_and_long_runs_share_the_server_with_short_requests(sessions):
    for session in sessions:
        session.wait_for(lambda session=session: session.has("bidi_component"))
        assert "Head scores" in session.texts()
    for number, session in enumerate(sessions[:4]):
        start_curves(session, 600 + number)
    asking, browsing = sessions[4:]
    asking.choose("Gnorm objective", 0)
    asking.choose("Entropy", 2)
    asking.click("Rescore heads")
    # Its place in line or its steps are on the page until it has ended, long before the curves.
    asking.wait_for(lambda: "Current options." in asking.texts() and "Idle" in asking.texts())
    assert all(any("**Evaluating curves**" in text for text in session.texts()) for session in sessions[:4])
    for path in ("alpha", "orthogonality", "prune"):
        browsing.open_page(path)
    for session in sessions[:4]:  # all of them compute
        session.wait_for(lambda session=session: computes(session))
    assert any("takes turns with" in text for text in sessions[0].texts())
    for session in sessions[:4]:
        session.click("Cancel")
        session.wait_for(lambda session=session: not session.has("progress"))
    assert not [text for session in sessions for text in session.exceptions]


def test_jobs_of_closed_tabs_stop(server):
    session = WebSocketSession(server, "scores")
    session.wait_for(lambda: session.has("bidi_component"))
    start_curves(session, 800)
    session.wait_for(lambda: any("Evaluating curves" in text for text in session.texts()))
    session.close()
    (process,) = [p for p in psutil.Process().children(recursive=True) if server.split(":")[-1].strip("/") in p.cmdline()]
    deadline = time.monotonic() + PATIENCE
    while process.cpu_percent(1.0) > 30:  # a computing job takes a whole core
        assert time.monotonic() < deadline, "the job of a closed tab still computes"
