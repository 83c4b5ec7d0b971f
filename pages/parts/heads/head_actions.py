"""What can be done with the selected heads: keep or prune them on every page, mask them together, clear the selection."""

import streamlit as st

from pages.parts.alpha_grid import ManualOverrides
from pages.parts.common.labels import PAGES
from pages.parts.common.session import remember, setting

from .selection import clear, selection


def head_actions(place: str, *, ablate: bool) -> None:
    """Draw the buttons that act on the selection.

    Args:
        place: Part of the keys of the buttons.
        ablate: Whether to offer the link to the page that masks the heads together.
    """
    count = len(selection())
    what = "this head" if count == 1 else f"these {count} heads"
    with st.container(horizontal=True):
        st.button(
            "Keep these",
            icon=":material/lock:",
            key=f"keep_{place}",
            on_click=_override,
            args=(True,),
            help=f"Set {what} to Always keep, whatever the scores",
        )
        st.button(
            "Prune these",
            icon=":material/content_cut:",
            key=f"prune_{place}",
            on_click=_override,
            args=(False,),
            help=f"Set {what} to Always prune, whatever the scores",
        )
        st.button("Clear selection", icon=":material/close:", key=f"clear_{place}", on_click=clear, help="Select no head")
    if ablate:
        name = "Ablate these together" if count > 1 else f"Open {PAGES['inspector'].title}"
        st.page_link(PAGES["inspector"].script, label=name, icon=":material/search:")


def _override(keep: bool) -> None:
    chosen, edits = selection(), ManualOverrides.parse(setting("overrides"))
    kept, pruned = ([one for one in places if one not in chosen] for places in (edits.keep, edits.remove))
    (kept if keep else pruned).extend(chosen)
    remember("overrides", str(ManualOverrides(tuple(kept), tuple(pruned))))
    names = ", ".join(f"{row}.{head}" for row, head in chosen[:8]) + (" and more" if len(chosen) > 8 else "")
    st.toast(f"Set to Always {'keep' if keep else 'prune'}: {names}. Undo it under **{PAGES['alpha'].title}**.")
