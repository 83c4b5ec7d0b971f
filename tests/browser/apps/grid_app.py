"""The alpha grid alone, over random scores, with the rows and heads that the URL sets; below it, the state in Python."""

import json

import numpy as np
import streamlit as st

import headprune_core as hp
from headprune_core.scores.hies import min_max
from pages.parts.alpha_grid import AlphaSetting, ManualOverrides, alpha_grid, path_entries, read_state

st.set_page_config(layout="wide")
rows, heads = (int(st.query_params.get(name, default)) for name, default in (("rows", 6), ("heads", 12)))
his, ae = np.random.default_rng(0).random((2, rows, heads))
state = st.session_state
state.setdefault("now", AlphaSetting(0.5, 0.3, "low"))
state.setdefault("edits", ManualOverrides())


def take():
    setting, edits = read_state("grid")
    state.now, state.edits = setting or state.now, edits or state.edits
    state.told = state.get("told", 0) + 1


least = int(st.query_params.get("min_heads", 0))
protect, remove = state.edits.arrays((rows, heads))
rules = {"min_heads_per_layer": least, "protect": protect, "remove": remove}
try:
    alone = hp.prune_mask(hp.hies(his, ae, 1.0), state.now.sparsity, **rules)
    path = path_entries(hp.alpha_path(his, ae, state.now.sparsity, entropy_direction=state.now.keep, **rules), alone)
    hies = hp.hies(his, ae, state.now.alpha, entropy_direction=state.now.keep)
    mask = hp.prune_mask(hies, state.now.sparsity, **rules).astype(int).ravel().tolist()
except hp.HeadPruneError as error:
    path, mask = None, str(error)
alpha_grid(
    min_max(his),
    min_max(ae),
    [str(row) for row in range(rows)],
    state.now,
    constraints={"min": least},
    path=path,
    edits=state.edits,
    selected=state.setdefault("selected", ()),
    key="grid",
    on_change=take,
    on_select=lambda heads: state.update(selected=heads),
)
known = {"told": state.get("told", 0), **vars(state.now), **vars(state.edits), "mask": mask}
st.html(f"<pre class='known' style='white-space: pre-wrap; overflow-wrap: anywhere'>{json.dumps(known)}</pre>")
