"""Rankings that scores do not hold, as far as this session has them: leave one out, Greedy-Gnorm, and the user's own.

What another page computed is used here as it is; a page that has not computed it yet is named.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import CRITERIA, GreedyTrajectory, HeadPruneError
from headprune_core.masks.rankings import read_ranking
from headprune_core.result_cache import fingerprint
from pages.parts.common.workspace import Workspace
from pages.parts.uncertainty.ablation_run import ablation

from .curve_run import ExternalRanking

PAGES = {  # criterion -> the page that computes it
    "leave_one_out": ("uncertainty", "Uncertainty", ":material/rule:"),
    "greedy_gnorm": ("greedy", "Greedy-Gnorm", ":material/low_priority:"),
    "inverse_greedy_gnorm": ("greedy", "Greedy-Gnorm", ":material/low_priority:"),
}
MOST_MEGABYTES = 5


@dataclass(frozen=True)
class Own:
    """A user's ranking, and the file and the heads that it is for."""

    file: str
    heads: tuple
    values: np.ndarray


def external_rankings(loaded: Workspace) -> dict[str, ExternalRanking]:
    """The rankings at hand for `loaded`, by method."""
    found = [_left_out(loaded), *(_greedy(loaded, name) for name in ("greedy_gnorm", "inverse_greedy_gnorm")), _own(loaded)]
    return {one.name: one for one in found if one is not None}


def first_unused_example(loaded: Workspace, methods) -> int:
    """The number of the first text for testing that none of `methods` was ranked on."""
    result = ablation(loaded)
    return result.size if "leave_one_out" in methods and result is not None and result.held_out else 0


def links_to_missing(at_hand) -> None:
    """Where to compute what is not there yet."""
    missing: dict[tuple, list[str]] = {}
    for name, page in PAGES.items():
        if name not in at_hand:
            missing.setdefault(page, []).append(CRITERIA[name].label)
    for (view, title, icon), labels in missing.items():
        st.page_link(f"pages/views/{view}.py", label=f"{' and '.join(labels)}: first run it under {title}", icon=icon)


def upload_form(loaded: Workspace) -> None:
    """Upload a ranking; what cannot be used is told, and the one that was there stays."""

    def take() -> None:
        file = st.session_state.get("own_file")
        st.session_state["own_failure"] = None
        if file is None:
            return
        try:
            values = read_ranking(file, loaded.model.grid)
        except HeadPruneError as error:
            st.session_state["own_failure"] = f"{file.name}: {error}."
            return
        st.session_state["custom"] = Own(file.name, _heads(loaded), values)
        st.session_state["methods"] = list(dict.fromkeys([*st.session_state.get("methods", []), "custom"]))

    def drop() -> None:
        st.session_state.pop("custom", None)

    st.file_uploader(
        "A ranking of your own",
        type="csv",
        key="own_file",
        on_change=take,
        max_upload_size=MOST_MEGABYTES,
        help="A table with the columns row, head and score, or a bare matrix of numbers. The lowest score goes first.",
    )
    if failure := st.session_state.get("own_failure"):
        st.error(failure, icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Template",
            lambda: template(loaded).to_csv(index=False),
            "ranking.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="own_template",
            help="Every head with its HIS, to be changed as you like",
        )
        if (own := _own(loaded)) is not None:
            st.button("Forget it", icon=":material/delete:", on_click=drop, key="own_drop", type="tertiary")
            st.caption(f"In use: {own.how}")


def template(loaded: Workspace) -> pd.DataFrame:
    """Every head with a score: HIS, or its place where there is none."""
    rows, heads = loaded.model.grid.shape
    row, head = (index.ravel() for index in np.indices((rows, heads)))
    score = loaded.scores.his.ravel() if "his" in loaded.scores.per_example else np.arange(rows * heads)
    return pd.DataFrame({"row": row, "head": head, "score": score})


def _own(loaded: Workspace) -> ExternalRanking | None:
    own = st.session_state.get("custom")
    if own is None or own.heads != _heads(loaded):
        return None
    code = (f"rankings['own'] = read_ranking({own.file!r}, model.grid)",)
    return ExternalRanking("custom", fingerprint(own.values), own.values, own.file, code)


def _left_out(loaded: Workspace) -> ExternalRanking | None:
    result = ablation(loaded)
    if result is None:
        return None
    values = result.found.loss_change
    texts = f"held_out.select(range({result.size}))" if result.held_out else f"calibration.select(range({result.size}))"
    how = f"on {result.size} texts" + ("" if result.held_out else " of the scores")
    code = (f"rankings['leave_one_out'] = leave_one_out(model, {texts}).loss_change",)
    by_command = not result.held_out and result.size == len(loaded.calibration)
    return ExternalRanking("leave_one_out", fingerprint(values), values, how, code, by_command)


def _greedy(loaded: Workspace, name: str) -> ExternalRanking | None:
    """A finished run of Greedy-Gnorm for `loaded`, from the page that makes them."""
    found = st.session_state.get("greedy")
    found = found.get(name) if isinstance(found, dict) else found
    run = getattr(found, "trajectory", None)
    right = getattr(found, "key", None) == loaded.key and getattr(found, "complete", False)
    if not right or not isinstance(run, GreedyTrajectory) or not run.steps or run.inverse != name.startswith("inverse"):
        return None
    options = {"objective": run.settings.get("objective", "logit_norm"), "dtype": run.settings.get("dtype", "float32")}
    options |= {"inverse": run.inverse, "heads_per_step": run.heads_per_step, "steps": run.steps}
    told = ", ".join(f"{option}={value!r}" for option, value in options.items())
    how = (
        f"{run.steps} steps of {run.heads_per_step}, scored on {run.settings.get('examples', len(loaded.calibration))} texts"
    )
    code = (f"rankings[{name!r}] = greedy_gnorm(model, calibration, {told}).ranking",)
    whole = run.heads_per_step == 1 and run.steps >= int(np.prod(run.grid.shape)) - 1
    return ExternalRanking(name, fingerprint(run.ranking), run.ranking, how, code, whole)


def _heads(loaded: Workspace) -> tuple:
    return loaded.request.model, loaded.request.revision, loaded.model.grid.shape
