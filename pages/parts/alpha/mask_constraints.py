"""What every mask along alpha obeys in this session: scaling, entropy direction, constraints, and heads set by hand."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from headprune_core import HeadGrid
from pages.parts.alpha_grid import ManualOverrides
from pages.parts.common.session import remember, setting

SCALES = {"layer": "In each layer", "global": "Whole model"}
BUDGETS = {"heads": "Heads", "parameters": "Parameters"}
NAMES = ("normalize", "min_heads", "uniform", "whole_groups", "sparsity_unit", "overrides")


@dataclass(frozen=True)
class MaskConstraints:
    """keep: the entropy worth keeping, "low" or "high". scale: "layer" or "global". least: heads that every row keeps. even:
    every row loses as many. whole: key-value groups go or stay whole. budget: what sparsity is a share of."""

    keep: str
    scale: str
    least: int
    uniform: bool
    whole: bool
    budget: str
    edits: ManualOverrides

    @property
    def scaling(self) -> dict[str, str]:
        """As arguments of `hies`."""
        return {"normalize": self.scale, "entropy_direction": self.keep}

    def constraints(self, grid: HeadGrid) -> dict[str, object]:
        """As arguments of `prune_mask`."""
        protect, remove = self.edits.arrays(grid.shape)
        return {"protect": protect, "remove": remove} | self.bounds(grid)

    def bounds(self, grid: HeadGrid) -> dict[str, object]:
        """Those without the heads set by hand."""
        return {
            "min_heads_per_layer": self.least,
            "uniform": self.uniform,
            "groups": grid.kv_group if self.whole and grouped(grid) else None,
            "parameters": grid.parameters_per_head if self.budget == "parameters" and not self.uniform else None,
        }

    def describe_options(self, grid: HeadGrid) -> str:
        """What is asked for beyond a sparsity; empty where nothing is."""
        told = [
            "scaled over the whole model" if self.scale == "global" else "",
            "high entropy is worth keeping" if self.keep == "high" else "",
            f"at least {self.least} heads in every layer" if self.least else "",
            "as many from every layer" if self.uniform else "",
            "key-value groups whole" if self.whole and grouped(grid) else "",
            "sparsity counts parameters" if self.budget == "parameters" and not self.uniform else "",
            f"{len(self.edits.keep)} heads kept by hand" if self.edits.keep else "",
            f"{len(self.edits.remove)} removed by hand" if self.edits.remove else "",
        ]
        return ", ".join(part for part in told if part)


def rules(grid: HeadGrid) -> MaskConstraints:
    """The session's, or its link's."""
    keep, scale, least, uniform, whole, budget, hand = map(setting, ("entropy_direction", *NAMES))
    edits = ManualOverrides.parse(hand)
    inside = [tuple(p for p in places if p[0] < grid.shape[0] and p[1] < grid.shape[1]) for places in vars(edits).values()]
    return MaskConstraints(
        keep, scale, min(least, grid.shape[1]), uniform == "yes", whole == "yes", budget, ManualOverrides(*inside)
    )


def grouped(grid: HeadGrid) -> bool:
    """Whether several query heads read one key-value head."""
    return bool((np.diff(grid.kv_group, axis=1) == 0).any())


def constraints_form(grid: HeadGrid) -> None:
    """Widgets for all but the heads set by hand, which the grid takes."""

    def widget(name: str, key: str, value=lambda chosen: chosen):
        remember(name, value(st.session_state[key]))

    now = rules(grid)
    for key, value in {"rule_scale": now.scale, "rule_least": now.least, "rule_even": now.uniform}.items():
        st.session_state[key] = value
    left, middle, right = st.columns(3)
    left.segmented_control(
        "Scores are scaled",
        list(SCALES),
        required=True,
        format_func=SCALES.get,
        key="rule_scale",
        on_change=widget,
        args=("normalize", "rule_scale"),
        help="Importance and entropy are brought to 0 to 1 before they are mixed; the papers do so within each layer.",
    )
    middle.slider(
        "Heads that every layer keeps at least",
        0,
        grid.shape[1],
        key="rule_least",
        on_change=widget,
        args=("min_heads", "rule_least"),
    )
    with right:
        yes = {True: "yes", False: "no"}.get
        st.toggle("As many from every layer", key="rule_even", on_change=widget, args=("uniform", "rule_even", yes))
        if grouped(grid):
            st.session_state["rule_whole"] = now.whole
            st.toggle(
                "Key-value groups whole",
                key="rule_whole",
                on_change=widget,
                args=("whole_groups", "rule_whole", yes),
                help="Query heads that share keys and values go or stay together, by their mean score.",
            )
        st.session_state["rule_budget"] = now.budget
        st.segmented_control(
            "Sparsity counts",
            list(BUDGETS),
            required=True,
            format_func=BUDGETS.get,
            key="rule_budget",
            disabled=now.uniform,
            on_change=widget,
            args=("sparsity_unit", "rule_budget"),
        )
