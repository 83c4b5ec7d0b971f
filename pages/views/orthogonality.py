"""Orthogonality: whether importance and entropy are correlated over the heads of this model."""

import streamlit as st

from headprune_core import HeadScores, orthogonality
from headprune_core.figures.orthogonality import per_row_correlation
from pages.parts.alpha.mask_constraints import SCALES
from pages.parts.chart import figure
from pages.parts.common import labels
from pages.parts.common.session import current_workspace
from pages.parts.common.shared_ui import downloads, page_header
from pages.parts.finder.axes_section import axes_menus, scatter
from pages.parts.heads.head_table import head_table
from pages.parts.heads.traits_request import traits_request
from pages.parts.heads.traits_run import traits
from pages.parts.uncertainty.ablation_run import ablation

loaded = current_workspace()
scores = loaded.scores

page_header("orthogonality")
st.markdown(
    f"The {labels.HIES} combines the {labels.HIS} with {labels.AE}. Combining can help only if the two carry different "
    "information. Higher entropy is more diffuse attention."
)
scale = st.segmented_control(
    labels.SCORE_SCALING,
    list(SCALES),
    default="layer",
    required=True,
    key="correlation_scale",
    format_func=SCALES.get,
    persist_state="session",
)


@st.cache_data(max_entries=32, show_spinner="Resampling the examples…")
def checked(_scores: HeadScores, key: str, scale: str):
    """The orthogonality check, which resamples the examples, once per workspace and scaling."""
    return orthogonality(_scores.per_example["his"], _scores.per_example["ae"], normalize=scale)


check = checked(scores, loaded.key, scale)
(st.warning if check.redundant else st.info)(check.verdict, icon=":material/join_inner:")
st.markdown(
    "Low correlation is necessary, not sufficient: whether combining helps is measured under "
    f"**{labels.PAGES['alpha_choice'].title}**."
)
st.page_link(
    labels.PAGES["alpha_choice"].script, label=f"Open {labels.PAGES['alpha_choice'].title}", icon=":material/arrow_forward:"
)
with st.container(horizontal=True):
    for name, value, (low, high), meaning in (
        ("Pearson r", check.pearson, check.ci, "Linear correlation of the scaled scores"),
        ("Spearman's ρ", check.spearman, check.spearman_ci, "Correlation of the ranks"),
        (
            "Kendall's τ",
            check.kendall,
            check.kendall_ci,
            "Kendall's τ-b: concordant minus discordant pairs, as a share of untied pairs",
        ),
    ):
        st.metric(
            name,
            f"{value:.2f}",
            delta=f"{low:.2f} to {high:.2f}",
            delta_color="off",
            delta_arrow="off",
            delta_description="95% CI",
            help=f"{meaning}. 95% bootstrap confidence interval (CI), 1,000 resamples of the calibration examples.",
        )
    st.metric(
        "Permutation p-value",
        f"{check.p_value:.3f}",
        help="Share of random shuffles with a correlation at least this strong",
    )

found, run = traits(loaded), ablation(loaded)
table = head_table(loaded, found, None if run is None else run.found, scale=scale)
st.header("Axes")
axes = axes_menus(table)
if found is None:
    traits_request(loaded, "Columns of traits and roles")
scatter(loaded, table, axes, check.verdict)
st.header("Correlation within each layer")
per_row = ", ".join(f"layer {i}: {r:.2f}" for i, r in enumerate(check.per_row))
figure(
    per_row_correlation(check),
    "Correlation of HIS and AE within each layer",
    "per_row_correlation",
    alt=f"Correlation within each layer: {per_row}",
)
st.caption(
    f"Means over {len(loaded.calibration)} calibration examples, scaled {'per layer' if scale == 'layer' else 'globally'}. "
    "These are correlations of the scores. Lemma 4.3 in the HIES paper is about the gradients of the two scores, which is a "
    "different claim."
)
document = {"pearson": check.pearson, "ci": check.ci, "spearman": check.spearman, "kendall": check.kendall}
document |= {"spearman_ci": check.spearman_ci, "kendall_ci": check.kendall_ci}
downloads(
    "orthogonality", table.frame, document | {"p_value": check.p_value, "per_row": check.per_row.tolist(), "scale": scale}
)
