"""A value that the form needs and a job computes: once, with progress and Cancel, and kept for the session."""

from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import TypeVar

import streamlit as st

from headprune_core import HeadPruneError
from pages.parts.common.session import runner

VIEW = "model_and_data"
Value = TypeVar("Value")


class State(Enum):
    """The state of the job, until there is a value or an error."""

    RUNNING = auto()
    ENDED = auto()
    CANCELLED = auto()


def form_value(
    slot: str, key: Hashable, work: Callable[..., Value], *, name: str, button: str, waiting: str, most: int = 1
) -> Value | None:
    """Return a value, which is computed in the background; None before that and if it was cancelled.

    Args:
        slot: Name of the values of this kind in the session.
        key: Identifies everything that the value depends on.
        work: Takes a progress callback and returns the value.
        name: What the job does, as a gerund.
        button: Label of the button that starts a cancelled job again.
        waiting: What happens when another job of the page has ended.
        most: Number of values of this kind that are kept; the oldest is dropped.

    Raises:
        HeadPruneError: If the value cannot be computed.
    """
    known: dict = st.session_state.setdefault(slot, {})
    outcome = known.get(key)
    if isinstance(outcome, HeadPruneError):
        raise HeadPruneError(str(outcome))
    if outcome is not None and not isinstance(outcome, State):
        return outcome
    if outcome is State.CANCELLED:
        st.caption(f"{name} was cancelled.")
        if not st.button(button, icon=":material/restart_alt:", disabled=runner().busy):
            return None

    def deliver(job) -> None:
        keep(slot, key, job.result or (HeadPruneError(job.error) if job.error else State.CANCELLED), most)

    if outcome is State.RUNNING and not runner().busy:  # the next run of the page delivers its result
        keep(slot, key, State.ENDED, most)
        st.rerun()
    if not runner().busy and runner().start(name, work, deliver, VIEW):
        keep(slot, key, State.RUNNING, most)
        st.rerun()
    if outcome is None:
        st.caption(waiting)
    return None


def keep(slot: str, key: Hashable, outcome, most: int) -> None:
    """Keep the outcome of `key` as the newest of its slot, and at most `most` outcomes.

    Args:
        slot: Name of the values of this kind in the session.
        key: Identifies everything that the value depends on.
        outcome: The value, the error, or the state of the job.
        most: Number of outcomes to keep.
    """
    known: dict = st.session_state.setdefault(slot, {})
    known.pop(key, None)
    known[key] = outcome
    while len(known) > most:
        del known[next(iter(known))]
