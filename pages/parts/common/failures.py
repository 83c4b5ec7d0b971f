"""Errors of background jobs: shown with a Close button by the form that failed, and on other pages once, as a toast."""

from dataclasses import dataclass

import streamlit as st

from headprune_core import HeadPruneError

from .hosting import hosting
from .labels import PAGES
from .sentences import plain, sentence


@dataclass(frozen=True, eq=False)
class Failure:
    """An error as a sentence, and the view (a key of `PAGES`) of the form that it belongs to."""

    text: str
    view: str


def current_view() -> str:
    """The page on screen, as a key of `PAGES`."""
    return st.session_state.get("page", "model_and_data")


def report_failure(text: str, view: str | None = None) -> None:
    """Keep an error for the form on `view`, by default the page on screen."""
    view = view or current_view()
    _failures()[view] = Failure(sentence(text), view)


def drop_failure(view: str | None = None) -> None:
    """Forget the error of a page, by default the page on screen, because it was closed or its form was changed."""
    _failures().pop(view or current_view(), None)


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


def drop_failures() -> None:
    """Forget the errors of all pages, because what they were about was replaced."""
    _failures().clear()


def current_failure(view: str | None = None) -> Failure | None:
    """The error of a page, by default the page on screen, that has not been closed; None if there is none."""
    return _failures().get(view or current_view())


def show_failure(view: str) -> None:
    """Draw the error of the form on `view`, if there is one, with a Close button."""
    failure = current_failure(view)
    if failure is None:
        return
    _announced().add(failure)
    with st.container(horizontal=True, vertical_alignment="center", key=f"failure_{view}"):
        show_error(failure.text)
        close = f"close_failure_{view}"
        st.button("Close", icon=":material/close:", key=close, type="tertiary", on_click=drop_failure, args=(view,))


def announce_failures(view: str) -> None:
    """Name the errors of other pages than `view` once, with the page to open."""
    for failure in _failures().values():
        if failure.view != view and failure not in _announced():
            _announced().add(failure)
            text = f"{outside(failure.text)} See **{PAGES[failure.view].title}**."
            st.toast(text, icon=":material/error:", duration="long")


def _failures() -> dict[str, Failure]:
    """The errors that have not been closed, by page."""
    return st.session_state.setdefault("failures", {})


def _announced() -> set[Failure]:
    return st.session_state.setdefault("announced_failures", set())
