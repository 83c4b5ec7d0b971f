"""The role of a head with its evidence, its traits, and its attention by distance."""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import HeadTraits
from headprune_core.figures.inspection import describe_distance, distance_figure
from headprune_core.figures.traits.role_style import ROLE_TITLES
from headprune_core.inspection.head_traits import mean_where_known
from headprune_core.inspection.roles import MIN_EXAMPLES
from pages.parts.chart import figure
from pages.parts.common.sentences import plain
from pages.parts.common.session import setting
from pages.parts.common.workspace import Workspace

from .score_section import head_name
from .selection import Head
from .trait_labels import NO_SHARES, TRAITS
from .traits_request import traits_request
from .traits_run import traits


@st.cache_data(max_entries=16, show_spinner=False)
def _roles(key: str, threshold: float, _found: HeadTraits) -> pd.DataFrame:
    return _found.roles(threshold)


def roles(loaded: Workspace) -> pd.DataFrame | None:
    """Return the role of every head at the session's threshold; None without traits, or with too few examples.

    Args:
        loaded: The workspace.
    """
    found = traits(loaded)
    if found is None or len(loaded.calibration) < MIN_EXAMPLES:
        return None
    return _roles(loaded.run_key, float(setting("role_threshold")), found)


def role_text(loaded: Workspace, head: Head) -> str:
    """Return the role of a head with its evidence in Markdown, or why there is none."""
    if len(loaded.calibration) < MIN_EXAMPLES:
        return f"Roles need at least {MIN_EXAMPLES} calibration examples."
    table = roles(loaded)
    if table is None:
        return "Role: not computed yet. Open the head inspector to compute it."
    one = table.iloc[head[0] * loaded.model.grid.shape[1] + head[1]]
    return f"Role: **{ROLE_TITLES[one.primary]}**. {plain(one.evidence)}"


def role_section(loaded: Workspace, head: Head) -> None:
    """Show the role, the traits and the distance kernel of a head, or offer to compute them."""
    st.header("Role", anchor=False)
    found = traits(loaded)
    if found is None:
        traits_request(loaded, "Roles")
        return
    st.markdown(role_text(loaded, head))
    st.caption(
        f"A role says where a head attends, not whether the model needs it. Means over {len(loaded.calibration)} "
        f"calibration examples; population: {found.populations[head[0]]}."
    )
    left, right = st.columns([5, 4], gap="large")
    with left:
        st.table(trait_table(loaded, found, [head]))
        st.caption(
            "Uniform: the share if a query attended equally to all tokens that it can see. Lift: share minus uniform, in "
            "percentage points (pp)."
        )
    with right:
        kernel = found.kernel[head]
        text = describe_distance(kernel)
        st.markdown("**Attention by distance**")
        if np.isfinite(kernel).all():
            chart = distance_figure(kernel, images=loaded.model.reads_images)
            alt = f"Share of attention by distance. {text}"
            figure(chart, f"Attention of {head_name(loaded, head)} by distance", "attention_by_distance", alt=alt)
        st.caption(text)


def trait_table(loaded: Workspace, found: HeadTraits, heads: list[Head]) -> pd.DataFrame:
    """Return the traits of heads: for one head with the uniform share and the lift, for several side by side."""
    table = roles(loaded)
    labels = [f"{loaded.scores.grid.row_labels[row]}.{head}" for row, head in heads]
    single, lines = len(heads) == 1, []
    if not single and table is not None:
        places = [row * loaded.model.grid.shape[1] + head for row, head in heads]
        lines.append({"Trait": "Role"} | dict(zip(labels, table.primary.iloc[places].map(ROLE_TITLES), strict=True)))
    for trait, name in TRAITS.items():
        values = [found.mean(trait)[head] for head in heads]
        if not np.isfinite(values).any():
            continue
        form = "{:.2f}" if trait in NO_SHARES else "{:.1%}"
        shown = [form.format(value) if np.isfinite(value) else "" for value in values]
        if not single:
            lines.append({"Trait": name} | dict(zip(labels, shown, strict=True)))
            continue
        uniform = lift = ""
        if trait in found.nulls:
            null = mean_where_known(found.nulls[trait])[heads[0]]
            uniform, lift = f"{null:.1%}", f"{100 * (values[0] - null):+.1f}"
        lines.append({"Trait": name, "Value": shown[0], "Uniform": uniform, "Lift (pp)": lift})
    return pd.DataFrame(lines).set_index("Trait")
