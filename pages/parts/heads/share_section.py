"""The share of every head in the prediction for one text, as maps: measured by masking each head, and to first order."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadShares, head_shares
from headprune_core.data.tasks import task_of
from headprune_core.jobs import Job
from pages.parts.common.failures import drop_failure, report_failure
from pages.parts.common.labels import HIS
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import downloads, progress_panel
from pages.parts.common.workspace import Workspace
from pages.parts.head_grid import HeadMap, head_grid

from .text_choice import ChosenText

VIEW = "one_text"
JOB = "Masking each head"
AT_ONCE = 3_000  # heads times tokens, up to which the page measures shares without being asked: about a second
MOST_KEPT = 8  # results that a session keeps
ENDS = ("opposes the prediction", "supports the prediction")


def share_section(loaded: Workspace, chosen: ChosenText, tokens: int) -> None:
    """Draw the maps, or offer to measure them.

    Args:
        loaded: The workspace.
        chosen: The text.
        tokens: Number of its tokens.
    """
    st.header("Share of each head in the prediction", anchor=False)
    found = shares(loaded, chosen)
    if found is None:
        if runner().busy and runner().job.name == JOB:
            progress_panel("shares")
            return
        small = loaded.model.grid.kept.size * tokens <= AT_ONCE
        failed = st.session_state.get("shares_asked") == (loaded.model_key, chosen)
        if small and not failed and not runner().busy:
            st.session_state["shares_asked"] = loaded.model_key, chosen
            _start(loaded, chosen)
            st.rerun()
        st.info("The shares are not measured yet. Click **Measure shares**.", icon=":material/ads_click:")
        if st.button("Measure shares", icon=":material/play_arrow:", disabled=runner().busy):
            _start(loaded, chosen)
            st.rerun()
        return
    grid, decides = loaded.scores.grid, task_of(loaded.model).has_decisions
    unit = "nats" if decides else ""
    head_grid(
        [
            HeadMap("support", "Support, measured", -found.change, role="difference", unit=unit, ends=ENDS),
            HeadMap(
                "support_first_order", "Support, first order", -found.first_order, role="difference", unit=unit, ends=ENDS
            ),
        ],
        grid.row_labels,
        key="share_maps",
    )
    what = "log-probability of the prediction" if decides else "output"
    if decides:
        flips = [f"{grid.row_labels[row]}.{head}" for row, head in np.argwhere(found.flips)]
        which = "one of these heads" if len(flips) > 1 else "this head"
        none = "No single head changes the prediction."
        st.markdown(f"Without {which} the prediction changes: {', '.join(flips)}." if flips else none)
    st.caption(
        f"Support: by how much the {what} falls when the head is masked, on its own. First order: the derivative with "
        f"respect to the head's gate, whose absolute value is the {HIS} of this text for the model's own prediction."
    )
    row, head = (index.ravel() for index in np.indices(found.change.shape))
    columns = {"support": -found.change, "support_first_order": -found.first_order, "flips": found.flips}
    downloads("head_shares", pd.DataFrame({"row": row, "head": head} | {name: v.ravel() for name, v in columns.items()}))


def shares(loaded: Workspace, chosen: ChosenText) -> HeadShares | None:
    """Return the shares of the heads; None before they are measured."""
    return st.session_state.get("shares", {}).get((loaded.model_key, chosen))


def _start(loaded: Workspace, chosen: ChosenText) -> None:
    server, key = shared(), (loaded.model_key, chosen)

    def work(progress) -> HeadShares:
        with server.turns.hold(progress) as report:
            return head_shares(loaded.model, chosen.text, pair=chosen.pair, progress=report)

    def deliver(job: Job) -> None:
        if job.state == "done":
            known = st.session_state.setdefault("shares", {})
            known[key] = job.result
            while len(known) > MOST_KEPT:
                del known[next(iter(known))]
        if job.error:
            report_failure(f"The shares could not be measured. {sentence(job.error)}", VIEW)

    if runner().start(JOB, work, deliver, VIEW):
        drop_failure()
