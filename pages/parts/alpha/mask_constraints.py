"""The constraints on every mask along alpha in this session: scaling, entropy direction, limits and manual overrides."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from headprune_core import HeadGrid
from pages.parts.alpha_grid import ManualOverrides
from pages.parts.common import labels
from pages.parts.common.session import remember, setting

SCALES = {"layer": "Per layer", "global": "Global"}
BUDGETS = {"heads": "Heads", "parameters": "Parameters"}
NAMES = ("normalize", "min_heads", "uniform", "whole_groups", "sparsity_unit", "overrides")


@dataclass(frozen=True)
class MaskConstraints:
    """Scaling, limits and manual overrides.

    Attributes:
        keep: Which heads entropy favors: "low" (focused attention) or "high" (diffuse attention).
        scale: Where scores are min–max scaled: "layer" or "global".
        least: Minimum number of heads that every row keeps.
        uniform: Whether every row has the same sparsity.
        whole: Whether KV groups are kept or pruned whole.
        budget: What sparsity is a share of: "heads" or "parameters".
        edits: Heads that are always kept or always pruned.
    """

    keep: str
    scale: str
    least: int
    uniform: bool
    whole: bool
    budget: str
    edits: ManualOverrides

    @property
    def scaling(self) -> dict[str, str]:
        """Arguments of `HeadScores.hies`."""
        return {"normalize": self.scale, "entropy_direction": self.keep}

    def constraints(self, grid: HeadGrid) -> dict[str, object]:
        """Return the arguments of `prune_mask`."""
        protect, remove = self.edits.arrays(grid.shape)
        return {"protect": protect, "remove": remove} | self.bounds(grid)

    def bounds(self, grid: HeadGrid) -> dict[str, object]:
        """Return the arguments of `prune_mask` without the manual overrides."""
        return {
            "min_heads_per_layer": self.least,
            "uniform": self.uniform,
            "groups": grid.kv_group if self.whole and grouped(grid) else None,
            "parameters": grid.parameters_per_head if self.budget == "parameters" and not self.uniform else None,
        }

    def describe_options(self, grid: HeadGrid) -> str:
        """Return the constraints that differ from the defaults; empty if none does."""
        parts = [
            "scaled globally" if self.scale == "global" else "",
            "high-entropy heads kept first" if self.keep == "high" else "",
            f"at least {_heads(self.least)} per layer" if self.least else "",
            "uniform sparsity per layer" if self.uniform else "",
            "KV groups kept whole" if self.whole and grouped(grid) else "",
            "sparsity as a share of parameters" if self.budget == "parameters" and not self.uniform else "",
            f"{_heads(len(self.edits.keep))} set to Always keep" if self.edits.keep else "",
            f"{_heads(len(self.edits.remove))} set to Always prune" if self.edits.remove else "",
        ]
        return ", ".join(part for part in parts if part)


def _heads(count: int) -> str:
    return f"{count} head{'' if count == 1 else 's'}"


def rules(grid: HeadGrid) -> MaskConstraints:
    """Return the constraints of this session; overrides of heads that the model does not have are left out."""
    keep, scale, least, uniform, whole, budget, overrides = map(setting, ("entropy_direction", *NAMES))
    edits = ManualOverrides.parse(overrides)
    inside = [tuple(p for p in places if p[0] < grid.shape[0] and p[1] < grid.shape[1]) for places in vars(edits).values()]
    return MaskConstraints(
        keep, scale, min(least, grid.shape[1]), uniform == "yes", whole == "yes", budget, ManualOverrides(*inside)
    )


def grouped(grid: HeadGrid) -> bool:
    """Return whether several query heads share one KV head."""
    return bool((np.diff(grid.kv_group, axis=1) == 0).any())


def constraints_form(grid: HeadGrid) -> None:
    """Draw the widgets of all constraints but the manual overrides, which are set in the grid."""

    def widget(name: str, key: str, value=lambda chosen: chosen):
        remember(name, value(st.session_state[key]))

    current = rules(grid)
    for key, value in {"rule_scale": current.scale, "rule_least": current.least, "rule_even": current.uniform}.items():
        st.session_state[key] = value
    left, middle, right = st.columns(3)
    left.segmented_control(
        labels.SCORE_SCALING,
        list(SCALES),
        required=True,
        format_func=SCALES.get,
        key="rule_scale",
        on_change=widget,
        args=("normalize", "rule_scale"),
        help="Importance and entropy are min–max scaled to 0–1 before they are combined. The HIES paper scales per layer.",
    )
    middle.slider(
        labels.MIN_HEADS,
        0,
        grid.shape[1],
        key="rule_least",
        on_change=widget,
        args=("min_heads", "rule_least"),
    )
    with right:
        yes = {True: "yes", False: "no"}.get
        st.toggle(labels.UNIFORM, key="rule_even", on_change=widget, args=("uniform", "rule_even", yes))
        if grouped(grid):
            st.session_state["rule_whole"] = current.whole
            st.toggle(
                labels.WHOLE_GROUPS,
                key="rule_whole",
                on_change=widget,
                args=("whole_groups", "rule_whole", yes),
                help="Query heads that share a KV head are kept or pruned together, by their mean score.",
            )
        st.session_state["rule_budget"] = current.budget
        st.segmented_control(
            labels.SPARSITY_UNIT,
            list(BUDGETS),
            required=True,
            format_func=BUDGETS.get,
            key="rule_budget",
            disabled=current.uniform,
            on_change=widget,
            args=("sparsity_unit", "rule_budget"),
        )
