"""The loaded scores mixed by alpha under this session's rules: masks, both ends, and the exact path. No model run."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from headprune_core import AlphaInterval, alpha_path, prune_mask
from pages.parts.alpha_grid import AlphaSetting
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .mask_constraints import MaskConstraints, rules


@dataclass(frozen=True, eq=False)
class AlphaState:
    """One setting of alpha and sparsity. his_alone, ae_alone: the masks (R, H) at the ends of its path."""

    setting: AlphaSetting
    rules: MaskConstraints
    hies: np.ndarray
    mask: np.ndarray
    his_alone: np.ndarray
    ae_alone: np.ndarray
    path: list[AlphaInterval]


def lab(loaded: Workspace) -> AlphaState:
    """What the session's setting gives. Raises HeadPruneError where its constraints cannot be met together."""
    grid, scores = loaded.scores.grid, loaded.scores
    obeyed = rules(grid)
    now = AlphaSetting(setting("alpha"), setting("sparsity"), obeyed.keep)
    constraints = obeyed.constraints(grid)

    def mask(alpha: float) -> np.ndarray:
        return prune_mask(scores.hies(alpha, **obeyed.scaling), now.sparsity, **constraints)

    hies = scores.hies(now.alpha, **obeyed.scaling)
    return AlphaState(now, obeyed, hies, mask(now.alpha), mask(1.0), mask(0.0), exact_path(loaded, now.sparsity, obeyed))


def exact_path(loaded: Workspace, sparsity: float, obeyed: MaskConstraints) -> list[AlphaInterval]:
    """`alpha_path` of the loaded scores, computed once for each model, text, sparsity and rules."""
    return _path((loaded.key, repr(obeyed)), sparsity, loaded, obeyed)


@st.cache_data(max_entries=64, show_spinner=False)
def _path(key, sparsity: float, _loaded: Workspace, _rules: MaskConstraints) -> list[AlphaInterval]:
    scores = _loaded.scores
    return alpha_path(scores.his, scores.ae, sparsity, **_rules.scaling, **_rules.constraints(scores.grid))
