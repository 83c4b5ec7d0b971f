"""The file of the result cache: size limit, locks, full disks, replacement, and several caches and processes on one file."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import headprune_core as hp
from headprune_core import result_cache, result_file

TESTS = Path(__file__).parent
LIMIT = 400_000
VALUE = np.arange(120.0)  # 960 bytes


@pytest.fixture
def cache(tmp_path):
    return hp.ResultCache(tmp_path, max_bytes=LIMIT)


@pytest.fixture
def at_once(monkeypatch):
    """Failed operations are tried again at once, and nothing waits for a lock."""
    monkeypatch.setattr(result_cache, "RETRY_S", 0)
    monkeypatch.setattr(result_cache, "READ_TIMEOUT_S", 0)
    monkeypatch.setattr(result_cache, "WRITE_TIMEOUT_S", 0)


def keep(cache, *names):
    with cache.committing():
        for name in names:
            cache.put(name, VALUE + len(name))


def kept(folder, *names):
    """Which of the names a new cache finds; each with the right value."""
    found = hp.ResultCache(folder).get(names)
    for name, value in found.items():
        np.testing.assert_array_equal(value, VALUE + len(name))
    return [name for name in names if name in found]


def batch(label, count):
    return [f"{label} {number}" for number in range(count)]


@contextmanager
def noted():
    """The messages of the warnings in the block."""
    messages = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    assert {warning.category for warning in caught} <= {hp.HeadPruneWarning}
    messages += [str(warning.message) for warning in caught]


@pytest.mark.slow
def test_beyond_the_limit_the_oldest_results_are_dropped_while_running(cache, tmp_path):
    for start in range(0, 1000, 50):
        keep(cache, *batch("x", start + 50)[start:])
        assert cache.path.stat().st_size <= 1.05 * LIMIT
    names = batch("x", 1000)
    left = kept(tmp_path, *names)
    assert left == names[-len(left) :]
    assert len(left) * VALUE.nbytes > 0.8 * LIMIT


def test_no_more_results_are_dropped_than_needed(cache, tmp_path):
    keep(cache, *batch("old", 330))
    size = cache.usage().n_bytes
    assert size < LIMIT < size * 1.1
    keep(cache, *batch("new", 50))
    assert len(kept(tmp_path, *batch("old", 330))) >= 275
    assert kept(tmp_path, *batch("new", 50)) == batch("new", 50)


@pytest.mark.parametrize("length", [8, 95, 120, 260, 600])  # also rows that fill a page badly
def test_a_smaller_limit_drops_no_more_than_needed(tmp_path, length):
    large, small = hp.ResultCache(tmp_path), hp.ResultCache(tmp_path, max_bytes=2**17)
    with large.committing():
        for number in range(400_000 // length // 8):
            large.put(f"{number:040d}", np.zeros(length))
    keep(small, "new")
    database = sqlite3.connect(small.path)
    with closing(database):
        assert 0.85 * 2**17 < result_file.used_bytes(database) <= 2**17
    assert kept(tmp_path, "new") == ["new"]
    assert small.usage().n_bytes <= 1.05 * 2**17


def test_a_start_of_another_process_deletes_nothing(cache, tmp_path):
    names = batch("x", 300)
    keep(cache, *names)
    small = hp.ResultCache(tmp_path, max_bytes=2**16)  # finds a file beyond its limit
    assert len(small.get(names)) == 300
    keep(cache, "later")
    assert kept(tmp_path, *names, "later") == [*names, "later"]


def test_used_results_count_as_new(cache, tmp_path):
    names = batch("x", 300)
    keep(cache, *names)
    cache.get(names[:100])
    keep(cache, *batch("y", 150))
    left = kept(tmp_path, *names)
    assert left[:100] == names[:100]
    assert len(left) < 250


def test_used_results_of_a_small_file_are_not_written_again(cache, tmp_path):
    keep(cache, *batch("x", 20))
    before = cache.path.stat().st_mtime_ns
    cache.get(batch("x", 20))
    with cache.committing():
        pass
    assert cache.path.stat().st_mtime_ns == before


def test_a_limit_without_space_for_results_is_refused(tmp_path):
    with pytest.raises(hp.HeadPruneError, match="max_bytes must be at least 65536, got 1000"):
        hp.ResultCache(tmp_path, max_bytes=1000)


@pytest.mark.slow
def test_two_processes_beyond_the_limit_lose_nothing_new(cache, tmp_path):
    """Both write, in 20 commits, 200 kB into a file that is full of older results."""
    old = batch("old", 340)
    keep(cache, *old)
    code = (
        "import sys; from test_result_file import *\n"
        "cache = hp.ResultCache(sys.argv[1], max_bytes=LIMIT)\nprint('ready', flush=True); input()\n"
        "for start in range(0, 100, 10): keep(cache, *batch('second', 100)[start : start + 10])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        for start in range(0, 100, 10):
            keep(cache, *batch("first", 100)[start : start + 10])
        other.communicate(timeout=60)
    assert other.returncode == 0
    assert kept(tmp_path, *batch("first", 100), *batch("second", 100)) == batch("first", 100) + batch("second", 100)
    left = kept(tmp_path, *old)
    assert 100 < len(left) < 200
    assert left == old[-len(left) :]
    assert cache.path.stat().st_size <= 1.05 * LIMIT
    assert integrity(cache.path) == "ok"


def integrity(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("PRAGMA integrity_check").fetchone()[0]


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_lock_stops_writing_for_a_while_and_look_ups_never(at_once, tmp_path, lock):
    cache = hp.ResultCache(tmp_path)
    keep(cache, "before")
    with closing(sqlite3.connect(cache.path)) as holder:
        holder.execute(lock)
        with noted() as messages:
            keep(cache, "first")
            keep(cache, "second")
        assert kept(tmp_path, "before", "first") == ["before"]  # another cache, so nothing in memory
        assert {*cache.get(["before", "first", "second"])} == {"before", "first", "second"}
    (message,) = messages
    assert "database is locked" in message
    assert cache.notice == message
    keep(cache, "after")
    assert kept(tmp_path, "before", "first", "second", "after") == ["before", "first", "second", "after"]
    assert cache.notice == ""


def test_after_a_failure_writing_waits(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(result_cache, "RETRY_S", 1000)
    cache = hp.ResultCache(tmp_path)
    keep(cache, "before")
    with closing(sqlite3.connect(cache.path)) as holder, noted():
        holder.execute("BEGIN IMMEDIATE")
        keep(cache, "first")
    keep(cache, "second")
    assert kept(tmp_path, "before", "first", "second") == ["before"]
    cache._retry_at = 0
    keep(cache, "third")
    assert kept(tmp_path, "first", "second", "third") == ["first", "second", "third"]


def test_results_that_wait_in_memory_are_limited(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(result_cache, "MAX_PENDING_BYTES", 10 * VALUE.nbytes)
    cache = hp.ResultCache(tmp_path)
    keep(cache, "before")
    with closing(sqlite3.connect(cache.path)) as holder, noted():
        holder.execute("BEGIN IMMEDIATE")
        for name in batch("x", 30):
            keep(cache, name)
        assert [*cache.get(batch("x", 30))] == batch("x", 30)[-10:]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="there is no file size limit here")
def test_a_full_disk_stops_writing_until_there_is_space(at_once, tmp_path):
    cache = hp.ResultCache(tmp_path)
    keep(cache, *batch("before", 50))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (cache.path.stat().st_size, limits[1]))
    try:
        with noted() as messages:
            for name in batch("full", 20):
                keep(cache, name)
        assert kept(tmp_path, *batch("before", 50)) == batch("before", 50)
        assert len(messages) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    keep(cache, "after")
    assert kept(tmp_path, *batch("full", 20), "after") == [*batch("full", 20), "after"]
    assert integrity(cache.path) == "ok"


def test_results_that_wait_are_written_as_far_as_they_fit(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(result_cache, "WRITE_BYTES", 10 * VALUE.nbytes)
    cache = hp.ResultCache(tmp_path)
    write, calls = cache._writer.write, []

    def full(rows, limit):
        calls.append(len(rows))
        if len(calls) == 4:
            raise sqlite3.OperationalError("database or disk is full")
        write(rows, limit)

    monkeypatch.setattr(cache._writer, "write", full)
    with noted() as messages:
        keep(cache, *batch("x", 35))
    assert len(messages) == 1
    assert kept(tmp_path, *batch("x", 35)) == batch("x", 30)
    keep(cache, "y")
    assert calls == [10, 10, 10, 5, 6]
    assert kept(tmp_path, *batch("x", 35), "y") == [*batch("x", 35), "y"]


def spoil(path):
    with path.open("r+b") as file:
        file.write(b"It was a dark and stormy night.\n" * 200)


def test_a_damaged_file_is_reported_where_a_page_can_show_it(cache, tmp_path):
    keep(cache, "lost")
    spoil(cache.path)
    late = hp.ResultCache(tmp_path)
    with noted() as messages:
        assert late.get(["lost"]) == {}
    (message,) = messages
    assert message == late.notice
    assert message == (
        f"the results file {tmp_path / 'results.sqlite'} is damaged, or HeadPrune did not write it; its results are "
        "computed again and stored in results-2.sqlite"
    )
    keep(late, "new")
    assert kept(tmp_path, "lost", "new") == ["new"]
    assert late.path == tmp_path / "results-2.sqlite"


def test_damage_under_two_caches_loses_nothing_that_the_first_stores_afterwards(cache, tmp_path):
    second = hp.ResultCache(tmp_path)
    keep(cache, *batch("old", 40))
    keep(second, "old")
    spoil(cache.path)
    with noted() as messages:
        keep(cache, "first")
        keep(second, "second")
        keep(cache, "third")
    assert len(messages) == 1
    assert kept(tmp_path, "first", "second", "third") == ["first", "second", "third"]
    assert integrity(cache.path) == "ok"


def test_a_foreign_database_is_left_alone(cache, tmp_path):
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as database, database:
        database.execute("CREATE TABLE mine (something TEXT)")
    content = (tmp_path / "results.sqlite").read_bytes()
    with noted() as messages:
        keep(cache, "x")
    assert len(messages) == 1
    assert kept(tmp_path, "x") == ["x"]
    assert (tmp_path / "results.sqlite").read_bytes() == content


def test_a_file_that_is_deleted_while_open_is_created_again(cache, tmp_path):
    keep(cache, "before")
    cache.path.unlink()
    keep(cache, "after")
    assert kept(tmp_path, "before", "after") == ["after"]


def test_clear_beside_an_open_cache(cache, tmp_path):
    keep(cache, *batch("x", 200))
    other = hp.ResultCache(tmp_path)
    assert other.usage().n_results == 200
    assert other.clear() == 200
    assert other.usage()[1:3] == (0, cache.path.stat().st_size)
    assert cache.path.stat().st_size < 2**15
    assert cache.get(batch("x", 200)) == {}
    keep(cache, "later")
    assert other.get(["later"])
    assert hp.ResultCache(tmp_path / "none").clear() == 0
    assert not (tmp_path / "none").exists()


def test_clear_says_that_the_file_is_locked(at_once, tmp_path):
    cache = hp.ResultCache(tmp_path)
    keep(cache, "x")
    with closing(sqlite3.connect(cache.path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            hp.HeadPruneError, match=r"cannot clear the result cache in .* \(database is locked\); close other"
        ):
            cache.clear()
    assert kept(tmp_path, "x") == ["x"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_process_leaves_its_parents_transaction_alone(tmp_path):
    file = result_file.ResultFile(tmp_path, 1, print)
    file.write([], 2**20)
    parent = file._connection
    file._identity = (0, *file._identity[1:])  # as in a child process
    file.write([("a", "1", b"12345678", 0)], 2**20)
    assert file._connection is not parent
    parent.execute("SELECT 1")  # still open
