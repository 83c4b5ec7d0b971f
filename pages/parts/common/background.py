"""Heavy background jobs of a page: one session at a time, with the result handed to the page and errors to its form."""

from collections.abc import Callable

from headprune_core.jobs import Job

from .failures import drop_failure, report_failure
from .sentences import sentence
from .server_cache import shared
from .session import runner


def start_exclusive_job(name: str, work: Callable, take: Callable[[object, bool], None], failed: str) -> bool:
    """Start `work` as soon as no other session computes; return False if this session already runs a job.

    Args:
        name: What the job does, as a gerund.
        work: Takes a progress callback and returns the result.
        take: Called in the page's thread with (result, complete); complete is False for the partial result of a
            cancelled job.
        failed: The first sentence of the error message, without its period.
    """
    server = shared()

    def in_turn(progress):
        with server.turns.hold(progress) as report:
            return work(report)

    def deliver(job: Job) -> None:
        if job.result is not None:
            take(job.result, job.state == "done")
        if job.error:
            report_failure(f"{failed}. {sentence(job.error)}", runner().view)

    started = runner().start(name, in_turn, deliver)
    if started:
        drop_failure()
    return started
