"""Rankings that are not computed from the scores: leave-one-out, Greedy-Gnorm, and an uploaded one.

Results of other pages are used as they are; if one is missing, a link names the page that computes it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import CRITERIA, GreedyTrajectory, HeadPruneError
from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from headprune_core.masks.rankings import read_ranking
from headprune_core.result_cache import fingerprint
from pages.parts.common.failures import show_error
from pages.parts.common.hosting import hosting
from pages.parts.common.labels import PAGES, Page
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.workspace import Workspace
from pages.parts.uncertainty.ablation_run import ablation

from .curve_run import ExternalRanking

SOURCES = {  # criterion -> the page that computes it
    "leave_one_out": PAGES["uncertainty"],
    "greedy_gnorm": PAGES["greedy"],
    "inverse_greedy_gnorm": PAGES["greedy"],
}
MOST_MEGABYTES = 4


@dataclass(frozen=True)
class UploadedRanking:
    """A user's ranking, its file, and the heads that it ranks."""

    file: str
    heads: tuple
    values: np.ndarray


def external_rankings(loaded: Workspace) -> dict[str, ExternalRanking]:
    """The available rankings of `loaded` by criterion."""
    greedy = (_greedy(loaded, name) for name in ("greedy_gnorm", "inverse_greedy_gnorm"))
    rankings = [_left_out(loaded), *greedy, _uploaded(loaded)]
    return {ranking.name: ranking for ranking in rankings if ranking is not None}


def first_unused_example(loaded: Workspace, methods) -> int:
    """Index of the first evaluation example that none of `methods` was ranked on."""
    result = ablation(loaded)
    return result.size if "leave_one_out" in methods and result is not None and result.held_out else 0


def links_to_missing(external) -> None:
    """Link to the pages that compute the rankings missing from `external`."""
    missing: dict[Page, list[str]] = {}
    for name, page in SOURCES.items():
        if name not in external:
            missing.setdefault(page, []).append(CRITERIA[name].label)
    for page, names in missing.items():
        st.page_link(page.script, label=f"Run {' and '.join(names)} on the {page.title} page first", icon=page.icon)


def upload_form(loaded: Workspace) -> None:
    """Draw the upload of a ranking. An unusable file is reported, and the earlier ranking stays."""

    def read() -> None:
        file = st.session_state.get("own_file")
        st.session_state["own_failure"] = None
        if file is None:
            return
        try:
            values = read_ranking(file, loaded.model.grid)
        except HeadPruneError as error:
            st.session_state["own_failure"] = plain(sentence(f"{file.name}: {error}"))
            return
        st.session_state["custom"] = UploadedRanking(file.name, _heads(loaded), values)
        st.session_state["methods"] = list(dict.fromkeys([*st.session_state.get("methods", []), "custom"]))

    def remove() -> None:
        st.session_state.pop("custom", None)

    st.file_uploader(
        "Custom ranking",
        type="csv",
        key="own_file",
        on_change=read,
        max_upload_size=hosting().upload_limit(MOST_MEGABYTES),
        help="CSV: columns row, head, score, or a matrix with one row per layer. The lowest score is pruned first.",
    )
    if failure := st.session_state.get("own_failure"):
        show_error(failure)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download template",
            lambda: spreadsheet_csv(template(loaded)),
            "ranking.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="own_template",
            help="CSV template: one row per head, prefilled with HIS",
        )
        if (uploaded := _uploaded(loaded)) is not None:
            st.button("Remove ranking", icon=":material/delete:", on_click=remove, key="own_drop", type="tertiary")
            st.caption(f"In use: {plain(uploaded.how)}")


def template(loaded: Workspace) -> pd.DataFrame:
    """One row per head with its HIS, or its position if there is no HIS."""
    rows, heads = loaded.model.grid.shape
    row, head = (index.ravel() for index in np.indices((rows, heads)))
    score = loaded.scores.his.ravel() if "his" in loaded.scores.per_example else np.arange(rows * heads)
    return pd.DataFrame({"row": row, "head": head, "score": score})


def _uploaded(loaded: Workspace) -> ExternalRanking | None:
    uploaded = st.session_state.get("custom")
    if uploaded is None or uploaded.heads != _heads(loaded):
        return None
    code = (f"rankings['custom'] = read_ranking({uploaded.file!r}, model.grid)",)
    return ExternalRanking("custom", fingerprint(uploaded.values), uploaded.values, uploaded.file, code)


def _left_out(loaded: Workspace) -> ExternalRanking | None:
    result = ablation(loaded)
    if result is None:
        return None
    values = result.found.loss_change
    examples = f"{'held_out' if result.held_out else 'calibration'}.select(range({result.size}))"
    how = f"on {result.size} {'evaluation' if result.held_out else 'calibration'} examples"
    code = (f"rankings['leave_one_out'] = leave_one_out(model, {examples}).loss_change",)
    by_command = not result.held_out and result.size == len(loaded.calibration)
    return ExternalRanking("leave_one_out", fingerprint(values), values, how, code, by_command)


def _greedy(loaded: Workspace, name: str) -> ExternalRanking | None:
    """A complete Greedy-Gnorm run for `loaded`, from its page."""
    result = st.session_state.get("greedy")
    result = result.get(name) if isinstance(result, dict) else result
    run = getattr(result, "trajectory", None)
    usable = getattr(result, "key", None) == loaded.key and getattr(result, "complete", False)
    if not usable or not isinstance(run, GreedyTrajectory) or not run.steps or run.inverse != name.startswith("inverse"):
        return None
    options = {"objective": run.settings.get("objective", "logit_norm"), "dtype": run.settings.get("dtype", "float32")}
    options |= {"inverse": run.inverse, "heads_per_step": run.heads_per_step, "steps": run.steps}
    arguments = ", ".join(f"{option}={value!r}" for option, value in options.items())
    n_examples = run.settings.get("examples", len(loaded.calibration))
    how = f"{run.steps} steps, {run.heads_per_step} heads per step, {n_examples} calibration examples"
    code = (f"rankings[{name!r}] = greedy_gnorm(model, calibration, {arguments}).ranking",)
    by_command = run.heads_per_step == 1 and run.steps >= int(np.prod(run.grid.shape)) - 1
    return ExternalRanking(name, fingerprint(run.ranking), run.ranking, how, code, by_command)


def _heads(loaded: Workspace) -> tuple:
    return *loaded.model_key, loaded.model.grid.shape
