"""Two pinned masks, A and B, compared: overlap, heads that differ, and accuracy on the same evaluation examples."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import MaskEvaluation, evaluate_masks
from headprune_core.data.measures import format_difference, sentence_name
from headprune_core.figures.masks import describe_difference
from headprune_core.measure.mask_evaluation import some_masks
from headprune_core.measure.paired_tests import McNemar, format_p, method_text, significance_text
from headprune_core.report.data import change
from headprune_core.report.pruning_record import Share, share
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress_panel
from pages.parts.common.workspace import Workspace
from pages.parts.head_grid import difference_map, head_grid

from .alpha_state import AlphaState

NAMES = ("A", "B")
MAX_EXAMPLES = 240


@dataclass(frozen=True, eq=False)
class Pin:
    """A pinned mask.

    Attributes:
        key: The key of the workspace that it belongs to.
        words: Its setting in a few words.
        mask: (R, H) bool, True = kept.
        measured: Its main measure on the evaluation examples; None before it is evaluated.
        result: The evaluation of this mask alone, which a paired comparison needs.
    """

    key: str
    words: str
    mask: np.ndarray
    measured: Share | None = None
    result: MaskEvaluation | None = None


def pins(loaded: Workspace) -> dict[str, Pin]:
    """Return the pinned masks of the workspace by name."""
    return {name: pin for name, pin in st.session_state.get("pins", {}).items() if pin.key == loaded.key}


def pin_row(loaded: Workspace, state: AlphaState) -> None:
    """Draw the buttons that pin the current mask or clear both, and the comparison if there are two."""

    def pin(name: str) -> None:
        new = Pin(loaded.key, describe_setting(loaded, state), state.mask)
        st.session_state["pins"] = pins(loaded) | {name: new}

    with st.container(horizontal=True, vertical_alignment="center"):
        for name in NAMES:
            st.button(f"Pin as {name}", icon=":material/keep:", key=f"pin_{name}", on_click=pin, args=(name,))
        if pins(loaded):
            st.button("Clear pins", key="unpin", type="tertiary", on_click=lambda: st.session_state.pop("pins", None))
    pinned = pins(loaded)
    if len(pinned) < len(NAMES):
        current = "".join(f"**{name}**: {one.words}. " for name, one in pinned.items())
        missing = " and ".join(name for name in NAMES if name not in pinned)
        st.caption(f"{current}Choose alpha and sparsity, then pin the mask as {missing} to compare.")
        return
    _comparison(loaded, pinned)


def describe_setting(loaded: Workspace, state: AlphaState) -> str:
    """Return a setting in a few words."""
    constraints = state.rules.describe_options(loaded.scores.grid)
    setting = f"alpha {state.setting.alpha:g}, {state.setting.sparsity:.0%} sparsity"
    return f"{setting}, {constraints}" if constraints else setting


def _comparison(loaded: Workspace, pinned: dict[str, Pin]) -> None:
    labels, (a, b) = loaded.scores.grid.row_labels, (pinned[name] for name in NAMES)
    pruned_by_either = int((~a.mask | ~b.mask).sum())
    jaccard = f"{(~a.mask & ~b.mask).sum() / pruned_by_either:.2f}" if pruned_by_either else "no pruned heads"
    first, second, overlap = st.columns(3)
    for column, name in ((first, "A"), (second, "B")):
        pin = pinned[name]
        value = "not evaluated" if pin.measured is None else pin.measured.text
        interval = None if pin.measured is None else pin.measured.interval
        column.metric(f"Mask {name}", value, interval, delta_color="off", delta_arrow="off", help=pin.words)
        column.caption(f"{sentence(pin.words)} {int(pin.mask.sum())} heads kept.")
    overlap.metric("Overlap of pruned heads", jaccard, help="Jaccard index: heads pruned by both ÷ heads pruned by either")
    overlap.caption(f"{int((a.mask != b.mask).sum())} heads differ.")
    difference = describe_difference(a.mask, b.mask, NAMES, labels)
    head_grid([difference_map("Masks A and B", a.mask, b.mask, NAMES, description=difference)], labels, key="pins_figure")
    st.caption(difference)
    if a.result is not None and b.result is not None:
        st.markdown(_difference(a, b))
    if loaded.evaluation is None or (a.measured is not None and b.measured is not None):
        return
    if runner().busy:
        progress_panel("pins")
    elif st.button("Evaluate both masks", icon=":material/play_arrow:", key="measure_pins"):
        _evaluate(loaded, pinned)
        st.rerun()


def _evaluate(loaded: Workspace, pinned: dict[str, Pin]) -> None:
    """Evaluate both masks in the background."""
    size, cache = min(MAX_EXAMPLES, len(loaded.evaluation)), shared().cache
    # Named instead of hashed: the hashing of datasets redirects the standard output that sessions share.
    examples = loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
    masks = np.stack([pinned[name].mask for name in NAMES])

    def work(progress):
        return evaluate_masks(loaded.model, examples, masks, cache=cache, progress=progress)

    def take(result, complete: bool) -> None:
        evaluated = {
            name: replace(pinned[name], measured=share(result, i), result=some_masks(result, slice(i, i + 1)))
            for i, name in enumerate(NAMES)
        }
        current = st.session_state.get("pins", {})
        # A pin that was replaced while the job ran keeps its new mask.
        st.session_state["pins"] = {
            name: evaluated[name] if pin is pinned.get(name) else pin for name, pin in current.items()
        }

    start_exclusive_job("Evaluating A and B", work, take, "The evaluation of A and B failed")


def table(pinned: dict[str, Pin]) -> pd.DataFrame:
    """Return one line per head: whether A and B keep it."""
    row, head = (index.ravel() for index in np.indices(next(iter(pinned.values())).mask.shape))
    return pd.DataFrame({"row": row, "head": head} | {f"kept_{name}": pin.mask.ravel() for name, pin in pinned.items()})


def _difference(a: Pin, b: Pin) -> str:
    """The paired difference of A and B on the same examples, with its test."""
    test, name, n = change(b.result, a.result), a.measured.name, a.result.losses.shape[1]
    difference, low, high = (format_difference(name, value) for value in (test.difference, test.low, test.high))
    text = f"{difference} (95% CI {low.removesuffix(' pp')} to {high.removesuffix(' pp')}), {significance_text(test)}"
    if not isinstance(test, McNemar):
        return f"Difference in {sentence_name(name)}: {text} (bootstrap over examples; {method_text(test)})."
    return (
        f"A is correct and B wrong on {test.b} of {n} examples; the reverse on {test.c}. Difference in {name}: {text} "
        f"(exact McNemar test, {format_p(test.p_value)}, n = {n})."
    )
