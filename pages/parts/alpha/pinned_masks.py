"""Two pinned masks, A and B, compared: overlap, heads that differ, and accuracy on the same evaluation examples."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import evaluate_masks
from headprune_core.figures.masks import describe_difference, mask_difference
from headprune_core.measure.curves import wilson
from headprune_core.measure.paired_tests import format_p, is_significant, mcnemar
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress_panel
from pages.parts.common.workspace import Workspace

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
        right: (N,) which evaluation examples it predicts correctly; None before it is evaluated.
    """

    key: str
    words: str
    mask: np.ndarray
    right: np.ndarray | None = None


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
        accuracy = "not evaluated" if pin.right is None else f"{pin.right.mean():.1%}"
        column.metric(f"Mask {name}", accuracy, _interval(pin), delta_color="off", delta_arrow="off", help=pin.words)
        column.caption(f"{sentence(pin.words)} {int(pin.mask.sum())} heads kept.")
    overlap.metric("Overlap of pruned heads", jaccard, help="Jaccard index: heads pruned by both ÷ heads pruned by either")
    overlap.caption(f"{int((a.mask != b.mask).sum())} heads differ.")
    difference = describe_difference(a.mask, b.mask, NAMES, labels)
    st.plotly_chart(
        mask_difference(a.mask, b.mask, NAMES, labels), alt=difference, key="pins_figure", config={"displaylogo": False}
    )
    st.caption(difference)
    if a.right is not None and b.right is not None and a.right.dtype == bool:
        test = mcnemar(a.right, b.right)
        significant = "significant" if is_significant(test) else "not significant"
        st.markdown(
            f"A is correct and B wrong on {test.b} of {len(a.right)} examples; the reverse on {test.c}. Difference in "
            f"accuracy: {100 * test.difference:+.1f} pp (95% CI {100 * test.low:+.1f} to {100 * test.high:+.1f}), "
            f"{significant} at the 5% level (exact McNemar test, {format_p(test.p_value)}, n = {len(a.right)})."
        )
    if loaded.evaluation is None or (a.right is not None and b.right is not None):
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
        right = result.right.astype(bool) if result.logits is not None else result.right
        evaluated = {name: replace(pinned[name], right=right[i]) for i, name in enumerate(NAMES)}
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


def _interval(pin: Pin) -> str | None:
    if pin.right is None:
        return None
    low, high = wilson(pin.right.sum(), len(pin.right))
    return f"{low:.1%} to {high:.1%}"
