"""Turns at computing: order, fairness, short requests, places in line, cancellation, and several jobs of one session."""

import itertools
import random
import threading
import time
from types import SimpleNamespace

import pytest

from headprune_core import Cancelled
from pages.parts.common import turns as module
from pages.parts.common.turns import WAITING, Turns

SOON = 20.0  # seconds; far more than anything here takes


class Clock:
    """Time that passes only when a job computes, so that the order does not depend on the machine."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(module, "CHUNK_S", 1.0)  # two steps of the jobs below


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Server:
    """Jobs of `clock` seconds in threads of their own; `served` names the job of every step."""

    def __init__(self, clock):
        self.clock, self.turns, self.served, self.threads = clock, Turns(), [], []
        self.ends = {}

    def submit(self, session, name, steps, step=0.5, quick=False, then=lambda: None):
        """Start a job, which calls `then` in its last step; return when it has joined the line."""
        ticket = self.turns.ticket(session, name, quick=quick)

        def work():
            with ticket.in_use(), self.turns.hold(lambda *report: None) as progress:
                for done in range(steps):
                    self.served.append(name)
                    self.clock.now += step
                    if done == steps - 1:
                        then()
                    progress(done, steps, "computing")
            self.ends[name] = self.clock.now

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        before = ticket.joined
        thread.start()
        deadline = time.monotonic() + SOON
        while ticket.joined == before and thread.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return ticket

    def finish(self):
        for thread in self.threads:
            thread.join(SOON)
            assert not thread.is_alive()
        return [name for name, _ in itertools.groupby(self.served)]


@pytest.fixture
def server(clock):
    return Server(clock)


class Blocked:
    """Another session computes while the block fills the lines."""

    def __init__(self, turns):
        self.hold = turns.hold(lambda *report: None)

    def __enter__(self):
        self.hold.__enter__()

    def __exit__(self, *error):
        self.hold.__exit__(*error)


def test_first_come_first_served_in_chunks(server):
    with Blocked(server.turns):
        for name in "abc":
            server.submit(name, name, steps=4)  # two chunks of a second
    assert server.finish() == list("abcabc")


def test_turns_of_long_runs_differ_by_one_at_most(server):
    with Blocked(server.turns):
        for name in "abcdefgh":
            server.submit(name, name, steps=40)
    server.finish()
    counts = dict.fromkeys("abcdefgh", 0)
    for name, steps in itertools.groupby(server.served[: 8 * 38]):
        counts[name] += len(list(steps)) / 2
        assert max(counts.values()) - min(counts.values()) <= 1


def test_who_asks_again_at_once_does_not_overtake_those_who_wait(server):
    """Four sessions that ask again and again get equal turns, although one of them asks for less."""
    turns, stop = server.turns, threading.Event()
    counts = dict.fromkeys(range(4), 0)
    lead = []

    def asks(session):
        while not stop.is_set():
            with turns.ticket(session, "").in_use(), turns.hold(lambda *report: None) as progress:
                counts[session] += 1
                lead.append(max(counts.values()) - min(counts.values()))
                server.clock.now += 0.1 if session == 2 else 0.9
                progress(1, 1, "")
                if sum(counts.values()) >= 200:
                    stop.set()
                deadline = time.monotonic() + SOON
                while len(turns._waiting) < 3 and not stop.is_set():  # the others are back in line
                    assert time.monotonic() < deadline
                    time.sleep(0)

    threads = [threading.Thread(target=asks, args=(session,)) for session in range(4)]
    with Blocked(turns):
        for thread in threads:
            thread.start()
        while len(turns._waiting) < 4:
            time.sleep(0.001)
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    assert max(lead) <= 1


def test_a_short_request_waits_for_few_chunks_of_long_runs(server, clock):
    with Blocked(server.turns):
        for name in "abcdefgh":
            server.submit(name, name, steps=100)
        server.submit("z", "short", steps=3, quick=True)
    server.finish()
    # At most one chunk of a long run comes first, and one between the two chunks of the short request.
    assert server.ends["short"] <= 1.0 + 1.0 + 1.0 + 0.5


def test_long_runs_go_on_while_short_requests_keep_coming(server):
    """Three sessions ask for something short as soon as they have been served; a long run gets every other turn."""

    def ask(session, times):
        again = (lambda: ask(session, times - 1)) if times else lambda: None
        server.submit(session, "short", steps=2, quick=True, then=again)

    with Blocked(server.turns):
        server.submit("long", "long", steps=24)
        for session in range(3):
            ask(session, times=6)
    while server.turns.sessions:
        time.sleep(0.01)
    order = server.finish()[:12]
    between = [len(list(run)) for is_long, run in itertools.groupby(server.served[:24], "long".__eq__) if not is_long]
    assert order.count("long") >= 5
    assert max(between) <= 2 * 3  # the two steps of one request of each session


def test_jobs_of_one_session_share_one_place(server):
    with Blocked(server.turns):
        for name in ("a1", "a2", "a3", "b"):
            server.submit(name[0], name, steps=4)
    # a2 starts when a1 has ended, and b is not behind three jobs of a.
    assert server.finish() == ["a1", "b", "a1", "b", "a2", "a3"]


def test_a_short_job_overtakes_a_long_one_of_the_same_session(server):
    with Blocked(server.turns):
        server.submit("a", "long", steps=8)
        server.submit("a", "short", steps=2, quick=True)
    assert server.finish().index("short") <= 1


def test_place_in_line_counts_the_turns_before_one_s_own(server):
    with Blocked(server.turns):
        tickets = [server.submit(name, name, steps=2) for name in "abc"]
        assert [server.turns.ahead(ticket) for ticket in tickets] == [(1, None), (2, None), (3, None)]
        again = server.submit("a", "again", steps=2)
        assert server.turns.ahead(again) == (0, tickets[0])
        assert server.turns.sessions == 4
    server.finish()
    assert server.turns.ahead(tickets[0]) == (0, None)
    assert server.turns.sessions == 0


@pytest.mark.parametrize("seed", range(20))
def test_predicted_places_are_the_served_ones(server, seed):
    draw = random.Random(seed)
    with Blocked(server.turns):
        tickets = []
        for number in range(8):
            ticket = server.submit(number, str(number), steps=2, quick=draw.random() < 0.4)
            ticket.seconds = draw.choice([0.0, 60.0])
            tickets.append(ticket)
        places = [server.turns.ahead(ticket)[0] for ticket in tickets]
    order = server.finish()
    assert order == [str(number) for number in sorted(range(8), key=places.__getitem__)]


def test_a_waiting_job_can_be_cancelled_and_leaves_the_line():
    turns, notes = Turns(), []

    def stop(done, total, note):
        notes.append(note)
        raise Cancelled("enough")

    with turns.hold(lambda *report: None):
        with pytest.raises(Cancelled), turns.hold(stop):
            pytest.fail("it was another session's turn")
        assert turns.sessions == 1
    assert notes == [WAITING]
    with turns.hold(stop):
        assert turns.sessions == 1
    assert turns.sessions == 0


def test_a_job_cancelled_between_two_chunks_leaves_the_line(server, clock):
    turns, seen = server.turns, []

    def stop_when_waiting(done, total, note):
        seen.append(done)
        if len(seen) == 2:  # the first call reports the step, the second one comes while it waits
            raise Cancelled("enough")

    hold, ticket = threading.Event(), turns.ticket("blocker", "blocker")

    def blocker():
        with ticket.in_use(), turns.hold(lambda *report: None):
            hold.wait(SOON)

    thread = threading.Thread(target=blocker)

    def compute():
        with turns.hold(stop_when_waiting) as progress:
            thread.start()
            while not ticket.joined:
                time.sleep(0.001)
            clock.now += 2.0
            progress(5, 9, "computing")

    with pytest.raises(Cancelled):
        compute()
    assert seen == [5, 5]
    assert turns.sessions == 1
    hold.set()
    thread.join(SOON)
    assert turns.sessions == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_frees_the_turn(error):
    turns = Turns()
    with pytest.raises(error), turns.hold(lambda *report: None):
        raise error
    with turns.hold(lambda *report: None):
        assert turns.sessions == 1


def test_one_job_at_a_time_computes_under_real_threads():
    """Many threads, real time, handing over at every report: never two at once, and all end."""
    turns, inside, most, ended = Turns(), [0], [0], []

    def work(number):
        with turns.ticket(number % 7, "").in_use(), turns.hold(lambda *report: None) as progress:
            for step in range(20):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
                turns._since -= 10.0  # the chunk is over
                progress(step, 20, "")
        ended.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert (len(ended), most[0], turns.sessions) == (21, 1, 0)
