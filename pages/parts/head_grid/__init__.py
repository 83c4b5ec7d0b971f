"""Maps of all heads in one component: every map of layers and heads on the pages, with the selection that they share.

A click selects a head, Ctrl, Cmd or Shift with a click adds or removes it, a drag selects several. The browser draws a
selection at once and keeps every map that it has seen, so an answer to a click sends no map again.
"""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from headprune_core.figures.heatmaps import row_name
from pages.parts.alpha_grid.script import joined
from pages.parts.alpha_grid.sent_selection import last_message, read_selection
from pages.parts.common.session import current_workspace, remember, setting

from .head_map import HeadMap, Mark
from .state_maps import difference_map, kept_map

__all__ = ["HeadMap", "Mark", "difference_map", "head_grid", "kept_map"]

_HERE = Path(__file__).parent
_FILES = {  # the grid of heads is that of the alpha page
    _HERE.parent / "alpha_grid": ("lasso", "cells", "selection"),
    _HERE: ("files", "picture", "map", "maps"),
}
SCRIPT = joined(folder / f"{name}.js" for folder, names in _FILES.items() for name in names)
_component = st.components.v2.component(
    "headprune_head_grid", html=(_HERE / "maps.html").read_text(), css=(_HERE / "maps.css").read_text(), js=SCRIPT
)
_CHANGED = "head_grid_changed"


def head_grid(maps: Sequence[HeadMap], labels: Sequence[str], *, key: str, in_fragment: bool = False) -> None:
    """Draw maps of the same heads side by side, with the shared selection.

    Args:
        maps: At least one map.
        labels: (R) names of the rows.
        key: Key of the component, and name of its files.
        in_fragment: Whether a fragment draws it; then a selection reruns the whole page, which shows it elsewhere too.
    """
    if in_fragment and st.session_state.pop(_CHANGED, False):
        st.rerun(scope="app")
    documents = dict(one.document() for one in maps)
    known = last_message(key).get("known", ())
    loaded = current_workspace()
    shape = maps[0].levels().shape
    data = {
        "order": list(documents),
        "maps": {name: document for name, document in documents.items() if name not in known},
        "labels": list(labels),
        "rows": [row_name(label) for label in labels],
        "heads": shape[1],
        "selected": [list(head) for head in setting("heads")],
        "answers": last_message(key).get("number", 0),
        "name": key,
        "subtitle": f"{loaded.model.name} · {loaded.text_name}",
    }

    def take() -> None:
        chosen = read_selection(key, shape)
        if chosen is not None and chosen != setting("heads"):
            remember("heads", chosen)
            st.session_state[_CHANGED] = in_fragment

    _component(key=key, data=data, default={"sent": None}, on_sent_change=take)
