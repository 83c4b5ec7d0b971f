"""Two settings of alpha held fast, A and B, side by side: where their masks differ, and what each is worth."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import evaluate_masks
from headprune_core.figures.masks import describe_difference, mask_difference
from headprune_core.measure.curves import wilson
from headprune_core.measure.paired_tests import mcnemar
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress_panel
from pages.parts.common.workspace import Workspace

from .alpha_state import AlphaState

NAMES = ("A", "B")
TEXTS = 240  # to answer, when both are measured


@dataclass(frozen=True, eq=False)
class Pin:
    """A mask, how it came about, and for which scores. right (N,): which texts are answered right, once measured."""

    key: str
    words: str
    mask: np.ndarray
    right: np.ndarray | None = None


def pins(loaded: Workspace) -> dict[str, Pin]:
    """Those of the loaded scores, by name."""
    return {name: pin for name, pin in st.session_state.get("pins", {}).items() if pin.key == loaded.key}


def pin_row(loaded: Workspace, now: AlphaState) -> None:
    """Buttons that hold the present setting fast, and let both go."""

    def hold(name: str) -> None:
        st.session_state["pins"] = pins(loaded) | {name: Pin(loaded.key, words(loaded, now), now.mask)}

    with st.container(horizontal=True, vertical_alignment="center"):
        for name in NAMES:
            st.button(f"Pin as {name}", icon=":material/keep:", key=f"pin_{name}", on_click=hold, args=(name,))
        if pins(loaded):
            st.button("Let go", key="unpin", type="tertiary", on_click=lambda: st.session_state.pop("pins", None))
    there = pins(loaded)
    if len(there) < len(NAMES):
        held = f"**A**: {there['A'].words}. " if "A" in there else f"**B**: {there['B'].words}. " if there else ""
        missing = " and ".join(name for name in NAMES if name not in there)
        st.caption(f"{held}Set alpha or sparsity, pin it as {missing}, and read the difference here.")
        return
    both(loaded, there)


def words(loaded: Workspace, now: AlphaState) -> str:
    """A setting in a few words."""
    told = now.rules.describe_options(loaded.scores.grid)
    return f"alpha {now.setting.alpha:g}, {now.setting.sparsity:.0%} removed" + (f", {told}" if told else "")


def both(loaded: Workspace, there: dict[str, Pin]) -> None:
    """A and B side by side."""
    labels, (a, b) = loaded.scores.grid.row_labels, (there[name] for name in NAMES)
    removed = int((~a.mask | ~b.mask).sum())
    jaccard = f"{(~a.mask & ~b.mask).sum() / removed:.2f}" if removed else "none goes"
    for column, name in zip(st.columns(3), (*NAMES, "both"), strict=True):
        if name in there:
            pin = there[name]
            value = "not measured" if pin.right is None else f"{pin.right.mean():.1%}"
            column.metric(name, value, _interval(pin), delta_color="off", delta_arrow="off", help=pin.words)
            column.caption(f"{pin.words[0].upper()}{pin.words[1:]}: {int(pin.mask.sum())} heads kept")
        else:
            column.metric("Overlap of what goes", jaccard, help="Jaccard: removed by both, of those removed by either")
            column.caption(f"{int((a.mask != b.mask).sum())} heads have another fate")
    told = describe_difference(a.mask, b.mask, NAMES, labels)
    st.plotly_chart(
        mask_difference(a.mask, b.mask, NAMES, labels), alt=told, key="pins_figure", config={"displaylogo": False}
    )
    st.caption(told)
    if a.right is not None and b.right is not None and a.right.dtype == bool:
        test = mcnemar(a.right, b.right)
        st.markdown(
            f"On the same {len(a.right)} texts A is right alone on {test.b} and B alone on {test.c}: a difference of "
            f"{100 * test.difference:+.1f} points (95 % interval {100 * test.low:+.1f} to {100 * test.high:+.1f}), "
            f"{'more' if test.p_value < 0.05 else 'no more'} than chance (exact McNemar, p {test.p_value:.2g})."
        )
    if loaded.evaluation is None or (a.right is not None and b.right is not None):
        return
    if runner().busy:
        progress_panel("pins")
    elif st.button("Measure both", icon=":material/play_arrow:", key="measure_pins"):
        measure(loaded, there)
        st.rerun()


def measure(loaded: Workspace, there: dict[str, Pin]) -> None:
    """Answer texts under both masks, in the background."""
    size, cache = min(TEXTS, len(loaded.evaluation)), shared().cache
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    texts = loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")
    masks = np.stack([there[name].mask for name in NAMES])

    def work(progress):
        return evaluate_masks(loaded.model, texts, masks, cache=cache, progress=progress)

    def take(found, whole: bool) -> None:
        bools = found.logits is not None
        right = found.right.astype(bool) if bools else found.right
        measured = {name: replace(there[name], right=right[i]) for i, name in enumerate(NAMES)}
        held = st.session_state.get("pins", {})
        st.session_state["pins"] = {n: measured[n] if held[n] is there.get(n) else held[n] for n in held}

    start_exclusive_job("Measuring A and B", work, take, "A and B could not be measured")


def table(there: dict[str, Pin]) -> pd.DataFrame:
    """One line for each head: what becomes of it under A and under B."""
    row, head = (index.ravel() for index in np.indices(next(iter(there.values())).mask.shape))
    return pd.DataFrame({"row": row, "head": head} | {f"kept_{name}": pin.mask.ravel() for name, pin in there.items()})


def _interval(pin: Pin) -> str | None:
    if pin.right is None:
        return None
    low, high = wilson(pin.right.sum(), len(pin.right))
    return f"{low:.1%} to {high:.1%}"
