"""Sources of the mask of a pruned model: Alpha page, pinned mask, curve point, Greedy-Gnorm step, manual, or file.

Every source is a function that draws its widgets and returns a choice, or names the page that provides one.
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
from pages.parts.alpha.pinned_masks import describe_setting, pins
from pages.parts.common.failures import outside, show_error
from pages.parts.common.hosting import hosting
from pages.parts.common.labels import GNORM, HIES, PAGES, SPARSITY
from pages.parts.common.sentences import sentence
from pages.parts.common.workspace import Workspace
from pages.parts.curves.curve_run import CurveResult, curves
from pages.parts.greedy.greedy_run import greedy_results

MOST_MEGABYTES = 4
ACCURACY = PAGES["accuracy"]
SOURCE_HELP = f"The Alpha page ranks heads by the {HIES}, Greedy-Gnorm by the {GNORM}, curves by any criterion."
COLUMN_WIDTH = 58  # pixels, of a head
PERSIST = {"persist_state": "session"}  # settings survive a visit to another page


@dataclass(frozen=True, eq=False)
class Choice:
    """A mask (R, H), its description, and the facts for the model card.

    code: lines of Python that make `mask` from `model` and `scores`; empty if only the mask file has it. settings: scaling
    of HIES, in addition to the settings of the scores.
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
    """Register a source under its label."""

    def register(draw: Callable[[Workspace], Choice | None]) -> Callable[[Workspace], Choice | None]:
        SOURCES[name] = draw
        return draw

    return register


@source("Alpha page")
def _alpha(loaded: Workspace) -> Choice | None:
    try:
        state = current_alpha_state(loaded)
    except HeadPruneError as error:
        st.warning(
            f"The constraints on the Alpha page cannot be met. {outside(sentence(str(error)))}", icon=":material/block:"
        )
        return None
    unconstrained = not state.rules.describe_options(loaded.model.grid)
    alpha, sparsity = state.setting.alpha, state.setting.sparsity
    code = (f"mask = prune_mask(scores.hies({alpha!r}), {sparsity!r})",) if unconstrained else ()
    st.page_link("pages/views/alpha.py", label="Edit this mask on the Alpha page", icon=":material/tune:")
    return Choice(describe_setting(loaded, state), state.mask, "HIES", alpha, sparsity, code, state.rules.scaling)


@source("Pinned mask")
def _pin(loaded: Workspace) -> Choice | None:
    pinned = pins(loaded)
    if not pinned:
        return _missing("No pinned mask yet.", "alpha", "Pin a mask on the Alpha page")
    first = next(iter(pinned))
    if st.session_state.get("prune_pin") not in (*pinned, None):
        del st.session_state["prune_pin"]
    name = st.segmented_control("Pinned mask", list(pinned), default=first, required=True, key="prune_pin", **PERSIST)
    pin = pinned[name if name in pinned else first]
    return Choice(pin.words, pin.mask, "HIES")


@source("Curve point")
def _curve(loaded: Workspace) -> Choice | None:
    result = curves(loaded)
    if result is None or result.curves is None:
        return _missing("No curves yet.", "accuracy", f"Evaluate curves on {ACCURACY.title}")
    frame = result.curves.frame[result.curves.frame.method != "random"]
    if frame.empty:
        text = "The curves hold the random baseline only."
        return _missing(text, "accuracy", f"Evaluate a criterion on {ACCURACY.title}")
    left, right = st.columns(2)
    names = list(dict.fromkeys(frame.method))
    if st.session_state.get("prune_method") not in (*names, None):
        del st.session_state["prune_method"]
    method = left.selectbox("Criterion", names, format_func=method_label, key="prune_method", **PERSIST)
    method = method if method in names else names[0]
    points = frame[frame.method == method].set_index("sparsity")
    shares = sorted(points.index)
    measure = main_measure(frame)

    def describe(share: float) -> str:
        return f"{share:.0%}, {measure} {points.loc[share, measure]:.1%}"

    middle = min(shares, key=lambda share: abs(share - 0.5))
    key = f"prune_point_{len(shares)}"
    if st.session_state.get(key) not in (*shares, None):
        del st.session_state[key]
    share = right.select_slider(SPARSITY, shares, middle, format_func=describe, key=key, **PERSIST)
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
    at = "" if alpha is None or parse_alpha(method) is not None else f" (α = {alpha:g})"
    code = ()
    if given is None:
        ranked = f"get_criterion({method!r}).rank(scores, {request.alpha!r}, None)"
        code = (
            "from headprune_core.masks.criteria import get_criterion",
            f"mask = prune_mask({ranked}, {share!r})",
        )
    return Choice(f"{label}{at}, {share:.0%} sparsity", prune_mask(ranking, share), label, alpha, share, code)


