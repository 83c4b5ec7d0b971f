"""Long work beside an interface: one worker thread, progress that can be read at any time, and cancelling.

A job is a function that takes a `progress` callback and returns a result; core functions take just that callback. What
the function raises is kept for whoever asks; nothing here knows what draws the progress bar.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled, HeadPruneError


@dataclass(frozen=True)
class Snapshot:
    """Where a job stands. seconds_left is None until it can be told."""

    done: int
    total: int
    note: str
    seconds: float
    seconds_left: float | None

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0


class Job:
    """One piece of long work in a thread of its own; starts at once.

    state is "running", "done", "cancelled" or "failed". result: what the work returned, or what it had finished when it
    was cancelled. error: one sentence for people, when it failed.
    """

    def __init__(self, name: str, work: Callable[[Callable[[int, int, str], None]], object]):
        self.name = name
        self.state = "running"
        self.result: object = None
        self.error: str | None = None
        self.cause: BaseException | None = None
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._started = time.monotonic()
        self._report = (0, 0, "Starting")
        threading.Thread(target=self._run, args=(work,), daemon=True, name=f"job {name}").start()

    def cancel(self) -> None:
        """Ask the work to stop at its next progress report."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False where `timeout` seconds passed first."""
        return self._finished.wait(timeout)

    @property
    def running(self) -> bool:
        return not self._finished.is_set()

    @property
    def snapshot(self) -> Snapshot:
        done, total, note = self._report
        note = "Stopping after this step" if self._stop.is_set() else note
        seconds = time.monotonic() - self._started
        left = seconds * (total - done) / done if done and seconds > 1.0 else None
        return Snapshot(done, total, note, seconds, left)

    def _progress(self, done: int, total: int, note: str) -> None:
        if self._stop.is_set():
            raise Cancelled(f"{self.name} was cancelled")
        self._report = (done, total, note)

    def _run(self, work) -> None:
        try:
            self.result = work(self._progress)
            self.state = "done"
        except Cancelled as stop:
            self.result, self.state = stop.partial, "cancelled"
        except HeadPruneError as error:
            self.error, self.cause, self.state = str(error), error, "failed"
        except Exception as error:  # whatever a model does, the interface must be told rather than hang
            self.error, self.cause, self.state = f"{type(error).__name__}: {error}", error, "failed"
        finally:
            self._finished.set()
