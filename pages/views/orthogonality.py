"""Orthogonality: do importance and entropy say different things about the heads of this model?"""

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import orthogonality
from headprune_core.figures.orthogonality import orthogonality_scatter, per_row_correlation
from headprune_core.scores.hies import min_max
from pages.parts.common.session import current_workspace
from pages.parts.common.shared_ui import downloads, page_header

loaded = current_workspace()
scores = loaded.scores

page_header("orthogonality")
st.markdown(
    "HIES mixes two signals. That can only help where they differ: if they rank heads alike, one of them is enough. "
    "Each point is a head; further right matters more to the loss, further up looks at more words at once."
)
scale = st.segmented_control(
    "Scale",
    ["layer", "global"],
    default="layer",
    required=True,
    key="correlation_scale",
    format_func={"layer": "Within each layer", "global": "Over the whole model"}.get,
)
check = orthogonality(scores.per_example["his"], scores.per_example["ae"], normalize=scale)
(st.warning if check.redundant else st.success)(check.verdict, icon=":material/join_inner:")
with st.container(horizontal=True):
    for name, value, (low, high), meaning in (
        ("Pearson r", check.pearson, check.ci, "Correlation of the scaled scores"),
        ("Spearman", check.spearman, check.spearman_ci, "Correlation of ranks"),
        ("Kendall", check.kendall, check.kendall_ci, "Share of head pairs in the same order, less that in the opposite one"),
    ):
        st.metric(
            name,
            f"{value:.2f}",
            delta=f"{low:.2f} to {high:.2f}",
            delta_color="off",
            delta_arrow="off",
            delta_description="95 % interval",
            help=f"{meaning}. Interval by drawing the texts anew 1,000 times",
        )
    st.metric("Permutation p", f"{check.p_value:.3f}", help="How often shuffled heads correlate as strongly")

his, ae = min_max(scores.his, scale), min_max(scores.ae, scale)
left, right = st.columns([3, 2], gap="large")
words = f"Scatter of {his.size} heads, importance against entropy. {check.verdict}"
left.plotly_chart(orthogonality_scatter(his, ae, check), alt=words)
per_row = ", ".join(f"layer {i}: {r:.2f}" for i, r in enumerate(check.per_row))
right.plotly_chart(
    per_row_correlation(check), alt=f"Correlation within each layer: {per_row}", config={"displayModeBar": False}
)
st.caption(
    f"Means over {len(loaded.calibration)} texts. These are correlations of the scores; the HIES paper's Lemma 4.3 "
    "speaks of their gradients, which is another statement."
)
row, head = (index.ravel() for index in np.indices(his.shape))
frame = pd.DataFrame({"row": row, "head": head, "his_scaled": his.ravel(), "ae_scaled": ae.ravel()})
document = {"pearson": check.pearson, "ci": check.ci, "spearman": check.spearman, "kendall": check.kendall}
document |= {"spearman_ci": check.spearman_ci, "kendall_ci": check.kendall_ci}
downloads("orthogonality", frame, document | {"p_value": check.p_value, "per_row": check.per_row.tolist(), "scale": scale})
