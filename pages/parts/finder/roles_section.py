"""Roles of the heads: how many there are at which threshold, how stable the labels are, and leave-one-out by role."""

import pandas as pd
import streamlit as st

from headprune_core import HeadTraits, LeaveOneOut, role_ablation
from headprune_core.figures.traits.role_figures import (
    describe_role_ablation,
    describe_role_counts,
    role_ablation_figure,
    role_counts_figure,
)
from headprune_core.figures.traits.role_style import ROLE_TITLES
from headprune_core.inspection.roles import MIN_EXAMPLES
from headprune_core.measure.ablation import MEASURES
from pages.parts.chart import figure
from pages.parts.common.labels import PAGES
from pages.parts.common.session import remember, setting
from pages.parts.common.shared_ui import downloads, records
from pages.parts.common.workspace import Workspace
from pages.parts.heads.head_table import loss_unit
from pages.parts.heads.role_section import roles

_cached = st.cache_data(max_entries=32, show_spinner="Comparing thresholds…")


def roles_section(loaded: Workspace, found: HeadTraits, ablation: LeaveOneOut | None) -> None:
    """Show the roles of the heads with their evidence, and what they do not tell.

    Args:
        loaded: The workspace.
        found: The traits.
        ablation: The leave-one-out ablation, if it was run.
    """
    if len(loaded.calibration) < MIN_EXAMPLES:
        st.info(
            f"Roles need at least {MIN_EXAMPLES} calibration examples, but {len(loaded.calibration)} are loaded.",
            icon=":material/data_alert:",
        )
        return
    st.markdown(
        "The role of a head is where it attends most, compared with uniform attention: the **lift** is the share of "
        "attention minus the share under uniform attention. The largest lift gives the role if it reaches the threshold and "
        "if its difference to the second is positive in 97.5% of random halves of the examples. Other heads are broad "
        "(entropy above 90% of the maximum) or mixed."
    )
    threshold = _threshold()
    table = roles(loaded)
    counts = _counts(loaded.run_key, found)
    populations = list(dict.fromkeys(found.populations))
    for population in populations:
        if len(populations) > 1:
            st.markdown(f"**{population[0].upper()}{population[1:]}**")
        part = counts[counts.population == population]
        text = describe_role_counts(part, threshold)
        name = f"role_counts_{populations.index(population)}"
        figure(role_counts_figure(part, threshold), f"Heads by role, {population}", name, alt=text, data=part)
    stability = _stability(loaded.run_key, threshold, found) if len(loaded.calibration) >= 2 * MIN_EXAMPLES else None
    stable = (
        f"**{stability:.0%} of the heads keep their role** if it is computed from one half of the {len(loaded.calibration)} "
        "calibration examples and then from the other (mean of 20 random splits)."
        if stability is not None
        else f"The stability of the roles needs at least {2 * MIN_EXAMPLES} calibration examples."
    )
    st.markdown(f"{_counted(table)} {stable}")
    st.caption(
        "Dotted lines: thresholds of the share of attention in the literature (Clark et al. 2019: 50% for positions, 60% "
        "for tokens; Gu et al. 2025: 30% for sinks). They are for comparison only: here the threshold applies to the lift."
    )
    with st.expander("Evidence for every head", icon=":material/fact_check:"):
        shown = table.assign(primary=table.primary.map(ROLE_TITLES))[["row", "head", "primary", "lift", "evidence"]]
        config = {"row": "Layer", "head": "Head", "primary": "Role", "evidence": "Evidence"}
        config |= {"lift": st.column_config.NumberColumn("Lift", format="percent")}
        st.dataframe(shown, hide_index=True, height=320, column_config=config, key="role_evidence")
        downloads("roles", table, {"threshold": threshold, "stability": stability, "heads": records(table)})
    _effect(loaded, table, ablation)


def _threshold() -> float:
    percent = st.slider(
        "Threshold of the lift",
        5,
        75,
        round(100 * setting("role_threshold")),
        5,
        format="%d%%",
        key="role_threshold_percent",
        help="Least share of attention above uniform attention that gives a head its role. Default: 25%.",
    )
    if percent / 100 != setting("role_threshold"):
        remember("role_threshold", percent / 100)
        st.rerun()
    return percent / 100


def _counted(table: pd.DataFrame) -> str:
    counts = table.primary.map(ROLE_TITLES).value_counts()
    named = int(counts.drop(["Mixed", "Broad"], errors="ignore").sum())
    return f"{named} of {len(table)} heads have a role: {', '.join(f'{role} {count}' for role, count in counts.items())}."


def _effect(loaded: Workspace, table: pd.DataFrame, ablation: LeaveOneOut | None) -> None:
    """What roles do not tell, shown on the loaded model."""
    st.header("What roles do not tell")
    st.markdown(
        "A role says where a head attends. It does not say whether the model needs the head: in the literature, pruning by "
        "role is no better than random pruning (Budhraja et al. 2020). Leave-one-out ablation checks this for your model."
    )
    if ablation is None:
        name = PAGES["uncertainty"].title
        st.info(f"No ablation results yet. Open **{name}** and click **Run leave-one-out**.", icon=":material/ads_click:")
        st.page_link(PAGES["uncertainty"].script, label=f"Open {name}", icon=":material/arrow_forward:")
        return
    measure = st.segmented_control(
        "Measure",
        list(MEASURES),
        default="abs_loss_change",
        required=True,
        format_func={"abs_loss_change": "Absolute change in loss", "loss_change": "Signed change in loss"}.get,
        key="role_measure",
        persist_state="session",
    )
    found, unit = role_ablation(ablation, table, measure=measure), loss_unit(loaded)
    st.info(found.verdict, icon=":material/balance:")
    text = describe_role_ablation(found, unit)
    figure(role_ablation_figure(found, unit), "Leave-one-out by role", "role_ablation", alt=text, data=found.table)
    n = len(ablation.per_example)
    st.caption(
        f"Mean over the heads of each role (their number is in parentheses); {n} example{'s' * (n != 1)}. Bars: 95% "
        "bootstrap CIs over heads. Heads count as independent."
    )
    effects = found.table
    interval = [
        f"{low:.3g} to {high:.3g}" if low == low else "" for low, high in zip(effects.low, effects.high, strict=True)
    ]
    shown = effects.assign(role=effects.role.map(ROLE_TITLES), interval=interval)
    names = {"mean": f"Mean ({unit})", "difference": "Difference to all heads", "p_value": "p", "p_holm": "p (Holm)"}
    config = {name: st.column_config.NumberColumn(label, format="%.3g") for name, label in names.items()}
    config |= {"role": "Role", "heads": "Heads", "interval": "95% CI"}
    order = ["role", "heads", "mean", "interval", "difference", "p_value", "p_holm"]
    st.dataframe(shown, hide_index=True, column_order=order, column_config=config, key="role_effects")
    downloads("leave_one_out_by_role", found.table, {"measure": measure, "mean": found.mean, "roles": records(found.table)})


@_cached
def _counts(key: str, _found: HeadTraits) -> pd.DataFrame:
    return _found.role_counts()


@_cached
def _stability(key: str, threshold: float, _found: HeadTraits) -> float:
    return _found.label_stability(threshold)
