"""The live alpha grid: a layer x head mask that is redrawn in the browser while the finger moves, the exact path of alpha
under it, and heads that are kept or removed by hand.

The browser does the arithmetic of `hies` and `prune_mask`, constraints included, in the same order and the same double
precision, so its mask is Python's to the head. Python hears of a setting or an edit when it is finished.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import streamlit as st

from headprune_core import AlphaInterval

_HERE = Path(__file__).parent
# one module to Streamlit, several files to people: each is readable by itself, and the first three need no page
SCRIPT = "\n".join((_HERE / f"{name}.js").read_text() for name in ("masks", "edits", "strip", "lasso", "cells", "grid"))
_component = st.components.v2.component(
    "headprune_alpha_grid", html=(_HERE / "grid.html").read_text(), css=(_HERE / "grid.css").read_text(), js=SCRIPT
)


@dataclass(frozen=True)
class AlphaSetting:
    """alpha and sparsity from 0 to 1; keep is "low" or "high", the entropy that is worth keeping."""

    alpha: float
    sparsity: float
    keep: str


@dataclass(frozen=True)
class ManualOverrides:
    """Heads (row, head) that are kept always and that are removed always, whatever their score."""

    keep: tuple[tuple[int, int], ...] = ()
    remove: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ManualOverrides":
        """From what `str` gives, as in "k0.3,r5.11"; ValueError where it is something else."""
        places: dict[str, list[tuple[int, int]]] = {"k": [], "r": []}
        for part in filter(None, text.split(",")):
            found = re.fullmatch(r"([kr])(\d+)\.(\d+)", part)
            if found is None:
                raise ValueError(f"{part!r} where k or r and row.head was expected, as in k0.3")
            places[found[1]].append((int(found[2]), int(found[3])))
        if set(places["k"]) & set(places["r"]):
            raise ValueError("a head that is kept and removed at once")
        return cls(tuple(places["k"]), tuple(places["r"]))

    def __str__(self) -> str:
        named = (("k", self.keep), ("r", self.remove))
        return ",".join(f"{kind}{row}.{head}" for kind, places in named for row, head in places)

    def arrays(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The two as bool (R, H): what `prune_mask` calls protect and remove. Places outside of `shape` are left out."""
        masks = np.zeros((2, *shape), bool)
        for mask, places in zip(masks, (self.keep, self.remove), strict=True):
            for row, head in places:
                if row < shape[0] and head < shape[1]:
                    mask[row, head] = True
        return masks[0], masks[1]


def alpha_grid(
    importance: np.ndarray,
    entropy: np.ndarray,
    labels: Sequence[str],
    setting: AlphaSetting,
    *,
    constraints: Mapping | None = None,
    path: Sequence[Mapping] | None = None,
    edits: ManualOverrides | None = None,
    key: str,
    on_change,
) -> None:
    """Draw the grid for scaled importance and entropy (R, H); `on_change` is called when a setting or an edit is finished.

    labels (R): what the rows are called. constraints: "min" heads that every row keeps, "even" (as many in every row),
    "groups" and "parameters" (R, H) or None; each may be left out. path: `stops` of the exact path at this setting,
    these constraints and edits, or None. Inside `on_change`, `released(key)` gives what is new.
    """
    edits, shape = edits or ManualOverrides(), importance.shape
    st.session_state[f"{key}_shape"] = shape
    given = {"min": 0, "uniform": False, "groups": None, "parameters": None} | dict(constraints or {})
    data = {
        "importance": importance.tolist(),
        "entropy": entropy.tolist(),
        "labels": list(labels),
        **vars(setting),
        "constraints": {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in given.items()},
        "path": None if path is None else list(path),
        "edits": {name: [list(place) for place in places] for name, places in vars(edits).items()},
        "answers": _number(st.session_state.get(key)),
    }
    _component(key=key, data=data, default={"setting": None}, on_setting_change=on_change)


def stops(path: Sequence[AlphaInterval], alone: np.ndarray, *, accuracy: Sequence[float | None] | None = None) -> list[dict]:
    """The exact path as the strip under the grid takes it, one entry an interval:

    low, high: its ends. changed: heads on which it differs from `alone` (R, H), the mask of HIS alone. id: a number that
    intervals with the same mask share. flips: heads (row * H + head) that change where it begins. accuracy: if given.
    """
    known: dict[bytes, int] = {}
    entries, before = [], None
    for part in path:
        flips = [] if before is None else np.flatnonzero(part.mask != before).tolist()
        number = known.setdefault(part.mask.tobytes(), len(known))
        changed = int((part.mask != alone).sum())
        entries.append({"low": part.low, "high": part.high, "changed": changed, "id": number, "flips": flips})
        before = part.mask
    if accuracy is not None:
        for entry, value in zip(entries, accuracy, strict=True):
            entry["accuracy"] = value
    return entries


def released(key: str) -> tuple[AlphaSetting | None, ManualOverrides | None]:
    """The setting and the edits that the browser last sent; None in place of one that is none."""
    sent = st.session_state[key]["setting"]
    return _as_setting(sent), _as_edits(sent, st.session_state.get(f"{key}_shape", (0, 0)))


def _number(state) -> int:
    """Of the state that the browser sent last, by which it tells a late answer from a new one; 0 before the first."""
    try:
        return int(state["setting"]["number"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def _as_setting(sent) -> AlphaSetting | None:
    try:
        alpha, sparsity = (float(sent[name]) for name in ("alpha", "sparsity"))
        if not (isfinite(alpha) and isfinite(sparsity) and sent["keep"] in ("low", "high")):
            return None
        return AlphaSetting(min(1.0, max(0.0, alpha)), min(1.0, max(0.0, sparsity)), sent["keep"])
    except (KeyError, TypeError, ValueError):
        return None


def _as_edits(sent, shape: tuple[int, int]) -> ManualOverrides | None:
    try:
        keep, remove = (tuple((row, head) for row, head in sent["edits"][name]) for name in ("keep", "remove"))
    except (KeyError, TypeError, ValueError):
        return None
    places = {*keep, *remove} if all(type(n) is int for place in (*keep, *remove) for n in place) else {(-1, -1)}
    inside = all(0 <= row < shape[0] and 0 <= head < shape[1] for row, head in places)
    return ManualOverrides(keep, remove) if inside and len(places) == len(keep) + len(remove) else None
