"""The state of one browser session: the workspace, its jobs, and the settings that the URL carries.

A session has at most one job per page, in threads that end with the session. State is kept by name in `st.session_state`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches

import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.jobs import Job

from .failures import current_view, drop_failures, report_failure
from .hosting import hosting
from .sentences import plain, sentence
from .server_cache import shared
from .settings import ALPHA as ALPHA
from .settings import OPTIONS, SETTINGS
from .turns import Ticket
from .workspace import Request, ScoreOptions, Workspace, load, rescore

QUICK = ("model_and_data", "head_scores")  # pages whose jobs may overtake others: loading and scoring


@dataclass(frozen=True, eq=False)
class PageJob:
    """A job of one page: what the page does with its result, and its place in line.

    Attributes:
        job: The job.
        deliver: Called in the page's thread with the job when it has ended.
        view: The page (a key of `PAGES`) that started the job and shows its errors.
        ticket: Its place in the turns at computing.
    """

    job: Job
    deliver: Callable[[Job], None]
    view: str
    ticket: Ticket


class Runner:
    """The jobs of a session: at most one per page, each in a thread of its own.

    Attributes:
        jobs: By page, the jobs that run or whose results `collect` has not delivered yet, oldest first.
        view: The page of the job that is being delivered, or that was started last.
    """

    def __init__(self):
        self.jobs: dict[str, PageJob] = {}
        self.view = "model_and_data"

    @property
    def job(self) -> Job | None:
        """The job of the page on screen."""
        mine = self.jobs.get(current_view())
        return None if mine is None else mine.job

    @property
    def busy(self) -> bool:
        """Whether the job of the page on screen runs."""
        return self.job is not None and self.job.running

    def on_workspace(self) -> list[PageJob]:
        """The running jobs that compute with the loaded model, data and scores: all but the one that loads or reads."""
        return [one for one in self.jobs.values() if one.job.running and one.view != "model_and_data"]

    def start(self, name: str, work: Callable, deliver: Callable[[Job], None], view: str | None = None) -> bool:
        """Start `work` in the background; return False if a job of the page is running.

        The server's limit on the seconds of a job does not count those in line.

        Args:
            name: What the job does, as a gerund.
            work: Takes a progress callback and returns the result.
            deliver: Called in the page's thread with the job when it has ended.
            view: The page that shows the job and its errors; by default the page on screen.
        """
        view = view or current_view()
        if view in self.jobs and self.jobs[view].job.running:
            return False
        self._deliver(view)  # ended since the page began to be drawn
        ticket, policy = shared().turns.ticket(self, name, quick=view in QUICK), hosting()

        def with_ticket(progress):
            def in_time(done: int, total: int, note: str) -> None:
                progress(done, total, note)
                if policy.seconds is not None and ticket.spent > policy.seconds:
                    raise HeadPruneError(policy.time_is_up)

            with ticket.in_use():
                return work(in_time)

        self.view = view
        self.jobs[view] = PageJob(Job(name, with_ticket), deliver, view, ticket)
        return True

    def collect(self) -> None:
        """Deliver the results of all jobs that have ended."""
        for view, ended in list(self.jobs.items()):
            if not ended.job.running:
                self._deliver(view)

    def _deliver(self, view: str) -> None:
        ended = self.jobs.pop(view, None)
        if ended is not None:
            self.view = view
            ended.deliver(ended.job)

    def close(self) -> None:
        """Cancel all jobs."""
        for one in self.jobs.values():
            one.job.cancel()


@st.cache_resource(scope="session", on_release=Runner.close, show_spinner=False)
def runner() -> Runner:
    """Return the runner of this session."""
    return Runner()


def current_workspace() -> Workspace | None:
    """Return the loaded and scored workspace; None before the first load has finished."""
    return st.session_state.get("work")


def start_loading(request: Request) -> bool:
    """Load and score in the background, with this session's scoring options; return False if a load is running.

    The current workspace and the jobs on it stay until the new one is complete.
    """
    server, policy, request = shared(), hosting(), replace(request, options=score_options())
    name = f"Loading {'the built-in model' if request.model == 'embedded' else request.model}"
    return runner().start(name, lambda progress: load(request, server, progress, policy), _take_work, "model_and_data")


def start_scoring(options: ScoreOptions) -> bool:
    """Rescore the workspace with other options in the background; return False if a job is running."""
    server, workspace = shared(), current_workspace()

    def work(progress) -> Workspace:
        return rescore(workspace, options, server, progress)

    def deliver(job: Job) -> None:
        if current_workspace() is workspace:  # else another one was loaded since
            _take_work(job)

    return runner().start("Rescoring", work, deliver, "head_scores")


def reduce_by(reduction: str) -> None:
    """Switch HIS to another reduction, without a forward pass."""
    _put(current_workspace().reduced_by(reduction))


def _put(workspace: Workspace) -> None:
    cancelled = runner().on_workspace()
    for one in cancelled:
        one.job.cancel()
    if cancelled:
        names = ", ".join(one.job.name for one in cancelled)
        st.toast(f"Cancelled, because the model, data or scores were replaced: {plain(names)}.", icon=":material/cancel:")
    st.session_state["work"] = workspace
    for name, value in _as_settings(workspace.request.options).items():
        st.session_state[f"set_{name}"] = value


def _take_work(job: Job) -> None:
    if job.state == "done":
        before = current_workspace()
        if before is not None and before.model is not job.result.model:
            st.session_state["set_overrides"] = SETTINGS["overrides"].default  # heads of another model
        st.session_state["scorings"] = scorings() + 1
        _put(job.result)
        drop_failures()
    else:
        kept = " The previous model and data are still loaded." if current_workspace() else ""
        report_failure(f"{sentence(job.error or f'{job.name} was cancelled')}{kept}", runner().view)


def scorings() -> int:
    """Return how often this session has loaded or rescored; every result resets the form of options."""
    return st.session_state.get("scorings", 0)


def score_options() -> ScoreOptions:
    """Return the scoring options of this session."""
    reduction, objective, gnorm, entropy, special, precision = map(setting, OPTIONS)
    return ScoreOptions(reduction, objective, gnorm, entropy, special == "in", precision)


def _as_settings(options: ScoreOptions) -> dict[str, str]:
    special = "in" if options.special_tokens else "out"
    names = options.his_reduction, options.objective, options.gnorm_objective, options.entropy, special, options.dtype
    return dict(zip(OPTIONS, names, strict=True))


def read_link() -> None:
    """Take over the settings of the URL, once per session; one toast names all names and values that cannot be used."""
    if "link_read" in st.session_state:
        return
    st.session_state["link_read"] = True
    ignored = [f"{plain(name)} (no such setting{_similar(name)})" for name in st.query_params if name not in SETTINGS]
    for name, known in SETTINGS.items():
        text = st.query_params.get(name)
        if text is None:
            continue
        try:
            st.session_state[f"set_{name}"] = known.parse(text)
        except ValueError as reason:
            ignored.append(f"{name} ({plain(str(reason))})")
    if ignored:
        default = "the default" if len(ignored) == 1 else "the defaults"
        st.toast(f"Ignored in the URL: {', '.join(ignored)}. Using {default}.", icon=":material/link_off:", duration="long")


def _similar(name: str) -> str:
    """The settings that a wrong name may mean."""
    found = [known for known in SETTINGS if known.startswith(name)] or get_close_matches(name, SETTINGS)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def setting(name: str):
    """Return a shared setting: the session's value, or the default."""
    return st.session_state.setdefault(f"set_{name}", SETTINGS[name].default)


def remember(name: str, value) -> None:
    """Set a shared setting and put it into the URL."""
    st.session_state[f"set_{name}"] = value
    publish(name)


def publish(*names: str) -> None:
    """Put the settings that a page uses into its URL; defaults and long texts are left out."""
    for name in names:
        value, known = setting(name), SETTINGS[name]
        text = ",".join(f"{row}.{head}" for row, head in value) if isinstance(value, tuple) else str(value)
        if value == known.default or len(text) > known.longest:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != text:
            st.query_params[name] = text
