"""A session's own state: the work at hand, the job that runs, and the settings that live in the link.

One job at a time, in a thread of its own, ended when the session is. Everything is keyed by name in `st.session_state`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from headprune_core.jobs import Job
from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from headprune_core.scores.objectives import OBJECTIVES
from pages.parts.alpha_grid import ManualOverrides

from .server_cache import shared
from .workspace import Request, ScoreOptions, Workspace, load, rescore


class Runner:
    """The session's one worker: a job that runs, or the last that ended, until its end has been looked at."""

    def __init__(self):
        self.job: Job | None = None
        self.deliver: Callable[[Job], None] | None = None

    @property
    def busy(self) -> bool:
        return self.job is not None and self.job.running

    def start(self, name: str, work: Callable, deliver: Callable[[Job], None]) -> bool:
        """Start `work`; `deliver` is called, in the page's own thread, with the job when it has ended."""
        if self.busy:
            return False
        self.job, self.deliver = Job(name, work), deliver
        return True

    def collect(self) -> Job | None:
        """The job, if it has ended since last asked; its result has been delivered then."""
        if self.job is None or self.job.running:
            return None
        job, deliver = self.job, self.deliver
        self.job = self.deliver = None
        deliver(job)
        return job

    def close(self) -> None:
        if self.job is not None:
            self.job.cancel()


@st.cache_resource(scope="session", on_release=Runner.close, show_spinner=False)
def runner() -> Runner:
    """This session's runner."""
    return Runner()


def current_workspace() -> Workspace | None:
    """What is loaded and scored, if anything is."""
    return st.session_state.get("work")


def start_loading(request: Request) -> bool:
    """Load and score in the background; what is there now stays until that is done. False while something runs.

    Scores are computed by this session's options, whatever options `request` has.
    """
    server, request = shared(), replace(request, options=score_options())
    return runner().start(f"Loading {request.model}", lambda progress: load(request, server, progress), _take_work)


def start_scoring(options: ScoreOptions) -> bool:
    """Score what is loaded by other options in the background; the scores that are there stay until that is done."""
    server, now = shared(), current_workspace()
    return runner().start("Scoring", lambda progress: rescore(now, options, server, progress), _take_work)


def reduce_by(reduction: str) -> None:
    """Show HIS by another reduction, at once."""
    _put(current_workspace().reduced_by(reduction))


def _put(new: Workspace) -> None:
    st.session_state["work"] = new
    for name, value in _as_settings(new.request.options).items():
        st.session_state[f"set_{name}"] = value


def _take_work(job: Job) -> None:
    if job.state == "done":
        before = current_workspace()
        if before is not None and before.model is not job.result.model:
            st.session_state["set_overrides"] = SETTINGS["overrides"].default  # heads of another model
        _put(job.result)
        st.session_state["failure"] = None
    else:
        kept = " What was loaded before is still there." if current_workspace() else ""
        what = f"{job.error}." if job.error else f"{job.name} was cancelled."
        st.session_state["failure"] = f"{what[0].upper()}{what[1:]}{kept}"


@dataclass(frozen=True)
class Setting:
    """A value that pages share and links carry: how to read it from a link, and what it is by default."""

    default: object
    parse: Callable[[str], object]


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError(f"{value:g} where {low:g} to {high:g} was expected")
        return value

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} where {' or '.join(names)} was expected")
        return text

    return parse


def _heads_kept(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1024:
        raise ValueError(f"{value} where 0 or more was expected")
    return value


def _edits(text: str) -> str:
    return str(ManualOverrides.parse(text))


def _head(text: str) -> tuple[int, int]:
    row, head = (int(part) for part in text.split("."))
    return row, head


SETTINGS = {
    "alpha": Setting(0.5, _between(0.0, 1.0)),
    "sparsity": Setting(0.3, _between(0.0, 1.0)),
    "entropy_direction": Setting("low", _one_of("low", "high")),
    "normalize": Setting("layer", _one_of("layer", "global")),
    "min_heads": Setting(0, _heads_kept),
    "uniform": Setting("no", _one_of("no", "yes")),
    "whole_groups": Setting("no", _one_of("no", "yes")),
    "sparsity_unit": Setting("heads", _one_of("heads", "parameters")),
    "overrides": Setting("", _edits),
    "head": Setting(None, _head),
    "his_reduction": Setting("example", _one_of(*REDUCTIONS)),
    "objective": Setting("loss", _one_of(*OBJECTIVES)),
    "gnorm_objective": Setting("logit_norm", _one_of(*OBJECTIVES)),
    "entropy": Setting("exact", _one_of(*KINDS)),
    "special_tokens": Setting("in", _one_of("in", "out")),
    "dtype": Setting("float32", _one_of("float32", "bfloat16")),
}
ALPHA = (
    "alpha",
    "sparsity",
    "entropy_direction",
    "normalize",
    "min_heads",
    "uniform",
    "whole_groups",
    "sparsity_unit",
    "overrides",
)  # what makes a mask along alpha
OPTIONS = ("his_reduction", "objective", "gnorm_objective", "entropy", "special_tokens", "dtype")


def score_options() -> ScoreOptions:
    """The options of the scores, as this session or its link has them."""
    reduction, objective, gnorm, entropy, special, precision = map(setting, OPTIONS)
    return ScoreOptions(reduction, objective, gnorm, entropy, special == "in", precision)


def _as_settings(options: ScoreOptions) -> dict[str, str]:
    special = "in" if options.special_tokens else "out"
    names = options.his_reduction, options.objective, options.gnorm_objective, options.entropy, special, options.dtype
    return dict(zip(OPTIONS, names, strict=True))


def setting(name: str):
    """A shared setting: the session's own, else the link's, else the default. A link's bad value is told and dropped."""
    if f"set_{name}" not in st.session_state:
        st.session_state[f"set_{name}"] = _from_link(name)
    return st.session_state[f"set_{name}"]


def remember(name: str, value) -> None:
    """Take a shared setting over and put it in the link."""
    st.session_state[f"set_{name}"] = value
    publish(name)


def publish(*names: str) -> None:
    """Show settings in the link of the page that uses them; defaults stay out of it."""
    for name in names:
        value = setting(name)
        if value == SETTINGS[name].default:
            st.query_params.pop(name, None)
        else:
            text = ".".join(map(str, value)) if isinstance(value, tuple) else str(value)
            if st.query_params.get(name) != text:
                st.query_params[name] = text


def _from_link(name: str):
    known, text = SETTINGS[name], st.query_params.get(name)
    if text is None:
        return known.default
    try:
        return known.parse(text)
    except ValueError as reason:
        st.toast(
            f"The link's {name} could not be used ({reason}); {known.default} is taken instead.", icon=":material/link_off:"
        )
        return known.default
