"""Background jobs: progress, final states and cancellation."""

import threading
import time

import numpy as np
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.jobs import Job, Snapshot

SOON = 20.0  # seconds; far more than anything here takes


class Steps:
    """Work that does one step each time it is allowed to."""

    def __init__(self, total=4):
        self._turn, self._reported, self._total = threading.Semaphore(0), threading.Semaphore(0), total

    def __call__(self, progress):
        for done in range(self._total):
            progress(done, self._total, f"step {done}")
            self._reported.release()
            assert self._turn.acquire(timeout=SOON)
        return "all done"

    def wait_for_report(self):
        assert self._reported.acquire(timeout=SOON)

    def go_on(self, steps=1):
        self._turn.release(steps)


def finished(work):
    job = Job("test", work)
    assert job.wait(SOON)
    return job


def test_a_job_runs_in_the_background_and_reports_progress():
    steps = Steps()
    job = Job("test", steps)
    steps.wait_for_report()
    assert (job.running, job.state, job.result) == (True, "running", None)
    steps.go_on()
    steps.wait_for_report()
    assert (job.snapshot.done, job.snapshot.total, job.snapshot.note, job.snapshot.share) == (1, 4, "step 1", 0.25)
    steps.go_on(3)
    assert job.wait(SOON)
    assert (job.running, job.state, job.result, job.error) == (False, "done", "all done", None)


def test_waiting_ends_after_the_timeout():
    steps = Steps()
    job = Job("test", steps)
    assert not job.wait(0.01)
    steps.go_on(4)
    assert job.wait(SOON)


def test_a_cancelled_job_stops_at_its_next_report():
    steps = Steps()
    job = Job("test", steps)
    steps.wait_for_report()
    job.cancel()
    assert job.running
    steps.go_on()
    assert job.wait(SOON)
    assert (job.state, job.result, job.error, job.snapshot.done) == ("cancelled", None, None, 0)


def test_a_cancelled_job_keeps_its_partial_result():
    def work(progress):
        stop = hp.Cancelled("enough")
        stop.partial = [1, 2]
        raise stop

    job = finished(work)
    assert (job.state, job.result) == ("cancelled", [1, 2])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (hp.HeadPruneError("3 found; expected 4"), "3 found; expected 4"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_failed_job_has_an_error_message(error, words):
    def work(progress):
        raise error

    job = finished(work)
    assert (job.state, job.result, job.error) == ("failed", None, words)
    assert job.cause is error


@pytest.mark.slow
def test_the_remaining_time_is_estimated_after_a_second():
    steps = Steps()
    job = Job("test", steps)
    steps.wait_for_report()
    steps.go_on()
    steps.wait_for_report()
    assert job.snapshot.seconds_left is None
    time.sleep(1.05)
    snapshot = job.snapshot
    steps.go_on(3)
    assert snapshot.seconds_left == pytest.approx(3 * snapshot.seconds, rel=0.01)
    assert job.wait(SOON)


@pytest.mark.parametrize(("done", "total", "share"), [(0, 0, 0.0), (1, 4, 0.25), (4, 4, 1.0), (5, 4, 1.0)])
def test_finished_fraction(done, total, share):
    assert Snapshot(done, total, "", 0.0, None).share == share


def test_two_jobs_on_one_model():
    model = hp.PrunableModel(tiny("bert"))
    alone = [hp.score_heads(model, random_examples(seed=seed)).his for seed in (0, 1)]
    jobs = [
        Job(f"job {seed}", lambda progress, seed=seed: hp.score_heads(model, random_examples(seed=seed), progress=progress))
        for seed in (0, 1)
    ]
    for job, expected in zip(jobs, alone, strict=True):
        assert job.wait(SOON)
        np.testing.assert_allclose(job.result.his, expected, rtol=1e-6)
        assert job.snapshot.share == 1.0


def test_cancelling_a_computation_keeps_its_partial_result():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()
    scores, reached = hp.score_heads(model, examples), threading.Event()

    def work(progress):
        def slow(done, total, note):
            if done > total / 2:
                reached.set()
                stopped.wait(SOON)
            progress(done, total, note)

        options = {"methods": ["his"], "sparsities": [0.0, 0.5], "batch_size": 3}
        return hp.sparsity_curves(model, examples, scores, progress=slow, **options)

    stopped = threading.Event()
    job = Job("curves", work)
    assert reached.wait(SOON)
    job.cancel()
    stopped.set()
    assert job.wait(SOON)
    assert job.state == "cancelled"
    assert job.result.sparsity.tolist() == [0.0, 0.5]
    assert set(job.result.examples) < {3, 6}  # every point, on the batches that were done
    assert len(examples) == 9
