"""One table of all that is known about each head, a row per head, with the label and unit of every column."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadPruneError, HeadTraits, LeaveOneOut, keep_fraction
from headprune_core.data.measures import SHARES, measure_label
from headprune_core.data.tasks import task_of
from headprune_core.figures.heatmaps import has_custom_labels
from headprune_core.figures.traits.role_style import ROLE_TITLES
from headprune_core.scores.hies import min_max
from pages.parts.alpha.alpha_state import current_alpha_state
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .role_section import roles
from .trait_labels import NO_SHARES, TRAITS


@dataclass(frozen=True, eq=False)
class HeadTable:
    """All that is known about the heads.

    Attributes:
        frame: One row per head, with row, head and the columns of `labels`.
        labels: Label of each column, with its unit.
        shares: Columns from 0 to 1 that are shown in percent.
    """

    frame: pd.DataFrame
    labels: dict[str, str]
    shares: tuple[str, ...]

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers."""
        return [name for name in self.labels if pd.api.types.is_numeric_dtype(self.frame[name])]

    def configured(self) -> dict:
        """Return the `column_config` of the table on a page."""
        found = {name: st.column_config.Column(label) for name, label in self.labels.items()}
        for name in set(self.numbers) - {"row", "head"}:
            kind = "percent" if name in self.shares else "%.4g"
            found[name] = st.column_config.NumberColumn(self.labels[name], format=kind)
        return found


def head_table(
    loaded: Workspace, found: HeadTraits | None = None, ablation: LeaveOneOut | None = None, *, scale: str = "layer"
) -> HeadTable:
    """Return the table of all heads at the session's alpha, sparsity, constraints and role threshold.

    Args:
        loaded: The workspace.
        found: The traits, if they are computed.
        ablation: The leave-one-out ablation, if it was run.
        scale: How HIS and AE are scaled to 0 to 1, "layer" or "global".
    """
    scores, grid = loaded.scores, loaded.scores.grid
    alpha, loss = setting("alpha"), loss_unit(loaded)
    of_loss = f" ({loss})" if loaded.options.objective != "logit_norm" else ""
    columns, shares = _Columns(grid.shape), []
    columns.add("row", "Row" if has_custom_labels(grid.row_labels) else "Layer", np.indices(grid.shape)[0])
    columns.add("head", "Head", np.indices(grid.shape)[1])
    if has_custom_labels(grid.row_labels):
        columns.add("layer", "Layer", np.repeat(np.array(grid.row_labels, dtype=object)[:, None], grid.shape[1], axis=1))
    columns.add("his_scaled", "Scaled HIS (importance, 0–1)", min_max(scores.his, scale))
    columns.add("ae_scaled", "Scaled AE (entropy, 0–1)", min_max(scores.ae, scale))
    columns.add("his", f"HIS{of_loss}", scores.his)
    columns.add("ae", "AE" if loaded.options.entropy == "normalized" else "AE (nats)", scores.ae)
    columns.add("hies", f"HIES (α = {alpha:g})", scores.hies(alpha))
    columns.add("gnorm", "Gnorm", scores.gnorm)
    try:
        columns.add("keep_fraction", "Kept over alpha (% of α range)", keep_fraction(current_alpha_state(loaded).path))
        shares.append("keep_fraction")
    except HeadPruneError:  # the constraints cannot be met; the page Alpha says why
        pass
    if found is not None:
        if (of_heads := roles(loaded)) is not None:
            titles = of_heads.primary.map(ROLE_TITLES).to_numpy(object)
            columns.add("role", f"Role (lift of at least {setting('role_threshold'):.0%})", titles)
        if len(set(found.populations)) > 1:
            columns.add("population", "Kind of attention", np.repeat(found.populations, grid.shape[1]).astype(object))
        for name, label in TRAITS.items():
            if np.isfinite(found.mean(name)).any():
                columns.add(name, label, found.mean(name))
                shares += [] if name in NO_SHARES else [name]
    if ablation is not None:
        columns.add("abs_loss_change", f"|Δloss| without the head ({loss})", ablation.abs_loss_change)
        columns.add("loss_change", f"Δloss without the head ({loss})", ablation.loss_change)
        columns.add("accuracy_drop", f"{measure_label(ablation.measure)} drop without the head", ablation.accuracy_drop)
        shares += ["accuracy_drop"] if ablation.measure in SHARES else []
    return HeadTable(pd.DataFrame(columns.values), columns.labels, tuple(shares))


def loss_unit(loaded: Workspace) -> str:
    """Return the unit of the loss of the loaded model's task."""
    return "nats" if "nats" in task_of(loaded.model).loss else "squared error"


class _Columns:
    """Columns of a table with a row per head, and their labels."""

    def __init__(self, shape: tuple[int, int]):
        self._size = shape[0] * shape[1]
        self.values: dict[str, np.ndarray] = {}
        self.labels: dict[str, str] = {}

    def add(self, name: str, label: str, values: np.ndarray) -> None:
        self.values[name] = np.asarray(values).reshape(self._size)
        self.labels[name] = label
