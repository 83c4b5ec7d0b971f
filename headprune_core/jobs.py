"""Background jobs: one worker thread per job, with progress reports and cancellation.

The work of a job is a function that takes a `progress` callback, as the long-running functions of this package do, and
returns a result. Errors are stored on the job. Displaying the progress is left to the caller.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled, HeadPruneError


@dataclass(frozen=True)
class Snapshot:
    """Progress of a job at one moment.

    Attributes:
        done: finished units of work.
        total: all units of work, 0 if not known yet.
        note: description of the current step.
        seconds: time since the start of the job, in seconds.
        seconds_left: estimated remaining time in seconds, or None if there is no estimate yet.
    """

    done: int
    total: int
    note: str
    seconds: float
    seconds_left: float | None

    @property
    def share(self) -> float:
        """Fraction of the work that is finished, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class Job:
    """A computation that starts immediately in its own thread.

    Args:
        name: name of the job, used in messages.
        work: function that takes `progress(done, total, note)` and returns the result.

    Attributes:
        state: "running", "done", "cancelled" or "failed".
        result: the return value of `work`, or its partial result if the job was cancelled.
        error: error message for the user if the job failed, else None.
        cause: the exception behind `error`, else None.
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
        """Request cancellation; the work stops at its next progress report."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job ends.

        Args:
            timeout: maximum waiting time in seconds; None waits without a limit.

        Returns:
            True if the job has ended, False if the timeout expired first.
        """
        return self._finished.wait(timeout)

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet."""
        return not self._finished.is_set()

    @property
    def snapshot(self) -> Snapshot:
        """The current progress."""
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
        except Exception as error:  # a model may raise anything, and the interface must not wait forever
            self.error, self.cause, self.state = f"{type(error).__name__}: {error}", error, "failed"
        finally:
            self._finished.set()
