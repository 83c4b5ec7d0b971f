"""Several jobs of one session: their list in the sidebar, what pages wait for, replaced workspaces, and equal requests."""

import itertools
import threading
import time

import pytest
from helpers.apptest import PATIENCE, finished, opened, said

from headprune_core.cli.hosting import Hosting
from headprune_core.measure import curves
from pages.parts.common import session
from pages.parts.common.server_cache import shared
from pages.parts.common.session import Runner
from pages.parts.curves import curve_run
from pages.parts.curves.curve_run import CurveRequest

sizes = itertools.count(8)  # numbers of examples: the result of another test is never found


class Computing:
    """Another session computes, so every job waits; `release` lets them run."""

    def __init__(self):
        self._hold = shared().turns.hold(lambda *report: None)
        self._hold.__enter__()

    def release(self):
        if self._hold is not None:
            self._hold.__exit__(None, None, None)
            self._hold = None


@pytest.fixture
def other_session():
    computing = Computing()
    yield computing
    computing.release()


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def go(app, view):
    app.switch_page(f"pages/views/{view}.py").run()
    assert not app.exception


def bars(where):
    """Texts of the progress bars, without the escapes of Markdown."""
    return [bar.proto.text.replace("\\", "") for bar in where.get("progress")]


@pytest.fixture(scope="module")
def app():
    return opened("head_scores")


def two_jobs(app):
    """Curves and Greedy-Gnorm, both waiting; the page on screen is that of the second one."""
    app.session_state["methods"], app.session_state["step"] = ["ae"], "20"
    app.session_state["evaluation_size_960"] = next(sizes)
    app.session_state["greedy_end"], app.session_state["greedy_steps"] = "steps", 1
    go(app, "accuracy")
    press(app, "Evaluate curves")
    go(app, "greedy")
    press(app, "Run Greedy-Gnorm")
    return app


@pytest.mark.slow
def test_the_sidebar_names_every_job_and_each_can_be_cancelled(app, other_session):
    two_jobs(app)
    curves, greedy = bars(app.sidebar)
    assert curves.startswith("**Evaluating curves**  \nWaiting: place 2 in line, about 1 s")
    assert greedy.startswith("**Running Greedy-Gnorm**  \nWaiting for your job Evaluating curves")
    (here,) = bars(app.main)
    assert here == "Waiting for your job Evaluating curves"
    links = [link.proto.label for link in app.sidebar.get("page_link")]
    assert links == ["Open"]  # to the curves; Greedy-Gnorm is on screen
    go(app, "alpha")
    assert len(app.sidebar.get("page_link")) == 2
    assert not bars(app.main)
    app.button(key="cancel_sidebar_accuracy").click().run()
    while len(bars(app.sidebar)) == 2:
        app.run()
    (left,) = bars(app.sidebar)
    assert left.startswith("**Running Greedy-Gnorm**  \nWaiting: place 2 in line")
    app.button(key="cancel_sidebar_greedy").click().run()
    finished(app)


@pytest.mark.slow
def test_both_jobs_end_and_each_page_shows_its_result(app, other_session):
    two_jobs(app)
    other_session.release()
    finished(app)
    assert app.session_state["greedy"]["greedy_gnorm"].trajectory.steps == 1
    go(app, "accuracy")
    result = app.session_state["curves"]
    assert result.complete
    assert result.measured == result.request.size


@pytest.mark.slow
def test_alpha_and_other_pages_are_drawn_while_jobs_wait(app, other_session):
    two_jobs(app)
    for view in ("alpha", "head_scores", "orthogonality", "prune"):
        go(app, view)
    assert app.sidebar.get("progress")
    go(app, "head_scores")
    said = " ".join(text.value for text in app.caption)
    assert "The reduction cannot change while a job computes with these scores" in said
    for view in ("accuracy", "greedy"):
        app.button(key=f"cancel_sidebar_{view}").click().run()
    finished(app)


