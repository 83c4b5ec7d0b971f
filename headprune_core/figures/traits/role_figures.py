"""Figures of roles: number of heads per role by threshold, and leave-one-out ablation by role."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.figures.style import GRAY, MARGIN
from headprune_core.inspection.role_ablation import RoleAblation
from headprune_core.inspection.roles import REFERENCE_LINES

from .role_style import ROLE_STYLES, ROLE_TITLES

_MEASURES = {"abs_loss_change": "Mean |Δloss| without the head", "loss_change": "Mean Δloss without the head"}


def role_counts_figure(counts: pd.DataFrame, threshold: float) -> go.Figure:
    """Draw the number of heads of each role against the threshold.

    Args:
        counts: Result of `HeadTraits.role_counts`, of one population.
        threshold: The current threshold, drawn as a line.

    Returns:
        A line per role, and dotted lines at the thresholds of the literature.
    """
    figure, thresholds = go.Figure(), np.sort(counts.threshold.unique())
    table = counts.pivot_table(index="threshold", columns="role", values="heads", aggfunc="sum", fill_value=0)
    for role, (color, symbol, dash) in ROLE_STYLES.items():
        if role in table:
            figure.add_scatter(
                x=thresholds,
                y=table[role].reindex(thresholds),
                mode="lines+markers",
                line={"color": color, "dash": dash, "width": 2},
                marker={"symbol": symbol, "size": 8},
                name=ROLE_TITLES[role],
                hovertemplate=f"{ROLE_TITLES[role]}: %{{y}} heads at %{{x:.0%}}<extra></extra>",
            )
    for number, (name, value) in enumerate(sorted(REFERENCE_LINES.items(), key=lambda line: line[1])):
        note = {"text": name.replace(", ", "<br>"), "font": {"size": 10}, "yanchor": "bottom", "showarrow": False}
        note |= {"yshift": 28 * (number % 2)}  # neighbors are at different heights, because their texts are wide
        line = {"dash": "dot", "color": GRAY.format(0.9), "width": 1}
        figure.add_vline(x=value, line=line, annotation=note, annotation_position="top")
    figure.add_vline(x=threshold, line={"color": "#d55e00", "width": 3})
    figure.update_xaxes(title="Threshold of the lift", tickformat=".0%", zeroline=False)
    figure.update_yaxes(title="Heads", rangemode="tozero", zeroline=False)
    legend = {"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"}
    return figure.update_layout(height=480, margin={**MARGIN, "t": 72}, legend=legend, dragmode=False)


def describe_role_counts(counts: pd.DataFrame, threshold: float) -> str:
    """Describe the number of heads of each role at the nearest of the thresholds.

    Args:
        counts: As for `role_counts_figure`.
        threshold: The current threshold.
    """
    nearest = counts.threshold.iloc[(counts.threshold - threshold).abs().argmin()]
    here = counts[counts.threshold == nearest].groupby("role").heads.sum().sort_values(ascending=False)
    listed = ", ".join(f"{ROLE_TITLES[role].lower()} {count}" for role, count in here.items())
    return f"Number of heads per role against the threshold. At {nearest:.0%}: {listed} (of {here.sum()} heads)."


def role_ablation_figure(found: RoleAblation, unit: str = "nats") -> go.Figure:
    """Draw the mean effect of masking one head, by role.

    Args:
        found: The comparison of the roles.
        unit: Unit of the loss.

    Returns:
        A dot plot with 95% CIs, and a line at the mean of all heads.
    """
    table = found.table
    names = [f"{ROLE_TITLES[line.role]} ({line.heads})" for line in table.itertuples()]
    styles = [ROLE_STYLES[role] for role in table.role]
    figure = go.Figure()
    figure.add_vline(
        x=found.mean,
        line={"dash": "dot", "color": GRAY.format(1)},
        annotation_text=f"All {found.heads} heads",
        annotation_position="top",
    )
    figure.add_scatter(
        x=table["mean"],
        y=names,
        mode="markers",
        marker={"size": 11, "color": [color for color, *_ in styles], "symbol": [symbol for _, symbol, _ in styles]},
        error_x={
            "array": (table.high - table["mean"]).fillna(0),
            "arrayminus": (table["mean"] - table.low).fillna(0),
            "thickness": 1.5,
            "width": 5,
            "color": GRAY.format(1),
        },
        customdata=table[["low", "high", "p_holm"]].to_numpy(),
        hovertemplate="%{y}: %{x:.3g} (95% CI %{customdata[0]:.3g} to %{customdata[1]:.3g}), p = %{customdata[2]:.3f}"
        "<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=f"{_MEASURES[found.measure]} ({unit})", zeroline=False)
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_layout(height=120 + 34 * len(table), margin={**MARGIN, "t": 28}, dragmode=False)


def describe_role_ablation(found: RoleAblation, unit: str = "nats") -> str:
    """Describe the mean effect of masking one head, by role.

    Args:
        found: The comparison of the roles.
        unit: Unit of the loss.
    """
    parts = []
    for line in found.table.itertuples():
        interval = f", 95% CI {line.low:.3g} to {line.high:.3g}" if np.isfinite(line.low) else ""
        heads = f"{line.heads} head{'s' * (line.heads != 1)}"
        parts.append(f"{ROLE_TITLES[line.role].lower()} {line.mean:.3g} ({heads}{interval})")
    what = f"{_MEASURES[found.measure]} ({unit}) by role"
    return f"{what}: {', '.join(parts)}; all heads {found.mean:.3g}. {found.verdict}"
