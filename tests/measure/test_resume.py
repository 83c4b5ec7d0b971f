"""Resuming after a killed process: finished work is kept, and the result is the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.assert_equal import same
from helpers.killable_job import work
from helpers.tiny_models import thorough

import headprune_core as hp

TESTS = Path(__file__).resolve().parents[1]
GROWTHS = 4  # how often the store's files have to change, after they are there, before it is killed
PATIENCE = 90  # seconds


def start(kind, folder):
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(TESTS / "helpers/killable_job.py"), kind, str(folder)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True)


def state(folder):
    """What tells whether something was written: size and time of each file."""
    found = {}
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # a journal that was there a moment ago
            continue
        found[path] = status.st_size, status.st_mtime_ns
    return found


def kill_in_the_middle(process, folder):
    """Wait until the store has grown several times, then SIGKILL."""
    before, growths, end = {}, 0, time.monotonic() + PATIENCE
    while growths <= GROWTHS:
        assert process.poll() is None, f"it ended before it could be killed, or failed: {process.stderr.read()[-2000:]}"
        assert time.monotonic() < end, f"the store changed {growths} times in {PATIENCE} seconds"
        time.sleep(0.02)
        now = state(folder)
        growths += now != before
        before = now
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["curves", pytest.param("greedy", marks=thorough)])
def test_killed_and_started_again(kind, tmp_path, runs):
    folder = tmp_path / "cache"
    folder.mkdir()
    kill_in_the_middle(start(kind, folder), folder)
    result, resumed = work(kind, hp.ResultCache(folder)), len(runs)
    uninterrupted = work(kind, None)
    assert 0 < resumed < len(runs) - resumed
    assert same(result, uninterrupted)
