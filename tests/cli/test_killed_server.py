"""A server that is killed in the middle of jobs: its stored results are used again to the last bit, and nothing is left."""

import os
import signal
import sqlite3
import time

import numpy as np
import pytest
from helpers.tiny_models import thorough

from benchmarks.websocket_session import PATIENCE, WebSocketSession
from headprune_core import ResultCache
from tests.browser.conftest import server_process

pytestmark = [pytest.mark.browser, pytest.mark.slow, thorough]


def opened(url):
    session = WebSocketSession(url, "scores")
    session.wait_for(lambda: session.has("plotly_chart"))
    return session


def start_runs(session):
    """Curves and Greedy-Gnorm, as two jobs of one session."""
    session.open_page("accuracy")
    session.slide("Evaluation examples", 8)
    session.slide("Random rankings", 1)
    session.click("Evaluate curves")
    session.open_page("greedy")
    session.slide("Heads per step", 3)
    session.slide("Evaluation examples", 8)
    session.click("Run Greedy-Gnorm")


def ended(session):
    session.wait_for(lambda: not session.has("progress"), 4 * PATIENCE)
    assert not session.exceptions


def stored(folder) -> dict[str, np.ndarray]:
    return ResultCache(folder).get(keys(folder))


def keys(folder) -> list[str]:
    with sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True) as file:
        return [key for (key,) in file.execute("SELECT key FROM results")]


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_runs_of_a_killed_server_go_on_to_the_same_results(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with server_process(cache=whole) as (url, _):
        session = opened(url)
        start_runs(session)
        ended(session)
        session.close()
    with server_process(cache=cut) as (url, process):
        session = opened(url)
        start_runs(session)
        deadline = time.monotonic() + PATIENCE
        while not (cut / "results.sqlite").exists() or len(keys(cut)) < 20:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        kill(process)
    kept = stored(cut)
    assert 20 <= len(kept) < len(keys(whole))
    with server_process(cache=cut) as (url, _):
        session = opened(url)
        start_runs(session)
        ended(session)
        session.close()
    expected, found = stored(whole), stored(cut)
    assert found.keys() == expected.keys()
    different = [key for key in expected if found[key].tobytes() != expected[key].tobytes()]
    assert not different
    assert not [key for key in kept if found[key].tobytes() != kept[key].tobytes()]


@pytest.mark.parametrize("job", ["Fine-tune", "Build zip"])
def test_a_server_killed_while_it_writes_leaves_nothing_after_the_next_start(tmp_path, job):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with server_process(cache=tmp_path / "cache", TMPDIR=str(temporary)) as (url, process):
        session = opened(url)
        session.open_page("prune")
        session.slide("Evaluation examples", 8)
        session.click("Prune model")
        ended(session)
        session.click(job)
        session.wait_for(lambda: session.has("progress"))
        assert list(temporary.iterdir())  # the pruned model of the session
        kill(process)
    assert list(temporary.iterdir())
    with server_process(cache=tmp_path / "cache", TMPDIR=str(temporary)) as (url, _):
        session = opened(url)
        left = [path.name for path in temporary.iterdir() if "headprune" in path.name]
        session.close()
    assert left == []