@pytest.mark.slow
def test_new_scores_cancel_the_jobs_on_the_old_ones_and_say_so(app, other_session):
    two_jobs(app)
    go(app, "head_scores")
    key = app.session_state["work"].run_key
    objective = next(box for box in app.selectbox if box.label == "Gnorm objective")
    objective.select("loss" if objective.value != "loss" else "logit_norm").run()
    assert "This will cancel: Evaluating curves, Running Greedy\\-Gnorm." in " ".join(c.value for c in app.caption)
    # The other jobs stay in line while the short request is served.
    press(app, "Rescore heads")
    other_session.release()
    toasts, deadline = [], time.monotonic() + PATIENCE
    while app.session_state["work"].run_key == key:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
        toasts += [toast.value for toast in app.toast]
    # A job that ended before the new scores were there was not cancelled, and is not named.
    for name, done in (("Evaluating curves", _curves_done(app)), ("Running Greedy\\-Gnorm", _greedy_done(app))):
        assert done or any(name in text and text.startswith("Cancelled, because the model") for text in toasts)
    finished(app)


@pytest.mark.slow
def test_scores_of_an_earlier_workspace_never_replace_a_new_one(app, other_session):
    go(app, "head_scores")
    before = app.session_state["work"]
    next(box for box in app.selectbox if box.label == "Entropy").select_index(3).run()
    press(app, "Rescore heads")  # waits in line
    go(app, "model_and_data")
    assert "This will cancel: Rescoring." in said(app.caption)
    press(app, "Load and score")
    deadline = time.monotonic() + PATIENCE
    while app.session_state["work"] is before:
        assert time.monotonic() < deadline
        app.run()
    loaded = app.session_state["work"]
    other_session.release()
    finished(app)
    assert app.session_state["work"] is loaded


def _curves_done(app):
    return app.session_state["curves"].complete


def _greedy_done(app):
    return all(result.complete for result in app.session_state["greedy"].values())


@pytest.mark.slow
def test_equal_requests_of_two_sessions_are_computed_once(app, monkeypatch, other_session):
    calls, evaluate, loaded, runners = [], curves.evaluate_masks, app.session_state["work"], [Runner(), Runner()]

    def counted(*args, **options):
        calls.append(threading.current_thread().name)
        return evaluate(*args, **options)

    monkeypatch.setattr(curves, "evaluate_masks", counted)
    request = CurveRequest(("inverse_ae",), (0.0, 0.5), alpha=0.5, n_random=1, size=7)
    for runner in runners:
        monkeypatch.setattr(curve_run, "runner", lambda runner=runner: runner)
        curve_run.start_curves(loaded, request)
    other_session.release()
    jobs = [runner.jobs["model_and_data"].job for runner in runners]  # outside of a page that is the default
    assert all(job.wait(PATIENCE) for job in jobs)
    assert jobs[0].result is jobs[1].result
    assert len(calls) == 1


@pytest.mark.slow
def test_a_job_ends_after_the_seconds_that_the_server_allows_without_those_in_line(monkeypatch, other_session):
    monkeypatch.setattr(session, "hosting", lambda: Hosting(seconds=1))

    def work(progress):
        with shared().turns.hold(progress) as report:
            for step in range(limit):
                report(step, limit, "computing")
                time.sleep(0.1)
        return limit

    runners, limit = (Runner(), Runner()), 3
    runners[0].start("Short job", work, lambda job: None)
    time.sleep(1.5)  # in line for longer than the limit
    other_session.release()
    short = runners[0].jobs["model_and_data"].job
    assert short.wait(PATIENCE)
    assert (short.state, short.result) == ("done", 3)
    limit = 1000
    runners[1].start("Long job", work, lambda job: None)
    long = runners[1].jobs["model_and_data"].job
    assert long.wait(PATIENCE)
    assert (long.state, long.error) == ("failed", "this server stops a job after 1 s; choose fewer examples or masks")


def test_a_result_that_nobody_has_seen_is_delivered_before_the_next_job_of_its_page():
    runner, delivered = Runner(), []
    for number in (1, 2):
        assert runner.start("Job", lambda progress, number=number: number, lambda job: delivered.append(job.result))
        assert runner.jobs["model_and_data"].job.wait(PATIENCE)
    assert delivered == [1]
    runner.collect()
    assert delivered == [1, 2]
    assert not runner.jobs
