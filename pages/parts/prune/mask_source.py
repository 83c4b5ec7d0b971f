"""Where the mask of a pruned model comes from: alpha, a pin, a curve's point, a Greedy-Gnorm step, by hand, or a file.

Every source is a function that draws what it asks and returns a choice, or says where to get one; the page lists them.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, prune_mask
from headprune_core.masks.criteria import get_criterion, method_label, parse_alpha
from headprune_core.masks.mask_files import read_mask
from headprune_core.measure.curves import main_measure
from pages.parts.alpha.alpha_state import current_alpha_state
from pages.parts.alpha.pinned_masks import pins, describe_setting
from pages.parts.common.shared_ui import plain
from pages.parts.common.workspace import Workspace
from pages.parts.curves.curve_run import CurveResult, curves
from pages.parts.greedy.greedy_run import greedy_results

MOST_MEGABYTES = 4
WIDTH = 58  # pixels of a head's column


@dataclass(frozen=True, eq=False)
class Choice:
    """A mask (R, H), how it came about in words, and what a card says of it.

    code: lines of Python that make `mask` from `model` and `scores`; empty where only the file of the mask has it. settings:
    of the mix, beside those of the scores.
    """

    words: str
    mask: np.ndarray
    criterion: str | None = None
    alpha: float | None = None
    sparsity: float | None = None
    code: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)


SOURCES: dict[str, Callable[[Workspace], Choice | None]] = {}


def source(name: str):
    """Register a source under what people call it."""

    def register(draw: Callable[[Workspace], Choice | None]) -> Callable[[Workspace], Choice | None]:
        SOURCES[name] = draw
        return draw

    return register


@source("Alpha")
def _alpha(loaded: Workspace) -> Choice | None:
    try:
        now = current_alpha_state(loaded)
    except HeadPruneError as error:
        st.warning(f"The rules under Alpha give no mask: {error}.", icon=":material/block:")
        return None
    obeyed, grid = now.rules, loaded.model.grid
    plain = not obeyed.describe_options(grid)
    alpha, sparsity = now.setting.alpha, now.setting.sparsity
    code = (f"mask = prune_mask(scores.hies({alpha!r}), {sparsity!r})",) if plain else ()
    st.page_link("pages/views/alpha.py", label="Set alpha, sparsity and rules under Alpha", icon=":material/tune:")
    return Choice(describe_setting(loaded, now), now.mask, "HIES", alpha, sparsity, code, obeyed.scaling)


@source("Pin")
def _pin(loaded: Workspace) -> Choice | None:
    there = pins(loaded)
    if not there:
        return _missing("No setting is pinned yet.", "alpha", "Pin one under Alpha", ":material/keep:")
    name = st.segmented_control("Pinned setting", list(there), default=next(iter(there)), required=True, key="prune_pin")
    pin = there[name if name in there else next(iter(there))]
    return Choice(pin.words, pin.mask, "HIES")


@source("A curve's point")
def _curve(loaded: Workspace) -> Choice | None:
    result = curves(loaded)
    if result is None or result.curves is None:
        text = "No curve has been measured yet."
        return _missing(text, "accuracy", "Measure curves under Accuracy vs sparsity", ":material/show_chart:")
    frame = result.curves.frame[result.curves.frame.method != "random"]
    if frame.empty:
        text = "Only random removal has been measured."
        return _missing(text, "accuracy", "Measure a criterion under Accuracy vs sparsity", ":material/show_chart:")
    left, right = st.columns(2)
    names = list(dict.fromkeys(frame.method))
    method = left.selectbox("Criterion", names, format_func=method_label, key="prune_method")
    method = method if method in names else names[0]
    points = frame[frame.method == method].set_index("sparsity")
    shares = sorted(points.index)
    measure = main_measure(frame)

    def told(share: float) -> str:
        return f"{share:.0%} removed, {measure} {points.loc[share, measure]:.1%}"

    middle = min(shares, key=lambda share: abs(share - 0.5))
    share = right.select_slider("Point", shares, middle, format_func=told, key=f"prune_point_{len(shares)}")
    return _of_curve(loaded, result, method, float(share))


def _of_curve(loaded: Workspace, result: CurveResult, method: str, share: float) -> Choice:
    request = result.request
    given = request.rankings.get(method)
    ranking = given
    if given is None:
        ranking = get_criterion(method).rank(loaded.scores, request.alpha, np.random.default_rng(0))
    alpha = parse_alpha(method)
    if alpha is None and method in ("hies", "hies_keep_high"):
        alpha = request.alpha
    label = method_label(method)
    at = "" if alpha is None or parse_alpha(method) is not None else f" at alpha {alpha:g}"
    code = ()
    if given is None:
        made = f"get_criterion({method!r}).rank(scores, {request.alpha!r}, None)"
        code = (
            "from headprune_core.masks.criteria import get_criterion",
            f"mask = prune_mask({made}, {share!r})",
        )
    return Choice(f"{label}{at}, {share:.0%} removed", prune_mask(ranking, share), label, alpha, share, code)


@source("Greedy-Gnorm")
def _greedy(loaded: Workspace) -> Choice | None:
    runs = {method: found.trajectory for method, found in greedy_results(loaded).items() if found.trajectory is not None}
    runs = {method: run for method, run in runs.items() if run.steps}
    if not runs:
        text = "Greedy-Gnorm has not been run yet."
        return _missing(text, "greedy", "Run it under Greedy-Gnorm", ":material/low_priority:")
    left, right = st.columns(2)
    method = left.selectbox("Run", list(runs), format_func=method_label, key="prune_run")
    run = runs[method if method in runs else next(iter(runs))]
    default = min(st.session_state.get("greedy_step", run.steps), run.steps)
    step = right.slider("Step", 0, run.steps, default, key=f"prune_step_{method}_{run.steps}")
    mask = run.mask(step)
    removed = float((~mask).mean())
    how = f"{method_label(method)} after {step} steps, {removed:.0%} removed"
    return Choice(how, mask, method_label(method), None, removed)


@source("By hand")
def _by_hand(loaded: Workspace) -> Choice | None:
    grid = loaded.model.grid
    kept, version = _hand(loaded)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("All heads", key="hand_all", on_click=_start_by_hand, args=(loaded, np.ones(grid.shape, bool)))
        with suppress(HeadPruneError):  # where the rules under Alpha give no mask, there is none to start from
            st.button("Alpha's mask", key="hand_alpha", on_click=_start_by_hand, args=(loaded, current_alpha_state(loaded).mask))
        st.caption("Start from one of these; a tick is a head that stays.")
    table = pd.DataFrame(kept, index=pd.Index(grid.row_labels, name="layer"), columns=[str(h) for h in range(grid.shape[1])])
    edited = st.data_editor(
        table,
        num_rows="fixed",
        disabled=["layer"],
        column_config={name: st.column_config.CheckboxColumn(name, width=WIDTH) for name in table},
        key=f"hand_{version}",
        height="content" if len(table) <= 30 else 600,
    )
    mask = edited.to_numpy(bool)
    return Choice(f"by hand, {_removed(mask)}", mask, None, None, float((~mask).mean()))


def _hand(loaded: Workspace) -> tuple[np.ndarray, int]:
    """The mask that editing starts from, and a number that changes with it."""
    held = st.session_state.get("hand_mask")
    if held is None or held[0] != loaded.key:
        held = st.session_state["hand_mask"] = loaded.key, np.ones(loaded.model.grid.shape, bool), held[2] + 1 if held else 0
    return held[1], held[2]


def _start_by_hand(loaded: Workspace, mask: np.ndarray) -> None:
    st.session_state["hand_mask"] = loaded.key, mask, _hand(loaded)[1] + 1


@source("A file")
def _file(loaded: Workspace) -> Choice | None:
    st.file_uploader(
        "A mask",
        type=["json", "csv"],
        key="mask_file",
        max_upload_size=MOST_MEGABYTES,
        help="mask.json or mask.csv, as this page and the command line write them: columns row, head, kept.",
    )
    file = st.session_state.get("mask_file")
    if file is None:
        st.info("Choose a file: mask.json or mask.csv out of an earlier zip.", icon=":material/upload_file:")
        return None
    try:
        mask = read_mask(file.getvalue(), file.name, loaded.model.grid)
    except HeadPruneError as error:
        st.error(f"{plain(str(error))}.", icon=":material/error:")
        return None
    return Choice(f"the mask in {file.name}, {_removed(mask)}", mask, None, None, float((~mask).mean()))


def choose(loaded: Workspace) -> Choice | None:
    """The widgets that choose a mask, and the choice; None where there is none yet."""
    name = st.segmented_control(
        "Which heads go", list(SOURCES), default=next(iter(SOURCES)), required=True, key="prune_source", wrap=True
    )
    return SOURCES.get(name, _alpha)(loaded)


def _removed(mask: np.ndarray) -> str:
    gone = int((~mask).sum())
    return f"{gone} head{'s' * (gone != 1)} removed"


def _missing(text: str, view: str, label: str, icon: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(text)
        st.page_link(f"pages/views/{view}.py", label=label, icon=icon)
