"""The live alpha grid: sliders and a layer x head mask that is redrawn in the browser while the finger moves.

The browser does the arithmetic of `hies` and `prune_mask` in the same order and the same double precision, so its mask is
Python's to the head. Python hears of a setting when it is let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "headprune_alpha_grid",
    html=(_HERE / "grid.html").read_text(),
    css=(_HERE / "grid.css").read_text(),
    js=(_HERE / "grid.js").read_text(),
)


@dataclass(frozen=True)
class AlphaSetting:
    """alpha and sparsity from 0 to 1; keep is "low" or "high", the entropy that is worth keeping."""

    alpha: float
    sparsity: float
    keep: str


def alpha_grid(
    importance: np.ndarray, entropy: np.ndarray, labels: Sequence[str], setting: AlphaSetting, *, key: str, on_change
) -> None:
    """Draw the grid for scaled importance and entropy (R, H); `on_change` is called when a setting is let go.

    labels (R): what the rows are called.

    Inside `on_change`, `released(key)` gives the new setting.
    """
    data = {"importance": importance.tolist(), "entropy": entropy.tolist(), "labels": list(labels), **vars(setting)}
    _component(key=key, data=data, default={"setting": None}, on_setting_change=on_change)


def released(key: str) -> AlphaSetting | None:
    """The setting that the browser last sent, if it is one."""
    sent = st.session_state[key]["setting"]
    try:
        alpha, sparsity = (min(1.0, max(0.0, float(sent[name]))) for name in ("alpha", "sparsity"))
        return AlphaSetting(alpha, sparsity, "high" if sent["keep"] == "high" else "low")
    except (KeyError, TypeError, ValueError):
        return None
