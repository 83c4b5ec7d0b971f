"""Alpha: mix importance and entropy, watch which heads would go, and what alpha changes."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, distinct_masks, keep_fraction
from headprune_core.figures.heatmaps import has_custom_labels
from headprune_core.figures.masks import describe_keep_fraction, keep_fraction_heatmap
from headprune_core.scores.hies import min_max
from pages.parts.alpha.alpha_state import AlphaState, lab
from pages.parts.alpha.mask_constraints import constraints_form, rules
from pages.parts.alpha.pinned_masks import pin_row, pins, table
from pages.parts.alpha_grid import AlphaSetting, alpha_grid, released, stops
from pages.parts.common.session import ALPHA, current_workspace, publish, remember, setting
from pages.parts.common.shared_ui import downloads, page_header

KEY = "alpha_grid"
loaded = current_workspace()
scores, grid = loaded.scores, loaded.scores.grid
labels = grid.row_labels
publish(*ALPHA)

page_header("alpha")
st.markdown(
    "Drag **alpha** to weigh importance against entropy, and **sparsity** to remove more heads. The mask follows the finger."
)


def take_setting() -> None:
    new, edits = released(KEY)
    for name, value in vars(new).items() if new else ():
        remember(name, value)
    if edits is not None:
        remember("overrides", str(edits))


obeyed = rules(grid)
failure: HeadPruneError | None = None
now: AlphaState | None = None
try:
    now = lab(loaded)
except HeadPruneError as error:
    failure = error
with st.container(border=True):
    bounds = obeyed.bounds(grid)
    alpha_grid(
        min_max(scores.his, obeyed.scale),
        min_max(scores.ae, obeyed.scale),
        labels,
        AlphaSetting(setting("alpha"), setting("sparsity"), obeyed.keep),
        constraints={"min": bounds.pop("min_heads_per_layer"), **bounds},
        path=None if now is None else stops(now.path, now.his_alone),
        edits=obeyed.edits,
        key=KEY,
        on_change=take_setting,
    )
    with st.expander("What masks must obey", icon=":material/rule_settings:"):
        constraints_form(grid)
if failure is not None:
    st.error(f"{str(failure)[0].upper()}{str(failure)[1:]}.", icon=":material/error:")
    st.stop()


def listed(which: np.ndarray) -> str:
    return ", ".join(f"{labels[row]}.{head}" for row, head in np.argwhere(which)) or "none"


def against(end: np.ndarray, name: str) -> None:
    """What the mix keeps and removes that one end of alpha would not."""
    st.markdown(f"**Against {name} alone**")
    if (now.mask == end).all():
        st.markdown("The same heads go.")
        return
    st.markdown(f"Kept, though {name} alone would remove them (layer.head): {listed(now.mask & ~end)}")
    st.markdown(f"Removed, though {name} alone would keep them: {listed(~now.mask & end)}")


st.subheader("What alpha changes")
left, right = st.columns(2)
with left:
    against(now.his_alone, "HIS")
with right:
    against(now.ae_alone, "AE")
gone = grid.parameters_per_head[~now.mask].sum()
held = [p for p in now.path if p.low <= now.setting.alpha <= p.high and (p.mask == now.mask).all()]
holds = f"from {held[0].low:.3f} to {held[0].high:.3f}" if held else "just here, where heads tie"
told = obeyed.describe_options(grid)
masks = len(distinct_masks(now.path)[0])
several = f"there are {len(now.path)} intervals with {masks} different masks; this one holds for alpha {holds}"
st.caption(
    f"As alpha runs from 0 to 1 at this sparsity {several if masks > 1 else 'the mask stays the same'}. "
    f"It removes {(~now.mask).sum()} heads with {gone:,.0f} parameters." + (f" {told[0].upper()}{told[1:]}." if told else "")
)

st.subheader("Which heads depend on alpha?")
stays = keep_fraction(now.path)
told = describe_keep_fraction(stays, labels)
st.plotly_chart(keep_fraction_heatmap(stays, labels), alt=told, key="keep_fraction", config={"displaylogo": False})
st.caption(f"{told} A cell is the share of alpha over which the head stays, at {now.setting.sparsity:.0%} sparsity.")

st.subheader("Two settings side by side")
pin_row(loaded, now)

st.subheader("Take it with you")
row, head = (index.ravel() for index in np.indices(now.mask.shape))
columns = {"hies": now.hies, "kept": now.mask, "kept_by_his_alone": now.his_alone, "kept_by_ae_alone": now.ae_alone}
frame = pd.DataFrame(
    {"row": row, "head": head} | {name: value.ravel() for name, value in (columns | {"keep_fraction": stays}).items()}
)
if has_custom_labels(labels):
    frame.insert(1, "layer", np.repeat(labels, grid.shape[1]))
if len(held_fast := pins(loaded)) == 2:
    frame = frame.merge(table(held_fast), on=["row", "head"])
document = {
    "model": loaded.model.name,
    "criterion": "hies",
    **{name: setting(name) for name in ALPHA},
    "scores": scores.settings,
    "mask": now.mask.tolist(),
    "path": [{"low": part.low, "high": part.high, "mask": part.mask.tolist()} for part in now.path],
}
downloads("mask", frame, document)
st.page_link("pages/views/alpha_choice.py", label="Which alpha is best? Measure it", icon=":material/arrow_forward:")
