"""The live alpha grid: a layer x head mask updated in the browser during a drag, with the alpha path and manual overrides.

The browser computes `hies` and `prune_mask`, constraints included, in the same order and double precision as Python, so
the masks are identical. Python receives a setting or an override when it is finished.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import streamlit as st

from headprune_core import AlphaInterval

from .script import joined
from .sent_selection import last_message, read_selection

_HERE = Path(__file__).parent
# Streamlit takes one module. The first three files need no page, so tests import them alone.
_FILES = ("masks", "edits", "strip", "lasso", "cells", "selection", "paint", "grid")
SCRIPT = joined(_HERE / f"{name}.js" for name in _FILES)
_component = st.components.v2.component(
    "headprune_alpha_grid", html=(_HERE / "grid.html").read_text(), css=(_HERE / "grid.css").read_text(), js=SCRIPT
)


@dataclass(frozen=True)
class AlphaSetting:
    """Alpha and sparsity, each 0 to 1; keep: which heads entropy favors, "low" (focused) or "high" (diffuse)."""

    alpha: float
    sparsity: float
    keep: str


@dataclass(frozen=True)
class ManualOverrides:
    """Heads (row, head) that are always kept and always pruned, independent of their scores."""

    keep: tuple[tuple[int, int], ...] = ()
    remove: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ManualOverrides":
        """Parse the format of `str`, as in "k0.3,r5.11"; raises ValueError for anything else."""
        places: dict[str, list[tuple[int, int]]] = {"k": [], "r": []}
        for part in filter(None, text.split(",")):
            match = re.fullmatch(r"([kr])(\d+)\.(\d+)", part)
            if match is None:
                raise ValueError(f"{part!r} is not an override; expected k or r and layer.head, as in k0.3")
            places[match[1]].append((int(match[2]), int(match[3])))
        if set(places["k"]) & set(places["r"]):
            raise ValueError("a head is set to both always keep and always prune")
        return cls(tuple(places["k"]), tuple(places["r"]))

    def __str__(self) -> str:
        named = (("k", self.keep), ("r", self.remove))
        return ",".join(f"{kind}{row}.{head}" for kind, places in named for row, head in places)

    def arrays(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return protect and remove for `prune_mask`, each bool (R, H); heads outside `shape` are left out."""
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
    selected: Sequence[tuple[int, int]] = (),
    key: str,
    on_change,
    on_select,
) -> None:
    """Draw the grid.

    Args:
        importance: (R, H) importance, scaled to 0 to 1.
        entropy: (R, H) entropy, scaled to 0 to 1.
        labels: (R) names of the rows.
        setting: Alpha, sparsity and entropy direction.
        constraints: "min" heads that every row keeps, "uniform" (equal sparsity per row), and "groups" and "parameters",
            each (R, H) or None; each may be left out.
        path: `path_entries` at this setting, these constraints and overrides, or None.
        edits: Manual overrides.
        selected: Selected heads as (row, head), which carry a frame.
        key: Key of the component.
        on_change: Called when a setting or an override is finished; `read_state(key)` returns it there.
        on_select: Called with the selected heads, in the order of choice, when the user has changed them.
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
        "selected": [list(head) for head in selected],
        "selection": last_message(key).get("number", 0),
    }

    def take_selection() -> None:
        chosen = read_selection(key, shape)
        if chosen is not None:
            on_select(chosen)

    default = {"setting": None, "sent": None}
    _component(key=key, data=data, default=default, on_setting_change=on_change, on_sent_change=take_selection)


def path_entries(
    path: Sequence[AlphaInterval], his_only: np.ndarray, *, accuracy: Sequence[float | None] | None = None
) -> list[dict]:
    """Return the alpha path in the form that the strip under the grid takes, one entry per interval.

    Args:
        path: Intervals of alpha.
        his_only: (R, H) mask at alpha 1.
        accuracy: One value per interval, if it was evaluated.

    Returns:
        Entries with low and high (the ends), changed (number of heads that differ from `his_only`), id (shared by intervals
        with the same mask), flips (heads row * H + head that change at the low end) and, if given, accuracy.
    """
    known: dict[bytes, int] = {}
    entries, before = [], None
    for part in path:
        flips = [] if before is None else np.flatnonzero(part.mask != before).tolist()
        number = known.setdefault(part.mask.tobytes(), len(known))
        changed = int((part.mask != his_only).sum())
        entries.append({"low": part.low, "high": part.high, "changed": changed, "id": number, "flips": flips})
        before = part.mask
    if accuracy is not None:
        for entry, value in zip(entries, accuracy, strict=True):
            entry["accuracy"] = value
    return entries


def read_state(key: str) -> tuple[AlphaSetting | None, ManualOverrides | None]:
    """Return the setting and overrides that the browser sent last; None in place of one that is invalid."""
    sent = st.session_state[key]["setting"]
    return _as_setting(sent), _as_edits(sent, st.session_state.get(f"{key}_shape", (0, 0)))


def _number(state) -> int:
    """The number of the last state, by which the browser tells late answers from new ones; 0 before the first."""
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
