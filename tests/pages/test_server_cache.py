"""The cache that sessions share: values are computed once and kept a while, and waiting can be cancelled."""

import threading
import time

import pytest

from headprune_core import Cancelled
from pages.parts.common.server_cache import LRUCache, hold_lock


def silent(done, total, note):
    pass


def test_sessions_that_ask_at_once_get_the_same_value_made_once():
    shelf, made = LRUCache(2), []

    def make():
        time.sleep(0.1)
        made.append(object())
        return made[-1]

    got = []
    threads = [threading.Thread(target=lambda: got.append(shelf.get("key", make, silent))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(value is made[0] for value in got)


def test_the_value_not_asked_for_longest_goes_first():
    shelf, made = LRUCache(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        shelf.get(key, lambda key=key: made.append(key), silent)
    assert made == ["a", "b", "c", "b"]


def test_a_failure_is_not_kept():
    shelf = LRUCache(2)
    with pytest.raises(ZeroDivisionError):
        shelf.get("key", lambda: 1 / 0, silent)
    assert shelf.get("key", lambda: 7, silent) == 7


def test_waiting_for_a_turn_is_told_and_can_be_cancelled():
    turn, notes = threading.Lock(), []

    def cancel_when_told(done, total, note):
        notes.append(note)
        raise Cancelled

    with turn, pytest.raises(Cancelled), hold_lock(turn, cancel_when_told):
        pytest.fail("the turn was another session's")
    assert notes == ["Waiting for another session's job to finish"]
    with hold_lock(turn, cancel_when_told):
        assert turn.locked()
    assert not turn.locked()


def test_a_look_makes_nothing_and_finds_what_is_there():
    shelf = LRUCache(2)
    assert shelf.peek("key") is None
    shelf.get("key", lambda: 7, silent)
    assert shelf.peek("key") == 7
