"""Turns at computing: one job of a server computes at a time, in chunks, and the sessions take turns by chunk.

Jobs are served first come, first served, and join the end of the line after every chunk. A quick job (loading and scoring)
overtakes the others until it has computed for `QUICK_S`, but only every other turn: it waits for few chunks, and a long run
never stops. The quick jobs of a session hold one place in line, and so do its others: the oldest job computes.
"""

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CHUNK_S = 0.5  # seconds after which a job hands over at its next progress report; reports are at most a second apart
QUICK_S = 10.0  # seconds of computing for which a quick job may overtake others
WAIT_S = 0.2  # seconds between two checks of a waiting job for cancellation
WAITING = "Waiting for a turn"  # the step of a job before its first turn

Progress = Callable[[int, int, str], None]
_current: ContextVar["Ticket | None"] = ContextVar("ticket", default=None)


class Ticket:
    """The place of one job in line.

    Args:
        session: The owner of the job.
        name: Name of the job.
        number: Order of arrival.
        quick: Whether the job is of a kind that may overtake others.

    Attributes:
        seconds: Computing time in turns so far.
        chunks: Number of turns so far.
    """

    def __init__(self, session: Hashable, name: str, number: int, quick: bool):
        self.session, self.name, self.number, self._quick = session, name, number, quick
        self.seconds, self.chunks = 0.0, 0
        self.joined = 0  # order in line since the last chunk
        self._created, self._waited, self._waits_since = time.monotonic(), 0.0, None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Compute with this ticket in this thread: `Turns.hold` waits in its place."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @property
    def spent(self) -> float:
        """Seconds since the ticket was made, without those in line."""
        return (self._waits_since or time.monotonic()) - self._created - self._waited

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """Wait in this block."""
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - self._waits_since
            self._waits_since = None

    @property
    def quick(self) -> bool:
        """Whether the job may overtake others now."""
        return self._quick and self.seconds < QUICK_S


class Turns:
    """Hands the right to compute from one session to the next."""

    def __init__(self):
        self._changed = threading.Condition()
        self._order = itertools.count()
        self._waiting: list[Ticket] = []
        self._holder: Ticket | None = None
        self._since = 0.0
        self._overtook = False  # whether the last turn was given out of order

    def ticket(self, session: Hashable, name: str, *, quick: bool = False) -> Ticket:
        """Return a ticket for a new job; see `Ticket`."""
        return Ticket(session, name, next(self._order), quick)

    @contextmanager
    def hold(self, progress: Progress) -> Iterator[Progress]:
        """Compute in this block, with interruptions: other sessions compute while the yielded callback is called.

        Args:
            progress: Progress callback of the job; an exception that it raises, also while waiting, ends the block.

        Yields:
            The progress callback to use in the block.
        """
        ticket, last = _current.get() or self.ticket(object(), ""), (0, 1, WAITING)

        def report(done: int, total: int, note: str) -> None:
            nonlocal last
            last = done, total, note
            progress(*last)
            if time.monotonic() - self._since >= CHUNK_S and self._hand_over(ticket):
                self._wait(ticket, lambda: progress(*last))

        try:
            with self._changed:
                self._join(ticket)
            self._wait(ticket, lambda: progress(*last))
            yield report
        finally:
            self._leave(ticket)

    def ahead(self, ticket: Ticket) -> tuple[int, Ticket | None]:
        """Return what a waiting job waits for.

        Returns:
            The number of turns before its own, the current one included, and the session's own job that has to end before
            it gets a turn, or None. (0, None) if the job does not wait.
        """
        with self._changed:
            if ticket not in self._waiting:
                return 0, None
            blocker = self._blocker(ticket, self._waiting + ([self._holder] if self._holder else []))
            if blocker is not None:
                return 0, blocker
            waiting, overtook, turns = list(self._waiting), self._overtook, int(self._holder is not None)
            while True:
                chosen, overtook = self._next(waiting, overtook)
                if chosen is ticket:
                    return turns, None
                waiting.remove(chosen)
                turns += 1

    @property
    def sessions(self) -> int:
        """Number of sessions that compute or wait."""
        with self._changed:
            active = self._waiting + ([self._holder] if self._holder else [])
            return len({ticket.session for ticket in active})

    def _join(self, ticket: Ticket) -> None:
        ticket.joined = next(self._order)
        self._waiting.append(ticket)
        if self._holder is None:
            self._grant()

    def _hand_over(self, ticket: Ticket) -> bool:
        """End the chunk and join the line again; True if another job is served now."""
        with self._changed:
            self._end_chunk(ticket)
            self._join(ticket)
            return self._holder is not ticket

    def _leave(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if self._holder is ticket:
                self._end_chunk(ticket)
                self._grant()

    def _end_chunk(self, ticket: Ticket) -> None:
        ticket.seconds += time.monotonic() - self._since
        ticket.chunks += 1
        self._holder = None

    def _wait(self, ticket: Ticket, check: Callable[[], None]) -> None:
        """Wait for the turn; `check` is called again and again and may raise."""
        with ticket.in_line():
            while True:
                with self._changed:
                    if self._changed.wait_for(lambda: self._holder is ticket, WAIT_S):
                        return
                check()

    def _grant(self) -> None:
        self._holder, self._overtook = self._next(self._waiting, self._overtook)
        if self._holder is not None:
            self._waiting.remove(self._holder)
            self._since = time.monotonic()
            self._changed.notify_all()

    def _next(self, waiting: list[Ticket], overtook: bool) -> tuple[Ticket | None, bool]:
        """The next to compute, and whether it overtakes: the first to join, or every other turn the first quick one."""
        able = [ticket for ticket in waiting if self._blocker(ticket, waiting) is None]
        able.sort(key=lambda ticket: ticket.joined)
        first = next(iter(able), None)
        chosen = first if overtook else next((ticket for ticket in able if ticket.quick), first)
        return chosen, chosen is not first

    @staticmethod
    def _blocker(ticket: Ticket, active: list[Ticket]) -> Ticket | None:
        """The oldest earlier job of the same session that is quick or not like this one, if there is one."""
        mine = [t for t in active if t.session == ticket.session and t.quick is ticket.quick and t.number < ticket.number]
        return min(mine, key=lambda t: t.number, default=None)