@source("Greedy-Gnorm step")
def _greedy(loaded: Workspace) -> Choice | None:
    runs = {method: result.trajectory for method, result in greedy_results(loaded).items()}
    runs = {method: run for method, run in runs.items() if run is not None and run.steps}
    if not runs:
        return _missing("No Greedy-Gnorm run yet.", "greedy", "Run Greedy-Gnorm on its page")
    left, right = st.columns(2)
    if st.session_state.get("prune_run") not in (*runs, None):
        del st.session_state["prune_run"]
    method = left.selectbox("Run", list(runs), format_func=method_label, key="prune_run", **PERSIST)
    run = runs[method if method in runs else next(iter(runs))]
    default = min(st.session_state.get("greedy_step", run.steps), run.steps)
    step = right.slider("Step", 0, run.steps, default, key=f"prune_step_{method}_{run.steps}", **PERSIST)
    mask = run.mask(step)
    sparsity = float((~mask).mean())
    text = f"{method_label(method)} after {step} step{'s' * (step != 1)}, {sparsity:.0%} sparsity"
    return Choice(text, mask, method_label(method), None, sparsity)


@source("Manual")
def _manual(loaded: Workspace) -> Choice | None:
    grid = loaded.model.grid
    kept, version = _preset(loaded)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Keep all heads", key="hand_all", on_click=_start_from, args=(loaded, np.ones(grid.shape, bool)))
        with suppress(HeadPruneError):  # without a mask on the Alpha page there is no such preset
            mask = current_alpha_state(loaded).mask
            st.button("Use Alpha page mask", key="hand_alpha", on_click=_start_from, args=(loaded, mask))
        st.caption("Start from a preset. A checked box means that the head is kept.")
    table = pd.DataFrame(kept, index=pd.Index(grid.row_labels, name="layer"), columns=[str(h) for h in range(grid.shape[1])])
    edited = st.data_editor(
        table,
        num_rows="fixed",
        disabled=["layer"],
        column_config={name: st.column_config.CheckboxColumn(name, width=COLUMN_WIDTH) for name in table},
        key=f"hand_{version}",
        height="content" if len(table) <= 30 else 600,
    )
    mask = edited.to_numpy(bool)
    st.session_state["hand_edited"] = loaded.key, mask
    return Choice(f"manual mask, {_removed(mask)}", mask, None, None, float((~mask).mean()))


def _preset(loaded: Workspace) -> tuple[np.ndarray, int]:
    """The mask that editing starts from, and its number. After a visit to another page it is the edited mask."""
    preset = st.session_state.get("hand_mask")
    if preset is None or preset[0] != loaded.key:
        _start_from(loaded, np.ones(loaded.model.grid.shape, bool))
    elif f"hand_{preset[2]}" not in st.session_state:
        key, edited = st.session_state.get("hand_edited", (None, None))
        if key == loaded.key and not np.array_equal(edited, preset[1]):
            _start_from(loaded, edited)
    return st.session_state["hand_mask"][1:]


def _start_from(loaded: Workspace, mask: np.ndarray) -> None:
    _, _, number = st.session_state.get("hand_mask", (None, None, -1))
    st.session_state["hand_mask"] = loaded.key, mask, number + 1
    st.session_state["hand_edited"] = loaded.key, mask


@source("File")
def _file(loaded: Workspace) -> Choice | None:
    def keep() -> None:
        file = st.session_state.get("mask_file")
        st.session_state["mask_upload"] = None if file is None else (file.name, file.getvalue())

    st.file_uploader(
        "Mask file",
        type=["json", "csv"],
        key="mask_file",
        on_change=keep,
        max_upload_size=hosting().upload_limit(MOST_MEGABYTES),
        help="mask.json or mask.csv as exported by this page and the command line: columns row, head, kept.",
    )
    upload = st.session_state.get("mask_upload")
    if upload is None:
        st.info("Upload mask.json or mask.csv from an exported zip.", icon=":material/upload_file:")
        return None
    name, content = upload
    try:
        mask = read_mask(content, name, loaded.model.grid)
    except HeadPruneError as error:
        show_error(str(error))
        return None
    return Choice(f"mask from {name}, {_removed(mask)}", mask, None, None, float((~mask).mean()))


def choose(loaded: Workspace) -> Choice | None:
    """Draw the widgets that choose a mask; return the choice, or None if there is none yet."""
    name = st.segmented_control(
        "Mask source",
        list(SOURCES),
        default=next(iter(SOURCES)),
        required=True,
        key="prune_source",
        wrap=True,
        help=SOURCE_HELP,
        **PERSIST,
    )
    return SOURCES.get(name, _alpha)(loaded)


def _removed(mask: np.ndarray) -> str:
    pruned = int((~mask).sum())
    return f"{pruned} head{'s' * (pruned != 1)} pruned"


def _missing(text: str, view: str, label: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(text)
        st.page_link(PAGES[view].script, label=label, icon=PAGES[view].icon)
