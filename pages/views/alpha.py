"""Alpha: mix importance and entropy, and watch which heads would go."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, alpha_path, prune_mask
from headprune_core.figures import named
from headprune_core.scores.hies import min_max
from pages.parts.alpha_grid import AlphaSetting, HandEdits, alpha_grid, released, stops
from pages.parts.panels import downloads
from pages.parts.session import publish, remember, setting, work

KEY = "alpha_grid"
loaded = work()
scores = loaded.scores
labels = scores.grid.row_labels
publish("alpha", "sparsity", "keep")

st.title("Which heads go, as alpha moves?")
st.markdown(
    "Drag **alpha** to weigh importance against entropy, and **sparsity** to remove more heads. The mask follows the finger."
)


def take_setting() -> None:
    new, edits = released(KEY)
    for name, value in vars(new).items() if new else ():
        remember(name, value)
    if edits:
        st.session_state["hand_edits"] = edits


now = AlphaSetting(setting("alpha"), setting("sparsity"), setting("keep"))
edits = st.session_state.get("hand_edits", HandEdits())
protect, remove = edits.arrays(scores.grid.shape)
constraints = {"protect": protect, "remove": remove}
hies = scores.hies(now.alpha, entropy_direction=now.keep)
problem = path = None
try:
    mask = prune_mask(hies, now.sparsity, **constraints)
    alone = prune_mask(scores.hies(1.0), now.sparsity, **constraints)
    path = alpha_path(scores.his, scores.ae, now.sparsity, entropy_direction=now.keep, **constraints)
except HeadPruneError as error:
    problem = error
with st.container(border=True):
    alpha_grid(
        min_max(scores.his),
        min_max(scores.ae),
        labels,
        now,
        path=path and stops(path, alone),
        edits=edits,
        key=KEY,
        on_change=take_setting,
    )
if problem:
    st.warning(f"There is no such mask: {problem}.", icon=":material/block:")
    st.stop()
held = [part for part in path if part.low <= now.alpha <= part.high and (part.mask == mask).all()]

st.subheader("Against HIS alone")


def listed(which: np.ndarray) -> str:
    return ", ".join(f"{labels[row]}.{head}" for row, head in np.argwhere(which)) or "none"


if (mask == alone).all():
    st.markdown(
        f"At alpha {now.alpha:g} and {now.sparsity:.0%} sparsity the mix removes the same heads as importance alone."
    )
else:
    left, right = st.columns(2)
    left.markdown(f"**Kept, though HIS alone would remove them** (layer.head)  \n{listed(mask & ~alone)}")
    right.markdown(f"**Removed, though HIS alone would keep them** (layer.head)  \n{listed(~mask & alone)}")
holds = f"from {held[0].low:.3f} to {held[0].high:.3f}" if held else "just here, where heads tie"
st.caption(
    f"As alpha runs from 0 to 1 at this sparsity there are {len(path)} different masks; this one holds for alpha {holds}. "
    "Scores are scaled within each layer and ranked over the whole model."
)
row, head = (index.ravel() for index in np.indices(mask.shape))
frame = pd.DataFrame(
    {"row": row, "head": head, "hies": hies.ravel(), "kept": mask.ravel(), "kept_by_his_alone": alone.ravel()}
)
if named(labels):
    frame.insert(1, "layer", np.repeat(labels, scores.grid.shape[1]))
document = {
    "model": loaded.model.name,
    "criterion": "hies",
    "alpha": now.alpha,
    "sparsity": now.sparsity,
    "keep_entropy": now.keep,
    "scores": scores.settings,
}
downloads("mask", frame, document | {"mask": mask.tolist()})
