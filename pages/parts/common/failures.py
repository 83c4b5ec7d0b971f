"""Errors of background jobs: shown with a Close button by the form that failed, and on other pages once, as a toast."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import HeadPruneError

from .hosting import hosting
from .labels import PAGES
from .sentences import plain, sentence


@dataclass(frozen=True)
class Failure:
    """An error as a sentence, and the view (a key of `PAGES`) of the form that it belongs to."""

    text: str
    view: str


def report_failure(text: str, view: str | None = None) -> None:
    """Keep an error for the form on `view`, by default the page on screen."""
    st.session_state["failure"] = Failure(sentence(text), view or st.session_state.get("page", "model_and_data"))


def outside(text: str) -> str:
    """Text of an error, file, model or link as Markdown without markup, and without paths that visitors may not see."""
    return plain(hosting().without_paths(text))


def show_error(text: str) -> None:
    """Draw an error as a sentence; every error that holds text from outside the app is drawn here."""
    st.error(outside(sentence(text)), icon=":material/error:")


def exceeds_masks(n_masks: int) -> bool:
    """Return whether a run has more masks than this server allows; if so, the form shows the error."""
    try:
        hosting().check_masks(n_masks)
    except HeadPruneError as error:
        report_failure(str(error))
        return True
    return False


def drop_failure() -> None:
    """Forget the error, because it was closed or its form was changed."""
    st.session_state["failure"] = None


def current_failure() -> Failure | None:
    """The error that has not been closed, if there is one."""
    return st.session_state.get("failure")


def show_failure(view: str) -> None:
    """Draw the error with a Close button if it belongs to the form on `view`."""
    failure = current_failure()
    if failure is None or failure.view != view:
        return
    st.session_state["announced_failure"] = failure
    with st.container(horizontal=True, vertical_alignment="center", key=f"failure_{view}"):
        show_error(failure.text)
        st.button("Close", icon=":material/close:", key=f"close_failure_{view}", type="tertiary", on_click=drop_failure)


def announce_failure(view: str) -> None:
    """On a page other than that of the form, name the error once, with the page to open."""
    failure = current_failure()
    if failure is None or failure.view == view or st.session_state.get("announced_failure") == failure:
        return
    st.session_state["announced_failure"] = failure
    st.toast(f"{outside(failure.text)} See **{PAGES[failure.view].title}**.", icon=":material/error:", duration="long")
