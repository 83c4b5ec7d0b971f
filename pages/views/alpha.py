"""Alpha: combine importance and entropy, see the pruning mask change, and compare masks."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, distinct_masks, keep_fraction
from headprune_core.figures.heatmaps import has_custom_labels
from headprune_core.figures.masks import describe_keep_fraction
from headprune_core.scores.hies import min_max
from pages.parts.alpha.alpha_state import AlphaState, current_alpha_state
from pages.parts.alpha.mask_constraints import constraints_form, grouped, rules
from pages.parts.alpha.pinned_masks import pin_row, pins, table
from pages.parts.alpha_grid import AlphaSetting, alpha_grid, path_entries, read_state
from pages.parts.common import labels
from pages.parts.common.failures import show_error
from pages.parts.common.score_code import mask_command, mask_python
from pages.parts.common.session import ALPHA, current_workspace, publish, remember, setting
from pages.parts.common.shared_ui import copy_as_code, downloads, page_header
from pages.parts.head_grid import HeadMap, head_grid
from pages.parts.heads.selection import select, selection

KEY = "alpha_grid"
loaded = current_workspace()
scores, grid = loaded.scores, loaded.scores.grid
row_labels = grid.row_labels
publish(*ALPHA)

page_header("alpha")
st.markdown(
    f"The {labels.HIES} is α times the scaled {labels.HIS} plus (1 − α) times one minus the scaled {labels.AE}. "
    "Drag **alpha** to trade importance against entropy and **sparsity** to prune more heads. The mask updates as you drag."
    + (f" This model uses {labels.GQA}: several query heads share one {labels.KV} head." if grouped(grid) else "")
)


def take_setting() -> None:
    """Take over what the grid sends: a new setting, manual overrides, or both."""
    new, edits = read_state(KEY)
    for name, value in vars(new).items() if new else ():
        remember("entropy_direction" if name == "keep" else name, value)
    if edits is not None:
        remember("overrides", str(edits))


constraints = rules(grid)
failure: HeadPruneError | None = None
state: AlphaState | None = None
try:
    state = current_alpha_state(loaded)
except HeadPruneError as error:
    failure = error
with st.container(border=True):
    bounds = constraints.bounds(grid)
    alpha_grid(
        min_max(scores.his, constraints.scale),
        min_max(scores.ae, constraints.scale),
        row_labels,
        AlphaSetting(setting("alpha"), setting("sparsity"), constraints.keep),
        constraints={"min": bounds.pop("min_heads_per_layer"), **bounds},
        path=None if state is None else path_entries(state.path, state.his_only),
        edits=constraints.edits,
        selected=selection(),
        key=KEY,
        on_change=take_setting,
        on_select=select,
    )
    with st.expander("Mask constraints", icon=":material/rule_settings:"):
        constraints_form(grid)
if failure is not None:
    show_error(str(failure))
    st.stop()


def list_heads(which: np.ndarray) -> str:
    """Return heads as layer.head, as in "3.5, 4.0"."""
    return ", ".join(f"{row_labels[row]}.{head}" for row, head in np.argwhere(which)) or "none"


def compare_with(end: np.ndarray, name: str) -> None:
    """List the heads on which the current mask differs from that at one end of alpha."""
    st.markdown(f"**Compared with {name} only**")
    if (state.mask == end).all():
        st.markdown("Same mask.")
        return
    st.markdown(f"Kept here, pruned by {name} only (layer.head): {list_heads(state.mask & ~end)}")
    st.markdown(f"Pruned here, kept by {name} only (layer.head): {list_heads(~state.mask & end)}")


st.header("Effect of alpha")
left, right = st.columns(2)
with left:
    compare_with(state.his_only, "HIS")
with right:
    compare_with(state.ae_only, "AE")
parameters = grid.parameters_per_head[~state.mask].sum()
inside = [p for p in state.path if p.low <= state.setting.alpha <= p.high and (p.mask == state.mask).all()]
holds = f"for alpha {inside[0].low:.3f} to {inside[0].high:.3f}" if inside else "only at this value (tied scores)"
options = constraints.describe_options(grid)
masks = len(distinct_masks(state.path)[0])
path_text = (
    f"At this sparsity, alpha 0 to 1 splits into {len(state.path)} intervals with {masks} distinct masks. The current mask "
    f"holds {holds}."
    if masks > 1
    else "At this sparsity, the mask is the same for every alpha."
)
st.caption(
    f"{path_text} It prunes {(~state.mask).sum()} heads with {parameters:,.0f} parameters. "
    + (f"Constraints: {options}." if options else "")
)

st.header("Heads that depend on alpha")
kept_share = keep_fraction(state.path)
text = describe_keep_fraction(kept_share, row_labels)
head_grid(
    [
        HeadMap(
            "keep_fraction",
            "Share of the alpha range in which a head is kept",
            kept_share,
            role="hies",
            short="kept for",
            unit="of the alpha range",
            limits=(0.0, 1.0),
            percent=True,
            ends=("pruned at every alpha", "kept at every alpha"),
            description=text,
        )
    ],
    row_labels,
    key="keep_fraction",
)
st.caption(
    f"{text} Each cell: fraction of the alpha range in which the head is kept, at {state.setting.sparsity:.0%} sparsity."
)

st.header("Compare two masks")
pin_row(loaded, state)

st.header(labels.DOWNLOAD)
row, head = (index.ravel() for index in np.indices(state.mask.shape))
columns = {
    "hies": state.hies,
    "kept": state.mask,
    "kept_by_his_alone": state.his_only,
    "kept_by_ae_alone": state.ae_only,
    "keep_fraction": kept_share,
}
frame = pd.DataFrame({"row": row, "head": head} | {name: value.ravel() for name, value in columns.items()})
if has_custom_labels(row_labels):
    frame.insert(1, "layer", np.repeat(row_labels, grid.shape[1]))
if len(pinned := pins(loaded)) == 2:
    frame = frame.merge(table(pinned), on=["row", "head"])
document = {
    "model": loaded.model.name,
    "criterion": "hies",
    **{name: setting(name) for name in ALPHA},
    "scores": scores.settings,
    "mask": state.mask.tolist(),
    "path": [{"low": part.low, "high": part.high, "mask": part.mask.tolist()} for part in state.path],
}
downloads("mask", frame, document)
arguments = (loaded, setting("alpha"), setting("sparsity"), constraints.scaling, constraints.constraints(grid))
copy_as_code(mask_python(*arguments), mask_command(*arguments), "alpha")
st.page_link(
    labels.PAGES["alpha_choice"].script, label=f"Open {labels.PAGES['alpha_choice'].title}", icon=":material/arrow_forward:"
)
