"""Progress and cancellation of loading.

Transformers builds and fills a model in one call, but nearly every step of it calls PyTorch. A `TorchFunctionMode` of the
thread that loads sees these calls and reports, so an exception of the callback ends the loading within a moment. Downloads
report through the progress bar of the Hub's client.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from huggingface_hub.utils import tqdm
from torch.overrides import TorchFunctionMode

Progress = Callable[[int, int, str], None]
STEPS = ("Checking the files", "Loading the weights", "Loading the tokenizer", "Locating the heads")
INTERVAL = 0.1  # seconds between two reports


class _Reports(TorchFunctionMode):
    """Calls `progress` while a model is loaded, and keeps the exception with which it asks to stop."""

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress
        self._step, self._last = 0, 0.0
        self.stop: BaseException | None = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if time.monotonic() - self._last > INTERVAL:
            self.report()
        return function(*args, **(kwargs or {}))

    def begin(self, step: str) -> None:
        self._step = STEPS.index(step)
        self.report()

    def report(self) -> None:
        self._last = time.monotonic()
        if self.stop is not None:  # a library caught it
            raise self.stop
        try:
            self._progress(self._step, len(STEPS), STEPS[self._step])
        except BaseException as stop:
            self.stop, self._last = stop, 0.0
            raise


_active: ContextVar[_Reports | None] = ContextVar("active", default=None)


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Report the progress of the loading in this block and thread.

    Args:
        progress: called with the number of finished steps, of all steps, and the current step, about ten times a second; an
            exception that it raises, such as `Cancelled`, ends the block. None reports nothing.
    """
    if progress is None:
        yield
        return
    reports = _Reports(progress)
    token = _active.set(reports)
    try:
        with reports:
            yield
    except BaseException as error:
        if reports.stop is not None and error is not reports.stop:  # a library or a check replaced it
            raise reports.stop from None
        raise
    finally:
        _active.reset(token)
    if reports.stop is not None:
        raise reports.stop


def begin_step(step: str) -> None:
    """Report that a step begins.

    Args:
        step: one of STEPS.
    """
    reports = _active.get()
    if reports is not None:
        reports.begin(step)


def download_reports() -> type[tqdm] | None:
    """Return a class of progress bars that report, also from the threads of a download; None if nobody listens."""
    reports = _active.get()
    if reports is None:
        return None

    class Bar(tqdm):
        def update(self, n=1):
            reports.report()
            return super().update(n)

    return Bar
