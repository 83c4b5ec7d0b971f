"""The prediction for one text: with all heads, under the current mask, and without the selected heads."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, TextPrediction, predict_text
from pages.parts.alpha.alpha_state import current_alpha_state
from pages.parts.common.labels import PAGES
from pages.parts.common.sentences import plain
from pages.parts.common.workspace import Workspace

from .selection import selection
from .text_choice import ChosenText

MOST_KEPT = 16  # results that a session keeps
_TITLES = {
    "class": "Class",
    "labels": "Label",
    "numbers": "Output",
    "tags": "Tag",
    "next token": "Next token",
    "first token": "First token of the output",
}


def prediction_section(loaded: Workspace, chosen: ChosenText) -> None:
    """Show the prediction and its probabilities under each mask.

    Args:
        loaded: The workspace.
        chosen: The text.

    Raises:
        HeadPruneError: If the text cannot be read.
    """
    masks, problem = _masks(loaded)
    found = _predicted(loaded, chosen, masks)
    st.header("Prediction", anchor=False)
    for note in found.notes:
        st.caption(plain(note))
    if found.positions:
        st.dataframe(
            pd.DataFrame({"Token": found.positions} | dict(zip(masks, found.decisions, strict=True))), hide_index=True
        )
    else:
        columns = st.columns(len(masks))
        for column, name, (decision,), values in zip(columns, masks, found.decisions, found.values[:, 0], strict=True):
            share = None if found.kind in ("numbers", "labels") else f"{values.max():.1%}"
            column.metric(name, plain(decision), share, delta_color="off", delta_arrow="off")
        st.dataframe(_table(found, list(masks)), hide_index=True, column_config=_columns(found, list(masks)))
    if problem:
        st.caption(problem)
    changed = [name.lower() for name, made in zip(masks, found.decisions, strict=True) if made != found.decisions[0]]
    if changed and found.kind != "numbers":
        st.markdown(f"The prediction changes with: {', '.join(changed)}.")
    if not selection():
        st.caption("Click heads on the maps below to see the prediction without them.")


def _masks(loaded: Workspace) -> tuple[dict[str, np.ndarray], str]:
    """The masks that are compared by name, and a sentence if the current mask cannot be used."""
    masks, problem = {"All heads": np.ones(loaded.model.grid.shape, bool)}, ""
    try:
        state = current_alpha_state(loaded)
        masks["Current mask"] = state.mask
        problem = (
            f"Current mask: HIES with α = {state.setting.alpha:g} at {state.setting.sparsity:.0%} sparsity prunes "
            f"{(~state.mask).sum()} heads. Change it under **{PAGES['alpha'].title}**."
        )
    except HeadPruneError as error:
        problem = f"The constraints under Alpha cannot be met: {plain(str(error))}."
    if chosen := selection():
        name = f"Without head {chosen[0][0]}.{chosen[0][1]}" if len(chosen) == 1 else f"Without {len(chosen)} heads"
        masks[name] = np.ones(loaded.model.grid.shape, bool)
        masks[name][tuple(zip(*chosen, strict=True))] = False
    return masks, problem


def _predicted(loaded: Workspace, chosen: ChosenText, masks: dict[str, np.ndarray]) -> TextPrediction:
    known: dict = st.session_state.setdefault("predictions", {})
    key = loaded.model_key, chosen, b"".join(mask.tobytes() for mask in masks.values())
    if key not in known:
        with st.spinner("Predicting…"):
            known[key] = predict_text(loaded.model, chosen.text, np.stack(list(masks.values())), pair=chosen.pair)
        while len(known) > MOST_KEPT:
            del known[next(iter(known))]
    return known[key]


def _table(found: TextPrediction, names: list[str]) -> pd.DataFrame:
    values = {name: found.values[number, 0] for number, name in enumerate(names)}
    return pd.DataFrame({_TITLES[found.kind]: list(found.names)} | values)


def _columns(found: TextPrediction, names: list[str]) -> dict:
    if found.kind == "numbers":
        return {name: st.column_config.NumberColumn(name, format="%.4g") for name in names}
    return {name: st.column_config.ProgressColumn(name, min_value=0.0, max_value=1.0, format="percent") for name in names}
