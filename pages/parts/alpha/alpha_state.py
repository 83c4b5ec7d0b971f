"""The loaded scores combined at this session's alpha, under its constraints: masks and the exact alpha path."""

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
    """Scores and masks at one setting of alpha and sparsity.

    Attributes:
        setting: Alpha, sparsity and entropy direction.
        rules: The constraints on every mask.
        hies: (R, H) HIES at this alpha.
        mask: (R, H) bool, True = kept.
        his_only: The mask at alpha 1.
        ae_only: The mask at alpha 0.
        path: All intervals of alpha at this sparsity.
    """

    setting: AlphaSetting
    rules: MaskConstraints
    hies: np.ndarray
    mask: np.ndarray
    his_only: np.ndarray
    ae_only: np.ndarray
    path: list[AlphaInterval]


def current_alpha_state(loaded: Workspace) -> AlphaState:
    """Return the masks at the session's setting; the engine raises HeadPruneError for conflicting constraints."""
    grid, scores = loaded.scores.grid, loaded.scores
    session_rules = rules(grid)
    current = AlphaSetting(setting("alpha"), setting("sparsity"), session_rules.keep)
    constraints = session_rules.constraints(grid)

    def mask(alpha: float) -> np.ndarray:
        return prune_mask(scores.hies(alpha, **session_rules.scaling), current.sparsity, **constraints)

    hies = scores.hies(current.alpha, **session_rules.scaling)
    path = exact_path(loaded, current.sparsity, session_rules)
    return AlphaState(current, session_rules, hies, mask(current.alpha), mask(1.0), mask(0.0), path)


def exact_path(loaded: Workspace, sparsity: float, constraints: MaskConstraints) -> list[AlphaInterval]:
    """Return `alpha_path` of the loaded scores, cached by model, dataset, sparsity and constraints."""
    return _path((loaded.key, repr(constraints)), sparsity, loaded, constraints)


@st.cache_data(max_entries=64, show_spinner=False)
def _path(key, sparsity: float, _loaded: Workspace, _constraints: MaskConstraints) -> list[AlphaInterval]:
    scores = _loaded.scores
    return alpha_path(scores.his, scores.ae, sparsity, **_constraints.scaling, **_constraints.constraints(scores.grid))
