"""Servers killed in the middle of jobs, and two servers on one store beyond its size limit: what is stored afterwards."""

import os
import signal
import sqlite3
import time

import numpy as np
import pytest
from helpers.tiny_models import thorough

from benchmarks.websocket_session import PATIENCE, WebSocketSession
from headprune_core import ResultCache
from headprune_core.result_cache import MAX_BYTES
from tests.browser.conftest import server_process

pytestmark = [pytest.mark.browser, pytest.mark.slow, thorough]


def opened(url):
    session = WebSocketSession(url, "scores")
    session.wait_for(lambda: session.has("bidi_component"))
    return session


def start_runs(session):
    """Curves and Greedy-Gnorm, as two jobs of one session."""
    start_curves(session)
    start_greedy(session)


def start_curves(session):
    session.open_page("accuracy")
    session.slide("Evaluation examples", 8)
    session.slide("Random rankings", 1)
    session.click("Evaluate curves")


def start_greedy(session):
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


def fill(cache):
    """Old results up to almost the size limit."""
    number = 0
    while (room := MAX_BYTES - cache.usage().n_bytes) > 50_000:
        with cache.committing():
            cache.put(f"old {number}", np.ones(min(2**20, room // 16)))
        number += 1


def test_two_servers_pass_the_size_limit_of_one_store_and_lose_nothing_new(tmp_path):
    """Old results fill the store; each server adds those of another run, as one server alone does."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    with server_process(cache=alone) as (url, _):
        session = opened(url)
        start_runs(session)
        ended(session)
        session.close()
    fill(ResultCache(shared))
    before = set(keys(shared))
    with server_process(cache=shared) as (first, _), server_process(cache=shared) as (second, _):
        sessions = [opened(first), opened(second)]
        for session, start in zip(sessions, (start_curves, start_greedy), strict=True):
            start(session)
        for session in sessions:
            ended(session)
            session.close()
    assert before - set(keys(shared))  # the limit was passed
    expected, found = stored(alone), stored(shared)
    assert not [key for key in expected if found[key].tobytes() != expected[key].tobytes()]
